package cli

import (
	"crypto/rand"

	"github.com/spf13/cobra"

	"latchkey/keystore"
)

func newKeygen() *cobra.Command {
	var service, fleet bool
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make a key and print it alone on standard output",
		Long: `Makes a key and prints it alone on standard output. It is stored nowhere.

Without a flag it is an account key, which a user keeps. With --service it is a
service key, which the operator keeps in a file named under
keystore.service_keys. With --fleet it is the fleet secret, which all proxies of
a deployment share in the file keystore.secret_file. Make such files with
umask 077 and keep a copy apart from the database: without its key no value can
be read again.`,
		Example: `  latchkey keygen
  (umask 077; latchkey keygen --service > /etc/latchkey/app.key)
  (umask 077; latchkey keygen --fleet > /etc/latchkey/fleet.secret)`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := newKeyText(fleet)
			if err != nil {
				return err
			}
			defer clear(text)
			line := append(text, '\n')
			defer clear(line)
			_, err = cmd.OutOrStdout().Write(line)
			return err
		},
	}
	cmd.Flags().BoolVar(&service, "service", false, "a service key, for columns that are not per user")
	cmd.Flags().BoolVar(&fleet, "fleet", false, "the fleet secret, shared by all proxies")
	cmd.MarkFlagsMutuallyExclusive("service", "fleet")
	return cmd
}

// newKeyText returns a fresh fleet secret, or else a fresh account key; a service
// key is one that the operator keeps. The caller wipes it.
func newKeyText(fleet bool) ([]byte, error) {
	if fleet {
		secret, err := keystore.NewFleetSecret(rand.Reader)
		if err != nil {
			return nil, err
		}
		defer secret.Wipe()
		return secret.Text(), nil
	}
	key, err := keystore.NewAccountKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	defer key.Wipe()
	return key.Text(), nil
}
