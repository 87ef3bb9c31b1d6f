package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/keystore"
	"latchkey/keystore/tables"
	"latchkey/proxy"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

func newMigrate() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "migrate",
		Short: "Take tables with rows from plaintext to cells, and back",
		Long: `Takes tables that have rows from plaintext to cells while they are used, and back.
The columns need plaintext: accept in the policy meanwhile. In this order:

  prepare   turns the columns into ones for cells, which still hold plaintext
  encrypt   seals the rows: those under service keys at once, those of an owner
            with the owner's key
  status    counts what is plaintext and what is sealed
  verify    opens what can be opened and compares it with the digest from before
  finish    lets nothing but cells into the columns from then on

decrypt is the way back, rotate seals old cells anew, import seals what an application
has encrypted itself. Everything can be stopped at
any time: the same command goes on where it was.

Exit codes: 0 done, 1 an error, 2 a command line that was not understood, 3 not
finished: stopped, or rows are left.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMigratePrepare(), newMigrateRows(migrate.Encrypt), newMigrateStatus(), newMigrateVerify(), newMigrateFinish(),
		newMigrateRows(migrate.Decrypt), newMigrateRows(migrate.Rotate), newMigrateImport())
	return cmd
}

// migrateOptions are the flags of all subcommands of migrate.
type migrateOptions struct {
	file   string
	tables []string
}

func (o *migrateOptions) addFlags(cmd *cobra.Command) {
	addConfigFlag(cmd, &o.file)
	cmd.Flags().StringArrayVar(&o.tables, "table", nil, "only the table `DATABASE.TABLE`; may be repeated")
}

// ownerOptions name the owner whose rows are meant.
type ownerOptions struct{ owner, keyFile string }

func (o *ownerOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.owner, "owner", "", "the rows of the owner `ID`, as the owner column has it")
	cmd.Flags().StringVar(&o.keyFile, "key-file", "", "the `FILE` with the owner's account key, or a token; without --owner for the tables under user keys that have no owner column")
}

func (o *ownerOptions) check() error {
	if o.owner != "" && o.keyFile == "" {
		return usageError{errors.New("--owner needs --key-file")}
	}
	return nil
}

// meant tells whether the rows of a column under user keys are those that the options mean.
func (o *ownerOptions) meant(c *rewrite.Protected) bool {
	return c.ServiceKey == "" && o.keyFile != "" && (c.Owner != "") == (o.owner != "")
}

// migration is what the subcommands of migrate work with.
type migration struct {
	config     *configs.Config
	keys       *keys
	schema     proxy.SchemaConfig
	inspection *proxy.Inspection
	tables     *tables.Store
	vault      *keystore.Vault
	owners     *keystore.Directory
	evaluator  *evaluator.Evaluator
	// imports is the engine's, of the subcommand import.
	imports func(v *migrate.Value) (canonical []byte, ok bool, err error)
	only    []string
	errors  io.Writer
	log     *slog.Logger
}

// openMigration reads configuration, keys and schema. The caller closes it.
func openMigration(ctx context.Context, o *migrateOptions, stderr io.Writer) (*migration, error) {
	config, err := loadConfig(o.file)
	if err != nil {
		return nil, err
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	k, err := loadKeys(config)
	for _, warning := range k.warnings {
		log.Warn("key file", "problem", warning.String())
	}
	if err != nil {
		return nil, err
	}
	m := &migration{config: config, keys: k, errors: stderr, log: log, only: o.tables}
	if err := m.open(ctx); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

func (m *migration) open(ctx context.Context) error {
	if m.keys.fleet == nil {
		return fmt.Errorf("%s: keystore.secret_file is needed; make one with latchkey keygen --fleet", m.config.File)
	}
	var err error
	if m.schema, err = schemaConfig(m.config, m.keys, m.log); err != nil {
		return err
	}
	if m.tables, m.vault, err = newVault(m.config, m.keys, &m.schema); err != nil {
		return err
	}
	if m.owners, err = keystore.NewDirectory(m.vault); err != nil {
		return err
	}
	if err := m.tables.Setup(ctx); err != nil {
		return err
	}
	return m.inspect(ctx)
}

// inspect reads the schema, again after it was changed.
func (m *migration) inspect(ctx context.Context) error {
	if m.inspection != nil {
		m.inspection.Close()
	}
	var err error
	if m.inspection, err = inspect(ctx, m.config); err != nil {
		return err
	}
	rewrite.Protect(m.inspection.Schema, m.config.Policy, m.keys.verify())
	for _, name := range m.only {
		database, table, ok := strings.Cut(name, ".")
		if !ok || m.inspection.Schema.Table(database, table) == nil {
			return usageError{fmt.Errorf("--table %s: there is no such table; name it as DATABASE.TABLE", name)}
		}
	}
	return nil
}

func (m *migration) close() {
	if m.evaluator != nil {
		m.evaluator.Close()
	}
	if m.inspection != nil {
		m.inspection.Close()
	}
	if m.vault != nil {
		m.vault.Close()
		m.tables.Close()
	}
	m.keys.close()
}

// wanted tells whether --table names a table, or nothing.
func (m *migration) wanted(t *rewrite.Table) bool {
	return len(m.only) == 0 || slices.ContainsFunc(m.only, func(name string) bool {
		database, table, _ := strings.Cut(name, ".")
		return m.inspection.Schema.Table(database, table) == t
	})
}

// protectedTables are the tables with protected columns that hold cells or plaintext, by name. Those whose rows cannot be written
// are reported, and left out.
func (m *migration) protectedTables() (all []*rewrite.Migration, refused bool) {
	for _, t := range m.inspection.Schema.Tables() {
		if !t.Protects || t.Kind == rewrite.View || !m.wanted(t) {
			continue
		}
		if !slices.ContainsFunc(t.Columns, func(c *rewrite.Column) bool { return c.Protected != nil && c.Protected.Conflict == nil }) {
			continue
		}
		one, why := rewrite.NewMigration(t)
		if why != nil {
			fmt.Fprintf(m.errors, "latchkey: %s\n", strings.TrimPrefix(why.Error(), "Latchkey: "))
			refused = true
			continue
		}
		all = append(all, one)
	}
	return all, refused
}

// engine makes an engine with keys that may be nil.
func (m *migration) engine(keys *proxy.MigrationKeys, limits migrate.Limits, progress func(migrate.Progress)) *migrate.Engine {
	config := migrate.Config{
		Dial: proxy.MigrationDial(m.schema), Fleet: m.keys.fleet, Realm: m.keys.realm, Notes: m.tables,
		Limits: limits, Progress: progress, Logger: m.log, Import: m.imports,
	}
	if keys != nil {
		config.Keys = keys
	}
	return migrate.New(config)
}

// userKey reads the key of the owner whose rows are meant; nil for none. The caller releases it.
func (m *migration) userKey(ctx context.Context, o *ownerOptions) (*keystore.UserKey, error) {
	if o.keyFile == "" {
		return nil, nil
	}
	user, warning, err := keystore.LoadUserKey(o.keyFile, m.keys.realm, func(text []byte) (*keystore.UserKey, error) { return m.vault.OpenToken(ctx, text) })
	if warning != nil {
		m.log.Warn("key file", "problem", warning.String())
	}
	if err != nil {
		return nil, fmt.Errorf("--key-file: %w", err)
	}
	if err := m.holds(ctx, o.owner, user); o.owner != "" && err != nil {
		user.Release()
		return nil, fmt.Errorf("--key-file: %w", err)
	}
	return user, nil
}

// errOtherOwner is for a key of somebody else.
var errOtherOwner = errors.New("the key is not that of this owner")

// holds makes sure that a key is an owner's, as far as that is known.
func (m *migration) holds(ctx context.Context, owner string, user *keystore.UserKey) error {
	if name, _, ok := user.Owner(); ok && name != owner {
		return errOtherOwner
	}
	r, err := m.owners.Recipient(ctx, owner)
	if err != nil {
		return err
	}
	if r.Known() && !r.Holds(user.ID()) {
		return errOtherOwner
	}
	return nil
}

// migrationKeys makes the keys for an engine; user is nil for those of no owner. The caller closes them.
func (m *migration) migrationKeys(user *keystore.UserKey) (*proxy.MigrationKeys, error) {
	return proxy.NewMigrationKeys(proxy.MigrationKeysConfig{Services: m.keys.services, User: user, Owners: m.owners, Evaluator: m.evaluator})
}

// startEvaluator starts the private server that computes sort weights, where one of the columns may need it.
func (m *migration) startEvaluator(all []*rewrite.Migration) {
	needs := slices.ContainsFunc(all, func(one *rewrite.Migration) bool {
		return slices.ContainsFunc(one.Columns, func(c *rewrite.Protected) bool { return c.Search && c.Type.Weighable() })
	})
	if !needs || m.evaluator != nil {
		return
	}
	m.evaluator = evaluator.New(evaluatorConfig(&m.config.Evaluator, prometheus.NewRegistry(), m.log))
	m.evaluator.Start(m.inspection.EvaluatorSettings(), nil)
}
