package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/proxy"
	"latchkey/rewrite"
	"latchkey/rewrite/suggest"
)

// initFlags are the flags of init.
type initFlags struct {
	config, out, log            string
	databases                   []string
	address, user, passwordFile string
	ca, fingerprint             string
}

func newInit() *cobra.Command {
	var flags initFlags
	cmd := &cobra.Command{
		Use:   "init (--config FILE | --address HOST:PORT) [--log FILE] [--out FILE]",
		Short: "Write a policy to start from",
		Long: `Looks at the schema of a live server with Latchkey's own account and prints a
configuration to start from: columns that hold what is personal, the column with
the owner of each table's rows, which key seals a column and which are searched
by equality. A comment on each line says why. It is a suggestion to be read, not
a decision; nothing is changed, and no row is read.

With --log it also reads a general log of MariaDB (log_output=FILE), and gives
search tags to the columns that statements of the log search by equality.

The server is that of the section backend in --config, which may hold nothing
else, or that of the flags. With --out the configuration goes to a file, which
must not exist yet.`,
		Example: `  latchkey init --address 127.0.0.1:3306 --user latchkey --password-file backend.password --out latchkey.yaml
  latchkey init --config backend.yaml --database journal --log /var/log/mysql/general.log`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runInit(cmd.Context(), &flags, cmd.OutOrStdout())
		},
	}
	set := cmd.Flags()
	set.StringVar(&flags.config, "config", "", "a configuration `FILE` with the section backend")
	set.StringVar(&flags.address, "address", "", "the server as `HOST:PORT`")
	set.StringVar(&flags.user, "user", "latchkey", "the `USER` to connect as")
	set.StringVar(&flags.passwordFile, "password-file", "", "a `FILE` with the user's password")
	set.StringVar(&flags.ca, "tls-ca", "", "use TLS, with a certificate issued by an authority in `FILE`")
	set.StringVar(&flags.fingerprint, "tls-fingerprint", "", "use TLS, with the certificate that has this SHA-256 `FINGERPRINT`")
	set.StringSliceVar(&flags.databases, "database", nil, "look at the database `NAME` only; may be repeated")
	set.StringVar(&flags.log, "log", "", "a general log `FILE` of the server")
	set.StringVar(&flags.out, "out", "", "write to `FILE`, which must not exist, instead of standard output")
	cmd.MarkFlagsOneRequired("config", "address")
	for _, other := range []string{"address", "user", "password-file", "tls-ca", "tls-fingerprint"} {
		cmd.MarkFlagsMutuallyExclusive("config", other)
	}
	cmd.MarkFlagsMutuallyExclusive("tls-ca", "tls-fingerprint")
	return cmd
}

func runInit(ctx context.Context, flags *initFlags, stdout io.Writer) error {
	config, err := flags.backend()
	if err != nil {
		return err
	}
	suggestion, err := flags.suggest(ctx, config)
	if err != nil {
		return err
	}
	text, err := flags.write(config, suggestion)
	if err != nil {
		return err
	}
	if flags.out == "" {
		_, err := stdout.Write(text)
		return err
	}
	return writeNew(flags.out, text)
}

// writeNew writes a file that does not exist yet, for its owner alone.
func writeNew(path string, text []byte) error {
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

// backend gives a configuration with the server to look at.
func (f *initFlags) backend() (*configs.Config, error) {
	if f.config != "" {
		return loadConfig(f.config)
	}
	tls := proxy.BackendTLS{Mode: proxy.BackendTLSOff}
	switch {
	case f.ca != "":
		tls = proxy.BackendTLS{Mode: proxy.BackendTLSVerify, CA: f.ca}
	case f.fingerprint != "":
		tls = proxy.BackendTLS{Mode: proxy.BackendTLSFingerprint, Fingerprint: f.fingerprint}
	}
	b := configs.Backend{User: f.user, PasswordFile: f.passwordFile, BackendConfig: proxy.BackendConfig{Address: f.address, TLS: tls}}
	section, err := backendYAML(&b)
	if err != nil {
		return nil, err
	}
	config, err := configs.Parse("the flags", section)
	if err != nil {
		return nil, usageError{err}
	}
	return config, nil
}

// backendYAML writes the section backend, with absolute paths.
func backendYAML(b *configs.Backend) ([]byte, error) {
	var problems []error
	path := func(name string) string {
		absolute, err := filepath.Abs(name)
		problems = append(problems, err)
		return suggest.Scalar(absolute)
	}
	account := "user: " + suggest.Scalar(b.User)
	if b.PasswordFile != "" {
		account += ", password_file: " + path(b.PasswordFile)
	}
	text := "backend:\n  address: " + suggest.Scalar(b.Address) + "\n"
	if t := &b.TLS; t.Mode != "" && t.Mode != proxy.BackendTLSOff {
		settings := "mode: " + string(t.Mode)
		for _, file := range []struct{ key, name string }{{"ca", t.CA}, {"cert", t.Cert}, {"key", t.Key}} {
			if file.name != "" {
				settings += ", " + file.key + ": " + path(file.name)
			}
		}
		if t.Fingerprint != "" {
			settings += ", fingerprint: " + suggest.Scalar(t.Fingerprint)
		}
		text += "  tls: {" + settings + "}\n"
	}
	return []byte(text + "  account: {" + account + "}\n"), errors.Join(problems...)
}

// suggest looks at schema and log.
func (f *initFlags) suggest(ctx context.Context, config *configs.Config) (*suggest.Suggestion, error) {
	inspection, err := inspect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer inspection.Close()
	options := suggest.Options{Databases: f.databases}
	// An unknown mode leaves the known ones: statements that cannot be read under them are left out.
	options.Mode, _ = rewrite.ParseSQLMode(inspection.Settings.Variables["sql_mode"])
	if f.log != "" {
		file, err := os.Open(f.log)
		if err != nil {
			return nil, fmt.Errorf("read the log: %w", err)
		}
		defer file.Close()
		options.Log = suggest.NewLogReader(file)
	}
	return suggest.Suggest(inspection.Schema, options)
}

// write makes the whole configuration.
func (f *initFlags) write(config *configs.Config, s *suggest.Suggestion) ([]byte, error) {
	backend, err := backendYAML(&config.Backend)
	if err != nil {
		return nil, err
	}
	var b strings.Builder
	b.WriteString("# A configuration to start from, made by `latchkey init`. Read every line: names and types only suggest.\n#\n")
	b.WriteString("#   (umask 077; latchkey keygen --fleet > fleet.secret)\n")
	if s.Services() {
		b.WriteString("#   (umask 077; latchkey keygen --service > " + suggest.ServiceKey + ".key)\n")
	}
	b.WriteString("#   latchkey check --config FILE\n")
	writeUsage(&b, s.Usage)
	b.WriteString("\n")
	b.Write(backend)
	b.WriteString("\nkeystore:\n  secret_file: fleet.secret  # beside this file, the same on every proxy\n")
	if s.Services() {
		b.WriteString("  service_keys: {" + suggest.ServiceKey + ": " + suggest.ServiceKey + ".key}  # for what is not one user's\n")
	}
	b.WriteString("\nmode: report  # protects nothing yet and shows at /status what would become of each statement\n\n")
	text := s.AppendYAML([]byte(b.String()))
	if _, err := configs.Parse("the suggestion", text); err != nil {
		return nil, fmt.Errorf("internal error: the suggestion cannot be read back: %w", err)
	}
	return text, nil
}

// writeUsage says in the head what the log has.
func writeUsage(b *strings.Builder, u *suggest.Usage) {
	if u == nil {
		return
	}
	fmt.Fprintf(b, "#\n# Of the %d statements in the log %d would pass, %d be rewritten, %d be finished in the evaluator, %d be refused",
		u.Statements, u.Pass, u.Sealed, u.Residual, u.Refused)
	if u.Skipped > 0 {
		fmt.Fprintf(b, "; %d could not be read", u.Skipped)
	}
	b.WriteString(".\n")
	reasons := make([]string, 0, len(u.Refusals))
	for reason := range u.Refusals {
		reasons = append(reasons, reason)
	}
	slices.SortFunc(reasons, func(x, y string) int {
		if d := u.Refusals[y] - u.Refusals[x]; d != 0 {
			return d
		}
		return strings.Compare(x, y)
	})
	for _, reason := range reasons[:min(len(reasons), 10)] {
		fmt.Fprintf(b, "#   refused %d times: %s\n", u.Refusals[reason], suggest.Comment(reason))
	}
}
