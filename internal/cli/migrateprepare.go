package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

func newMigratePrepare() *cobra.Command {
	var o migrateOptions
	var run bool
	cmd := &cobra.Command{
		Use:   "prepare --config FILE [--table DATABASE.TABLE]... [--run]",
		Short: "Turn columns into ones for cells, which still hold plaintext",
		Long: `Prints the statements that turn the columns which the policy protects, and for which
it says plaintext: accept, into ones for cells: a binary type that is wide enough, an
annotation with the declared type, indexes over the search tags. The values stay as
they are. Those that could be taken for a cell, or for the declared default, are
marked. A comment says why a table cannot be converted, or what one might not expect.

With --run it runs them, and keeps a digest of the values for verify. Each table is
copied by the server and locked meanwhile: nobody else reads or writes it. Between
the statements, and when it is cut short, proxies refuse the columns; the same
command goes on.

The exit code is 1 when a table cannot be converted; the others are prepared.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := openMigration(cmd.Context(), &o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			passages := rewrite.Prepare(m.inspection.Schema, m.config.Policy, rewrite.AlterOptions{MAC: m.keys.schemaMAC()})
			return m.pass(cmd, passages, run)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&run, "run", false, "run the statements")
	return cmd
}

// pass prints passages, or takes the tables through them.
func (m *migration) pass(cmd *cobra.Command, passages []*rewrite.Passage, run bool) error {
	out := &printer{w: cmd.OutOrStdout()}
	ctx, stop := untilSignal(cmd.Context())
	defer stop()
	blocked, done := false, 0
	for _, p := range passages {
		if !m.wanted(p.Table) {
			continue
		}
		for _, reason := range p.Blocked {
			out.printf("-- %s cannot be converted: %s\n", oneLine(p.Table.String()), reason)
			blocked = true
		}
		if len(p.Blocked) > 0 {
			continue
		}
		for _, note := range p.Notes {
			out.printf("-- %s\n", note)
		}
		done++
		if !run {
			printPassage(out, p)
			continue
		}
		engine := m.engine(nil, migrate.Limits{}, nil)
		err := engine.Pass(ctx, p)
		engine.Close()
		if ctx.Err() != nil {
			fmt.Fprintf(m.errors, "latchkey: stopped: run the same command to go on with %s\n", p.Table)
			return errUnfinished
		}
		if err != nil {
			return err
		}
		for _, name := range p.Names {
			out.printf("%s is ready\n", oneLine(name))
		}
	}
	if done == 0 && !blocked {
		out.printf("-- nothing to do\n")
	}
	if out.err == nil && blocked {
		return errFound
	}
	return out.err
}

// printPassage prints the statements of a passage, for a session of the mariadb client.
func printPassage(out *printer, p *rewrite.Passage) {
	out.printf("SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', time_zone='+00:00', autocommit=0;\nLOCK TABLES %s WRITE;\n", p.Migration.Name)
	for _, statement := range p.First {
		out.printf("%s;\n", statement)
	}
	if p.Update != "" {
		out.printf("%s;\nCOMMIT;\n", p.Update)
	}
	for _, statement := range p.Last {
		out.printf("%s;\n", statement)
	}
	out.printf("UNLOCK TABLES;\n")
}
