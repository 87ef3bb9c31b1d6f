package cli

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/proxy"
	"latchkey/rewrite"
)

func newCheck() *cobra.Command {
	var file string
	var sql bool
	cmd := &cobra.Command{
		Use:   "check --config FILE",
		Short: "Hold the policy against the live schema",
		Long: `Reads the configuration and the key files it names, connects to the backend with
Latchkey's own account and prints what is not as it should be between policy,
schema and server settings, one finding a line. It changes nothing.

With --sql it prints instead the statements that make the tables ready, with a
comment where a statement alone will not do. A table with rows is made ready for
plaintext: accept where the policy says so, under LOCK TABLES; no value is lost.

The exit code is 1 when there is a finding of severity error.`,
		Example: `  latchkey check --config /etc/latchkey/latchkey.yaml
  latchkey check --config /etc/latchkey/latchkey.yaml --sql | mariadb`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			config, err := loadConfig(file)
			if err != nil {
				return err
			}
			if sql {
				return printAlters(cmd.Context(), config, cmd.OutOrStdout())
			}
			return printFindings(cmd.Context(), config, cmd.OutOrStdout())
		},
	}
	addConfigFlag(cmd, &file)
	cmd.Flags().BoolVar(&sql, "sql", false, "print the statements that make the tables ready")
	return cmd
}

// printFindings prints everything that check finds. It returns errFound when one
// is an error.
func printFindings(ctx context.Context, config *configs.Config, out io.Writer) error {
	findings := configFindings(config)
	keys, err := loadKeys(config)
	if err != nil {
		findings = append(findings, keyFindings(err)...)
	} else {
		defer keys.close()
	}
	for _, warning := range keys.warnings {
		findings = append(findings, rewrite.Finding{Severity: rewrite.Warning, Code: "key-file-mode", Object: warning.Path, Reason: warning.String()})
	}
	inspection, err := inspect(ctx, config)
	if err != nil {
		return err
	}
	defer inspection.Close()
	findings = append(findings, rewrite.Protect(inspection.Schema, config.Policy, keys.verify())...)
	findings = append(findings, rewrite.Check(inspection.Schema, config.Policy, inspection.Settings)...)
	findings = append(findings, inspection.AwayLeft()...)

	errors, warnings := 0, 0
	seen := make(map[string]bool)
	for _, finding := range findings {
		// Protect and Check both report what the schema lacks.
		line := finding.String()
		if seen[line] {
			continue
		}
		seen[line] = true
		switch finding.Severity {
		case rewrite.Error:
			errors++
		case rewrite.Warning:
			warnings++
		}
		if _, err := fmt.Fprintln(out, line); err != nil {
			return err
		}
	}
	if _, err := fmt.Fprintf(out, "%d errors, %d warnings\n", errors, warnings); err != nil {
		return err
	}
	if errors > 0 {
		return errFound
	}
	return nil
}

// configFindings are the settings that this version cannot act on.
func configFindings(config *configs.Config) []rewrite.Finding {
	var findings []rewrite.Finding
	for _, problem := range config.Unavailable() {
		findings = append(findings, rewrite.Finding{
			Severity: rewrite.Error, Code: "not-available",
			Object: fmt.Sprintf("%s:%d:%d", problem.File, problem.Line, problem.Column), Reason: problem.Message,
		})
	}
	return findings
}

// keyFindings are the key files that could not be read.
func keyFindings(err error) []rewrite.Finding {
	var findings []rewrite.Finding
	for line := range strings.SplitSeq(err.Error(), "\n") {
		findings = append(findings, rewrite.Finding{
			Severity: rewrite.Error, Code: "key-file", Object: "configuration", Reason: line,
		})
	}
	return findings
}

// printAlters prints the statements that make the tables ready.
func printAlters(ctx context.Context, config *configs.Config, out io.Writer) error {
	keys, err := loadKeys(config)
	if err != nil {
		return err
	}
	defer keys.close()
	if keys.fleet == nil {
		return fmt.Errorf("%s: keystore.secret_file is needed to authenticate annotations; make one with latchkey keygen --fleet", config.File)
	}
	inspection, err := inspect(ctx, config)
	if err != nil {
		return err
	}
	defer inspection.Close()
	rewrite.Protect(inspection.Schema, config.Policy, keys.verify())
	options := alterOptions(inspection, keys)
	prepared := make(map[string]bool)
	for _, p := range rewrite.Prepare(inspection.Schema, config.Policy, options) {
		prepared[p.Table.Database+"."+p.Table.Name] = true
		if err := printStatements(out, p.Table.Database, p.Table.Name, slices.Concat(p.Blocked, p.Notes), passageStatements(p)); err != nil {
			return err
		}
	}
	for _, alter := range rewrite.Alters(inspection.Schema, config.Policy, options) {
		if prepared[alter.Database+"."+alter.Table] {
			continue
		}
		var statements []string
		if alter.SQL != "" {
			statements = []string{alter.SQL}
		}
		if err := printStatements(out, alter.Database, alter.Table, alter.Notes, statements); err != nil {
			return err
		}
	}
	return nil
}

// printStatements prints what makes one table ready, its notes as comments.
func printStatements(out io.Writer, database, table string, notes, statements []string) error {
	for _, note := range notes {
		if _, err := fmt.Fprintf(out, "-- %s.%s: %s\n", oneLine(database), oneLine(table), note); err != nil {
			return err
		}
	}
	for _, sql := range statements {
		if _, err := fmt.Fprintf(out, "%s;\n", sql); err != nil {
			return err
		}
	}
	return nil
}

// alterOptions are what the statements are written with. The keys must have a fleet secret.
func alterOptions(inspection *proxy.Inspection, keys *keys) rewrite.AlterOptions {
	return rewrite.AlterOptions{MAC: keys.schemaMAC(), HasRows: inspection.HasRows}
}

// readAlters reads the schema and returns the statements that make it ready. The
// keys must have a fleet secret.
func readAlters(ctx context.Context, config *configs.Config, keys *keys) ([]rewrite.Alter, error) {
	inspection, err := inspect(ctx, config)
	if err != nil {
		return nil, err
	}
	defer inspection.Close()
	rewrite.Protect(inspection.Schema, config.Policy, keys.verify())
	return rewrite.Alters(inspection.Schema, config.Policy, alterOptions(inspection, keys)), nil
}

// oneLine keeps a name inside the comment it is printed in.
func oneLine(name string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' {
			return '?'
		}
		return r
	}, name)
}

// inspect reads schema and settings of the backend.
func inspect(ctx context.Context, config *configs.Config) (*proxy.Inspection, error) {
	schema, err := schemaConfig(config, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	inspection, err := proxy.Inspect(ctx, schema)
	if err != nil {
		return nil, fmt.Errorf("read the schema of %s: %w", config.Backend.Address, err)
	}
	return inspection, nil
}
