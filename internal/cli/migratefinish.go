package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

func newMigrateFinish() *cobra.Command {
	var o migrateOptions
	var run, decrypted bool
	cmd := &cobra.Command{
		Use:   "finish --config FILE [--table DATABASE.TABLE]... [--decrypted] [--run]",
		Short: "Let nothing but cells into the columns from now on",
		Long: `Refuses while a column under plaintext: accept holds plaintext. Else it prints the
statements that give the columns their CHECK, by which nothing but cells gets in, and
make UNIQUE keys that are ordinary meanwhile UNIQUE again. The server copies each table for it, so that
its file holds no plaintext any more; rows can be read meanwhile, and writes wait.

With --run it runs them, and writes down in the keystore since when the columns are
sealed. From then on plaintext: accept is an error when latchkey serve starts: take it
out of the policy of all proxies first.

With --decrypted it is the other way round: it refuses while cells are left, and then
gives the columns under plaintext: accept the types, defaults and indexes that they
were declared with. The table is locked meanwhile. Take the columns out of the policy
behind it.

The exit code is 3 while plaintext, or a cell, is left.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			m, err := openMigration(ctx, &o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			if decrypted {
				return m.restore(ctx, cmd, run)
			}
			return m.finish(ctx, cmd, run)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&run, "run", false, "run the statements")
	cmd.Flags().BoolVar(&decrypted, "decrypted", false, "give columns without cells their declared types back")
	return cmd
}

func (m *migration) finish(ctx context.Context, cmd *cobra.Command, run bool) error {
	all, refused := m.protectedTables()
	alters := make(map[*rewrite.Table]rewrite.Alter)
	for _, alter := range rewrite.Alters(m.inspection.Schema, m.config.Policy, rewrite.AlterOptions{MAC: m.keys.schemaMAC(), HasRows: m.inspection.HasRows, Finish: true}) {
		alters[m.inspection.Schema.Table(alter.Database, alter.Table)] = alter
	}
	out := &printer{w: cmd.OutOrStdout()}
	engine := m.engine(nil, migrate.Limits{}, nil)
	defer engine.Close()
	done, left := 0, refused
	for _, one := range all {
		columns := accepting(one)
		if len(columns) == 0 {
			continue
		}
		done++
		more, err := m.finishTable(ctx, engine, one, columns, alters[one.Table], run, out)
		if err != nil {
			return err
		}
		left = left || more
	}
	if done == 0 {
		out.printf("-- nothing to do: no column says plaintext: accept\n")
	}
	if out.err == nil && left {
		return errUnfinished
	}
	return out.err
}

// finishTable prints or runs what one table needs. left is true when it cannot be finished yet.
func (m *migration) finishTable(ctx context.Context, engine *migrate.Engine, one *rewrite.Migration, columns []*rewrite.Protected, alter rewrite.Alter, run bool, out *printer) (left bool, err error) {
	n, err := engine.Left(ctx, one, columns, false)
	if err != nil {
		return false, err
	}
	if n > 0 {
		out.printf("-- %s: %d rows hold plaintext: run latchkey migrate encrypt\n", oneLine(one.Table.String()), n)
		return true, nil
	}
	for _, note := range alter.Notes {
		out.printf("-- %s\n", note)
	}
	if !run {
		if alter.SQL != "" {
			out.printf("%s;\n", alter.SQL)
		}
		return false, nil
	}
	err = engine.Finish(ctx, one, columns, alter.SQL)
	if errors.Is(err, migrate.ErrLeft) {
		fmt.Fprintf(m.errors, "latchkey: %v\n", err)
		return true, nil
	}
	if err != nil {
		return false, err
	}
	for _, c := range columns {
		out.printf("%s is sealed: take plaintext: accept out of the policy\n", oneLine(c.String()))
	}
	return false, nil
}

// restore gives columns without cells their declared types back.
func (m *migration) restore(ctx context.Context, cmd *cobra.Command, run bool) error {
	engine := m.engine(nil, migrate.Limits{}, nil)
	defer engine.Close()
	var ready []*rewrite.Passage
	left := false
	for _, p := range rewrite.Restore(m.inspection.Schema, m.config.Policy, rewrite.AlterOptions{MAC: m.keys.schemaMAC()}) {
		if m.wanted(p.Table) && len(p.Blocked) == 0 && !p.Begun {
			n, err := engine.Left(ctx, p.Migration, p.Protected(), true)
			if err != nil {
				return err
			}
			if n > 0 {
				fmt.Fprintf(m.errors, "latchkey: %s: %d rows hold cells: run latchkey migrate decrypt\n", oneLine(p.Table.String()), n)
				left = true
				continue
			}
		}
		ready = append(ready, p)
	}
	if err := m.pass(cmd, ready, "is as it was declared: take it out of the policy", run); err != nil {
		return err
	}
	if left {
		return errUnfinished
	}
	return nil
}
