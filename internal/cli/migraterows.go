package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"latchkey/proxy"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

// rowsText is what the subcommands that go through rows say about themselves.
var rowsText = map[migrate.Act]struct{ short, long string }{
	migrate.Encrypt: {"Seal the rows", `Seals the plaintext in columns that prepare has made ready: without --owner in columns
under service keys, and for tables with away: accept in those under user keys, to
the owners' public keys; with --owner and --key-file in the rows of one owner; with --key-file alone in tables
under user keys that have no owner column. While latchkey serve runs, it seals the
rows of each owner who unlocks.

Rows are written in small transactions, each under its lock. What an application
writes meanwhile wins; rows that it has locked come later.`},
	migrate.Decrypt: {"Open the rows for good", `Turns cells back into plaintext: without --owner those under service keys, with --owner
and --key-file those of one owner. The policy has to say plaintext: accept.

Columns that finish has closed are opened first. Then the command stops with exit
code 3, because the proxies have to be given the policy with plaintext: accept
before there is plaintext; the same command goes on. From there on latchkey
serve seals no rows in the background until encrypt is run again, but what is written
through it is sealed as ever. When nothing is sealed any more, finish --decrypted
gives the columns their declared types.`},
	migrate.Rotate: {"Seal old cells anew", `Opens every cell, and seals those anew that are not as they would be sealed now: under a
key that a rotation has replaced, with a search tag of another collation, with or
without a tag where the policy has changed, or to the public key of an owner who
was away. Without --owner it does so under service keys, with --owner and --key-file
for one owner; after a rotation the file has to hold a token, since an account key
is one key only.`},
}

// rowsOptions are the flags of the subcommands that go through rows.
type rowsOptions struct {
	migrateOptions
	ownerOptions
	limits   migrate.Limits
	replicas []string
	// columns are the names of the only columns that are meant; none means all.
	columns []string
}

// addFlags adds the flags of going through rows.
func (o *rowsOptions) addFlags(cmd *cobra.Command) {
	o.migrateOptions.addFlags(cmd)
	o.ownerOptions.addFlags(cmd)
	cmd.Flags().IntVar(&o.limits.Rate, "rate", 0, "write at most so many `ROWS` a second; 0 is as many as go")
	cmd.Flags().IntVar(&o.limits.Batch, "batch", 200, "write so many `ROWS` in one transaction")
	cmd.Flags().DurationVar(&o.limits.MaxLag, "max-lag", 0, "pause while a replica is further behind than this `DURATION`; 0 does not look")
	cmd.Flags().StringArrayVar(&o.replicas, "replica", nil, "ask the replica at `HOST:PORT` for its lag, with the account of the backend; may be repeated. Without, the backend itself is asked")
	cmd.Flags().IntVar(&o.limits.MaxRunning, "max-running", 0, "pause while more `THREADS` run on the server; 0 does not look")
}

func newMigrateRows(act migrate.Act) *cobra.Command {
	var o rowsOptions
	text := rowsText[act]
	cmd := &cobra.Command{
		Use:   act.String() + " --config FILE [--table DATABASE.TABLE]... [--owner ID --key-file FILE]",
		Short: text.short,
		Long: text.long + `

Interrupt (Ctrl-C) or SIGTERM stops it with exit code 3; the same command goes on.
Killed, or with the server gone, it loses nothing either.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			m, err := openMigration(ctx, &o.migrateOptions, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			guardMemory(m.log)
			return m.rows(ctx, cmd, act, &o)
		},
	}
	o.addFlags(cmd)
	return cmd
}

// rows goes through the rows of all tables.
func (m *migration) rows(ctx context.Context, cmd *cobra.Command, act migrate.Act, o *rowsOptions) error {
	all, refused := m.protectedTables()
	user, err := m.userKey(ctx, &o.ownerOptions)
	if err != nil {
		return err
	}
	if user != nil {
		defer user.Release()
	}
	var jobs []migrate.Job
	for _, one := range all {
		job := migrate.Job{Act: act, Migration: one, Owner: o.owner, OfOwner: o.owner != ""}
		for _, c := range one.Columns {
			if meant(act, c, &o.ownerOptions) && o.names(c) {
				job.Columns = append(job.Columns, c)
			}
		}
		if len(job.Columns) > 0 {
			jobs = append(jobs, job)
		}
	}
	out := &printer{w: cmd.OutOrStdout()}
	if len(jobs) == 0 {
		out.printf("nothing to do\n")
	}
	if act == migrate.Encrypt || act == migrate.Decrypt {
		opened, err := m.turn(ctx, act, jobs, out)
		if err != nil {
			return err
		}
		if opened {
			return errUnfinished
		}
	}
	m.startEvaluator(all)
	keys, err := m.migrationKeys(user)
	if err != nil {
		return err
	}
	defer keys.Close()
	if len(o.replicas) > 0 {
		o.limits.Lag = func(ctx context.Context) (time.Duration, error) { return proxy.ReplicaLag(ctx, m.schema, o.replicas) }
	}
	progress := newProgressWriter(m.errors)
	engine := m.engine(keys, o.limits, progress.show)
	defer engine.Close()
	unfinished := refused
	for _, job := range jobs {
		left, err := m.job(ctx, engine, progress, job, out)
		if err != nil {
			return err
		}
		unfinished = unfinished || left
		if ctx.Err() != nil {
			break
		}
	}
	switch {
	case out.err != nil:
		return out.err
	case ctx.Err() != nil:
		fmt.Fprintln(m.errors, "latchkey: stopped: run the same command to go on")
		return errUnfinished
	case unfinished:
		return errUnfinished
	}
	return nil
}

// names tells whether a column is among those that are named.
func (o *rowsOptions) names(c *rewrite.Protected) bool {
	return len(o.columns) == 0 || slices.ContainsFunc(o.columns, func(name string) bool { return rewrite.FoldName(name) == rewrite.FoldName(c.Column) })
}

// meant tells whether a column is converted with the keys at hand.
func meant(act migrate.Act, c *rewrite.Protected, o *ownerOptions) bool {
	switch {
	case (act == migrate.Encrypt || act == migrate.Decrypt) && !c.Plaintext:
		return false
	case c.ServiceKey != "":
		return o.keyFile == ""
	}
	return o.meant(c) || o.keyFile == "" && act == migrate.Encrypt && c.Away
}

// job runs one job and says what became of it. left is true when there is more to do.
func (m *migration) job(ctx context.Context, engine *migrate.Engine, progress *progressWriter, job migrate.Job, out *printer) (left bool, err error) {
	r, err := engine.Run(ctx, job)
	progress.end()
	table := oneLine(job.Migration.Table.String())
	words := map[migrate.Act]string{migrate.Encrypt: "sealed", migrate.Decrypt: "opened", migrate.Rotate: "sealed anew", migrate.Import: "imported"}
	out.printf("%s: %d rows %s", table, r.Rows, words[job.Act])
	if r.Locked > 0 {
		out.printf(", %d values under a key that is not here", r.Locked)
	}
	if r.Failed > 0 {
		out.printf(", %d values cannot be converted", r.Failed)
	}
	if r.Left > 0 && (job.Act == migrate.Encrypt || job.Act == migrate.Decrypt) {
		out.printf(", %d rows left", r.Left)
	}
	out.printf("\n")
	switch {
	case errors.Is(err, migrate.ErrLeft):
		return true, nil
	case ctx.Err() != nil:
		return true, nil
	}
	return false, err
}

// turn says which way the columns of jobs go from now on, to proxies that convert on their own. opened says that columns were
// opened for plaintext, and that the proxies have to be told before there is any.
func (m *migration) turn(ctx context.Context, act migrate.Act, jobs []migrate.Job, out *printer) (opened bool, err error) {
	engine := m.engine(nil, migrate.Limits{}, nil)
	defer engine.Close()
	for _, job := range jobs {
		if err := engine.Turn(ctx, job.Migration, act == migrate.Decrypt); err != nil {
			return false, err
		}
		if act != migrate.Decrypt {
			continue
		}
		sealed, err := m.sealed(ctx)
		if err != nil {
			return false, err
		}
		var closed []*rewrite.Protected
		for _, c := range job.Columns {
			if job.Migration.Table.Guarded(c.Column) || job.Migration.Table.UniqueOver(c.Column) || slices.ContainsFunc(sealed, func(s migrate.Sealed) bool { return s.Of(c) }) {
				closed = append(closed, c)
			}
		}
		if len(closed) == 0 {
			continue
		}
		if err := engine.Reopen(ctx, closed, rewrite.Reopen(job.Migration.Table)); err != nil {
			return false, err
		}
		for _, c := range closed {
			out.printf("%s is open for plaintext: give the proxies the policy with plaintext: accept, and run the command again\n", oneLine(c.String()))
		}
		opened = true
	}
	return opened, nil
}

// sealed reads since when which columns hold cells only.
func (m *migration) sealed(ctx context.Context) ([]migrate.Sealed, error) {
	return migrate.SealedSince(ctx, m.tables, m.keys.fleet, m.keys.realm)
}
