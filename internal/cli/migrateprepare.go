package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

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
			m.notAccepting(cmd.ErrOrStderr(), passages)
			m.noteImages(cmd.ErrOrStderr(), passages)
			return m.pass(cmd, passages, run)
		},
	}
	o.addFlags(cmd)
	cmd.Flags().BoolVar(&run, "run", false, "run the statements")
	return cmd
}

// notAccepting says which tables have rows in the way, and no plaintext: accept.
func (m *migration) notAccepting(out io.Writer, passages []*rewrite.Passage) {
	options := rewrite.AlterOptions{MAC: m.keys.schemaMAC(), HasRows: m.inspection.HasRows}
	for _, alter := range rewrite.Alters(m.inspection.Schema, m.config.Policy, options) {
		t := m.inspection.Schema.Table(alter.Database, alter.Table)
		passes := slices.ContainsFunc(passages, func(p *rewrite.Passage) bool { return p.Table == t })
		if passes || alter.SQL != "" || !m.wanted(t) {
			continue
		}
		for _, note := range alter.Notes {
			fmt.Fprintf(out, "latchkey: %s; say plaintext: accept to have them converted\n", note)
		}
	}
}

// noteImages says that the binary log will hold old values.
func (m *migration) noteImages(out io.Writer, passages []*rewrite.Passage) {
	v := m.inspection.Settings.Variables
	if len(passages) > 0 && strings.EqualFold(v["log_bin"], "ON") && !strings.EqualFold(v["binlog_row_image"], "MINIMAL") {
		fmt.Fprintln(out, "latchkey: binlog_row_image is not MINIMAL: when an application changes rows that are not converted yet, the binary log gets their old values in clear; set it on the server first")
	}
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
			for _, statement := range passageStatements(p) {
				out.printf("%s;\n", statement)
			}
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

// passageStatements are the statements of a passage, for one session of the mariadb client; none when it is blocked.
func passageStatements(p *rewrite.Passage) []string {
	if len(p.Blocked) > 0 {
		return nil
	}
	all := append([]string{"SET SESSION " + rewrite.PassageMode + ", autocommit=0", "LOCK TABLES " + p.Migration.Name + " WRITE"}, p.First...)
	if p.Update != "" {
		all = append(all, p.Update, "COMMIT")
	}
	return append(append(all, p.Last...), "UNLOCK TABLES", "SET SESSION autocommit=1")
}
