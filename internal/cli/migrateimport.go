package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/spf13/cobra"

	"latchkey/internal/importer"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// importOptions are the flags of import.
type importOptions struct {
	rowsOptions
	from                       string
	appKeyFile, ownersKeysFile string
	serialized                 bool
}

func newMigrateImport() *cobra.Command {
	var o importOptions
	cmd := &cobra.Command{
		Use:   "import --config FILE --from laravel --table DATABASE.TABLE --column NAME... (--app-key-file FILE | --app-keys-of-owners FILE)",
		Short: "Seal what an application has encrypted itself",
		Long: `Opens the values of columns that the application has encrypted by itself, and seals what
is in them. It finds them in the columns as they are after prepare, and in cells, where
they are once Latchkey has sealed them like any text. A value that the application has
not encrypted stays as it is, for encrypt.

--from laravel reads payloads of Laravel's Crypt and its encrypted casts (AES-128 and AES-256,
CBC with HMAC-SHA256 and GCM). --app-key-file names a file with APP_KEY as the
environment has it (base64:...), and on further lines the previous ones. For applications with
a key for each user --app-keys-of-owners names a file with an owner, a space and a key on
each line. Say --serialized for values of encrypt() and Crypt::encrypt(); those of
encryptString() and of casts are not.

Keys for the cells are those of encrypt: without --owner columns under service keys, with
--owner and --key-file the rows of one owner. Everything can be stopped, and started again.`,
		Example: `  latchkey migrate import --config latchkey.yaml --from laravel --table shop.users --column phone --app-key-file app.key`,
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			from, err := o.open()
			if err != nil {
				return err
			}
			defer from.Close()
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			m, err := openMigration(ctx, &o.migrateOptions, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			guardMemory(m.log)
			if err := m.importable(o.columns); err != nil {
				return err
			}
			m.imports = func(v *migrate.Value) ([]byte, bool, error) { return importValue(from, v) }
			return m.rows(ctx, cmd, migrate.Import, &o.rowsOptions)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().StringArrayVar(&o.columns, "column", nil, "the column `NAME`; may be repeated")
	cmd.Flags().StringVar(&o.from, "from", "", "what encrypted the values: `laravel`")
	cmd.Flags().StringVar(&o.appKeyFile, "app-key-file", "", "a `FILE` with the application's keys, the present one first")
	cmd.Flags().StringVar(&o.ownersKeysFile, "app-keys-of-owners", "", "a `FILE` with an owner and the application's key for that owner on each line")
	cmd.Flags().BoolVar(&o.serialized, "serialized", false, "the values went through PHP's serialize()")
	for _, name := range []string{"from", "table", "column"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("internal error: " + err.Error())
		}
	}
	cmd.MarkFlagsOneRequired("app-key-file", "app-keys-of-owners")
	cmd.MarkFlagsMutuallyExclusive("app-key-file", "app-keys-of-owners")
	return cmd
}

func (o *importOptions) check() error {
	if o.from != "laravel" {
		return usageError{errors.New("--from must be laravel")}
	}
	if len(o.tables) != 1 {
		return usageError{errors.New("--table names one table")}
	}
	return o.ownerOptions.check()
}

// open reads the application's keys.
func (o *importOptions) open() (importer.Importer, error) {
	path, read := o.appKeyFile, importer.ReadLaravelKeys
	if path == "" {
		path, read = o.ownersKeysFile, importer.ReadLaravelKeysOfOwners
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open the application's key file: %w", err)
	}
	defer file.Close()
	keys, err := read(io.LimitReader(file, maxAppKeys))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &importer.Laravel{Keys: keys, Serialized: o.serialized}, nil
}

// maxAppKeys bounds a file of application keys in bytes.
const maxAppKeys = 256 << 20

// importable makes sure that the named columns are protected ones of types that hold texts or bytes.
func (m *migration) importable(columns []string) error {
	for _, t := range m.inspection.Schema.Tables() {
		if !m.wanted(t) {
			continue
		}
		for _, name := range columns {
			c := t.Column(name)
			switch {
			case c == nil || c.Protected == nil:
				return usageError{fmt.Errorf("--column %s: there is no such protected column in %s", oneLine(name), oneLine(t.String()))}
			case c.Protected.Conflict != nil:
				return c.Protected.Conflict
			case !slices.Contains([]byte{logical.FamilyString, logical.FamilyBinary}, c.Protected.Type.Family()):
				return fmt.Errorf("%s: only columns that were declared as texts or bytes can hold what an application has encrypted", oneLine(c.Protected.String()))
			}
		}
	}
	return nil
}

// importValue opens what the application has encrypted, and makes it a value of the column's declared type. Applications of today
// have texts in UTF-8.
func importValue(from importer.Importer, v *migrate.Value) (canonical []byte, ok bool, err error) {
	plain, err := from.Open(v.Canonical, v.Owner, v.HasOwner)
	if errors.Is(err, importer.ErrOther) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	defer clear(plain)
	canonical, err = declaredText(v.Column, plain)
	return canonical, err == nil, err
}

// errNotStored is for a text that the column, as it was declared, could not hold.
var errNotStored = errors.New("what the application had encrypted is no value of the column's declared type")

// declaredText gives the canonical text of a value that was UTF-8, or bytes, in the application.
func declaredText(c *rewrite.Protected, plain []byte) ([]byte, error) {
	stored, err := c.Type.Declassify([]byte{}, plain)
	if err != nil {
		return nil, errNotStored
	}
	defer clear(stored)
	canonical, err := c.Type.Plaintext([]byte{}, stored)
	if err != nil {
		return nil, errNotStored
	}
	if !bytes.HasPrefix(plain, canonical) {
		clear(canonical)
		return nil, errNotStored
	}
	return canonical, nil
}
