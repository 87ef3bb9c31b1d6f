package cli

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"latchkey/proxy/migrate"
)

// formatFlag adds the flag --format.
func formatFlag(cmd *cobra.Command, format *string) {
	cmd.Flags().StringVar(format, "format", "text", "`text or json`")
}

func checkFormat(format string) error {
	if format != "text" && format != "json" {
		return usageError{fmt.Errorf("--format must be text or json")}
	}
	return nil
}

func newMigrateStatus() *cobra.Command {
	var o migrateOptions
	var format string
	var owners bool
	cmd := &cobra.Command{
		Use:   "status --config FILE [--table DATABASE.TABLE]... [--format text|json] [--owners]",
		Short: "Count what is plaintext and what is sealed",
		Long: `Counts for each protected column how many rows hold plaintext, cells under the key
that seals now, cells under a key that a rotation has replaced (old), cells sealed to
the public key of an owner who was away, cells under a key that the keystore does not
give the row's owner (locked), and nothing: NULL, or the declared default. Where the
keystore does not know an owner, the cells count as sealed. No key is needed but the
service keys. With --owners, and always in JSON, each owner has a line.

The exit code is 3 while a column under plaintext: accept holds plaintext.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkFormat(format); err != nil {
				return err
			}
			m, err := openMigration(cmd.Context(), &o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			defer m.close()
			return m.status(cmd, format, owners)
		},
	}
	o.addFlags(cmd)
	formatFlag(cmd, &format)
	cmd.Flags().BoolVar(&owners, "owners", false, "a line for each owner")
	return cmd
}

// statusJSON is a Status in JSON.
type statusJSON struct {
	Table     string  `json:"table"`
	Column    string  `json:"column"`
	Key       string  `json:"key"`
	Owner     *string `json:"owner,omitempty"`
	Rows      int64   `json:"rows"`
	Plaintext int64   `json:"plaintext"`
	Sealed    int64   `json:"sealed"`
	Old       int64   `json:"old"`
	Away      int64   `json:"away"`
	Locked    int64   `json:"locked"`
	Nothing   int64   `json:"nothing"`
	Percent   float64 `json:"percent"`
	AllOwners bool    `json:"all_owners"`
	Accepts   bool    `json:"accepts_plaintext"`
}

// percent is how much of what there is to seal is sealed.
func percent(s *migrate.Status) float64 {
	all := s.Rows() - s.Nothing
	if all == 0 {
		return 100
	}
	return float64(all-s.Plaintext) * 100 / float64(all)
}

func keyName(s *migrate.Status) string {
	if s.ServiceKey != "" {
		return "service:" + s.ServiceKey
	}
	return "user"
}

func (m *migration) status(cmd *cobra.Command, format string, owners bool) error {
	all, _ := m.protectedTables()
	keys, err := m.migrationKeys(nil)
	if err != nil {
		return err
	}
	defer keys.Close()
	engine := m.engine(keys, migrate.Limits{}, nil)
	defer engine.Close()
	rows := [][]string{{"column", "key", "rows", "plaintext", "sealed", "old", "away", "locked", "nothing", "sealed %"}}
	if owners {
		rows[0] = append([]string{"column", "owner"}, rows[0][1:]...)
	}
	list := []statusJSON{}
	left := false
	for _, one := range all {
		for _, c := range one.Columns {
			statuses, err := engine.Status(cmd.Context(), one, c)
			if err != nil {
				return err
			}
			total := migrate.Status{Table: one.Table.String(), Column: c.Column, ServiceKey: c.ServiceKey}
			for i := range statuses {
				total.Add(&statuses[i])
			}
			left = left || c.Plaintext && total.Plaintext > 0
			list = append(list, toJSON(&total, true, c.Plaintext))
			if !owners {
				rows = append(rows, statusRow(&total, false))
			}
			for i := range statuses {
				list = append(list, toJSON(&statuses[i], false, c.Plaintext))
				if owners {
					rows = append(rows, statusRow(&statuses[i], true))
				}
			}
		}
	}
	out := &printer{w: cmd.OutOrStdout()}
	if format == "json" {
		encoder := json.NewEncoder(cmd.OutOrStdout())
		encoder.SetIndent("", "  ")
		out.err = encoder.Encode(list)
	} else {
		out.table(rows)
	}
	if out.err == nil && left {
		return errUnfinished
	}
	return out.err
}

func statusRow(s *migrate.Status, owner bool) []string {
	row := []string{oneLine(s.Table + "." + s.Column)}
	if owner {
		row = append(row, ownerName(s.Owner, s.HasOwner))
	}
	row = append(row, keyName(s))
	for _, n := range []int64{s.Rows(), s.Plaintext, s.Sealed, s.Old, s.Away, s.Locked, s.Nothing} {
		row = append(row, strconv.FormatInt(n, 10))
	}
	return append(row, strconv.FormatFloat(percent(s), 'f', 1, 64))
}

// ownerName shows an owner.
func ownerName(owner string, has bool) string {
	if !has {
		return "-"
	}
	return oneLine(owner)
}

func toJSON(s *migrate.Status, all, accepts bool) statusJSON {
	j := statusJSON{
		Table: s.Table, Column: s.Column, Key: keyName(s), Rows: s.Rows(), Plaintext: s.Plaintext, Sealed: s.Sealed, Old: s.Old, Away: s.Away,
		Locked: s.Locked, Nothing: s.Nothing, Percent: percent(s), AllOwners: all, Accepts: accepts,
	}
	if s.HasOwner {
		j.Owner = &s.Owner
	}
	return j
}
