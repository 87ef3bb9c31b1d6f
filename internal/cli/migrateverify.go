package cli

import (
	"context"
	"encoding/json"
	"strconv"

	"github.com/spf13/cobra"

	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

func newMigrateVerify() *cobra.Command {
	var o migrateOptions
	var owner ownerOptions
	var format string
	var strict bool
	cmd := &cobra.Command{
		Use:   "verify --config FILE [--table DATABASE.TABLE]... [--owner ID --key-file FILE] [--format text|json] [--strict]",
		Short: "Open what can be opened, and compare it with the digest from before",
		Long: `Reads the rows of all tables, or of one owner, opens what the keys at hand open, and
compares the values with the digest that prepare has taken: same, changed (rows that
were written since change it too), unknown (not everything could be opened) or none.

The exit code is 1 when a value is neither plaintext of its column nor a cell that
opens, and with --strict also when a digest has changed; 3 when cells are under keys
that are not here.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			if err := owner.check(); err != nil {
				return err
			}
			m, err := openMigration(cmd.Context(), &o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			guardMemory(m.log)
			verdicts, err := m.verify(cmd.Context(), &owner)
			if err != nil {
				return err
			}
			return printVerdicts(cmd, verdicts, format, strict)
		},
	}
	o.addFlags(cmd)
	owner.addFlags(cmd)
	formatFlag(cmd, &format)
	cmd.Flags().BoolVar(&strict, "strict", false, "a digest that has changed is an error")
	return cmd
}

// verify looks at the rows of all tables, or of one owner.
func (m *migration) verify(ctx context.Context, o *ownerOptions) ([]migrate.Verdict, error) {
	user, err := m.userKey(ctx, o)
	if err != nil {
		return nil, err
	}
	if user != nil {
		defer user.Release()
	}
	keys, err := m.migrationKeys(user)
	if err != nil {
		return nil, err
	}
	defer keys.Close()
	engine := m.engine(keys, migrate.Limits{}, nil)
	defer engine.Close()
	all, _ := m.protectedTables()
	var verdicts []migrate.Verdict
	for _, one := range all {
		columns := one.Columns
		if user != nil {
			columns = nil
			for _, c := range one.Columns {
				if o.meant(c) {
					columns = append(columns, c)
				}
			}
		}
		if len(columns) == 0 {
			continue
		}
		some, err := engine.Verify(ctx, one, columns, o.owner, o.owner != "")
		if err != nil {
			return nil, err
		}
		verdicts = append(verdicts, some...)
	}
	return verdicts, nil
}

// verdictJSON is a Verdict in JSON.
type verdictJSON struct {
	Table   string  `json:"table"`
	Column  string  `json:"column"`
	Owner   *string `json:"owner,omitempty"`
	Opened  int64   `json:"opened"`
	Plain   int64   `json:"plain"`
	Locked  int64   `json:"locked"`
	Damaged int64   `json:"damaged"`
	Digest  string  `json:"digest"`
}

func printVerdicts(cmd *cobra.Command, verdicts []migrate.Verdict, format string, strict bool) error {
	damaged, locked := false, false
	list := []verdictJSON{}
	rows := [][]string{{"column", "owner", "opened", "plain", "locked", "damaged", "digest"}}
	for i := range verdicts {
		v := &verdicts[i]
		damaged = damaged || v.Damaged > 0 || strict && v.Digest == migrate.DigestChanged
		locked = locked || v.Locked > 0
		j := verdictJSON{Table: v.Table, Column: v.Column, Opened: v.Opened, Plain: v.Plain, Locked: v.Locked, Damaged: v.Damaged, Digest: v.Digest.String()}
		if v.HasOwner {
			j.Owner = &v.Owner
		}
		list = append(list, j)
		row := []string{oneLine(v.Table + "." + v.Column), ownerName(v.Owner, v.HasOwner)}
		for _, n := range []int64{v.Opened, v.Plain, v.Locked, v.Damaged} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		rows = append(rows, append(row, v.Digest.String()))
	}
	out := &printer{w: cmd.OutOrStdout()}
	if format == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		out.err = encoder.Encode(list)
	} else {
		out.table(rows)
	}
	switch {
	case out.err != nil:
		return out.err
	case damaged:
		return errFound
	case locked:
		return errUnfinished
	}
	return nil
}

// accepting are the columns of a table that the policy lets plaintext into.
func accepting(one *rewrite.Migration) []*rewrite.Protected {
	var columns []*rewrite.Protected
	for _, c := range one.Columns {
		if c.Plaintext {
			columns = append(columns, c)
		}
	}
	return columns
}
