package proxy

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-mysql-org/go-mysql/client"

	"latchkey/keystore/cell"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

// Inspection is what `latchkey check` looks at: the schema and the settings of the server, read once. Its connection stays
// open until Close.
type Inspection struct {
	// Schema has not been through Protect.
	Schema   *rewrite.Schema
	Settings rewrite.ServerSettings
	conn     *schemaConn
}

// Inspect reads schema and settings with the account of cfg.
func Inspect(ctx context.Context, cfg SchemaConfig) (*Inspection, error) {
	conn, err := dialSchema(ctx, &cfg)
	if err != nil {
		return nil, err
	}
	read, err := readSchema(conn, cfg.KeystoreDatabase, func() {})
	if err != nil {
		conn.close()
		return nil, err
	}
	i := &Inspection{Schema: read.schema, Settings: rewrite.ServerSettings{Variables: map[string]string{}, MissingPrivileges: read.missing}, conn: conn}
	err = conn.rows("SHOW GLOBAL VARIABLES", func(row schemaRow) error {
		i.Settings.Variables[strings.ToLower(row.text(0))] = row.text(1)
		return nil
	})
	if err != nil {
		conn.close()
		return nil, err
	}
	// Reading performance_schema needs a grant of its own; without it the consumers are not known.
	_ = conn.rows("SELECT NAME FROM performance_schema.setup_consumers WHERE ENABLED='YES'", func(row schemaRow) error {
		i.Settings.Consumers = append(i.Settings.Consumers, row.text(0))
		return nil
	})
	return i, nil
}

// HasRows tells whether a table has rows. One that cannot be read counts as having some.
func (i *Inspection) HasRows(database, table string) bool {
	found := false
	err := i.conn.rows("SELECT 1 FROM "+quoteName(database)+"."+quoteName(table)+" LIMIT 1", func(schemaRow) error {
		found = true
		return nil
	})
	return found || err != nil
}

// AwayLeft finds the searchable columns that hold cells of kind a although the policy does not accept any there, or not any
// more. Schema has been through Protect. Columns that no index begins with are not looked at, since all rows would be read.
func (i *Inspection) AwayLeft() []rewrite.Finding {
	var findings []rewrite.Finding
	for _, tables := range i.Schema.Databases {
		for _, t := range tables {
			for _, c := range t.Columns {
				p := c.Protected
				if p == nil || !p.Search || p.ServiceKey != "" || p.Away || p.Conflict != nil || !leadsIndex(t, c.Name) || !i.holdsAway(p) {
					continue
				}
				findings = append(findings, rewrite.Finding{Severity: rewrite.Warning, Code: "away-left", Object: p.String(),
					Reason: "it holds values that were written for absent owners, which searches do not find: their cells have no tag",
					Hint:   "set `away: accept` again, until their owners have searched the table"})
			}
		}
	}
	slices.SortFunc(findings, func(a, b rewrite.Finding) int { return strings.Compare(a.Object, b.Object) })
	return findings
}

func leadsIndex(t *rewrite.Table, column string) bool {
	return slices.ContainsFunc(t.Indexes, func(x *rewrite.Index) bool {
		return len(x.Parts) > 0 && rewrite.FoldName(x.Parts[0].Column) == rewrite.FoldName(column)
	})
}

// holdsAway tells whether a column has a cell of kind a. One that cannot be read counts as having none.
func (i *Inspection) holdsAway(p *rewrite.Protected) bool {
	name := quoteName(p.Column)
	from := []byte{0xFF, 'L', 'K', byte(cell.KindAway)}
	to := []byte{0xFF, 'L', 'K', byte(cell.KindAway) + 1}
	query := appendHex([]byte("SELECT 1 FROM "+quoteName(p.Database)+"."+quoteName(p.Table)+" WHERE "+name+" >= "), from)
	query = append(appendHex(append(query, " AND "+name+" < "...), to), " LIMIT 1"...)
	found := false
	_ = i.conn.rows(string(query), func(schemaRow) error {
		found = true
		return nil
	})
	return found
}

// EvaluatorSettings are what an evaluator takes over from the server.
func (i *Inspection) EvaluatorSettings() evaluator.Settings {
	v := i.Settings.Variables
	names, _ := strconv.Atoi(v["lower_case_table_names"])
	return evaluator.Settings{Version: v["version"], LowerCaseTableNames: names, Charset: v["character_set_server"], Collation: v["collation_server"]}
}

// ReplicaLag is how far the furthest of some replicas is behind, each asked at its host:port with the account of cfg.
func ReplicaLag(ctx context.Context, cfg SchemaConfig, replicas []string) (time.Duration, error) {
	var most time.Duration
	for _, address := range replicas {
		one := cfg
		one.Address = address
		conn, err := dialBackend(ctx, &one, func(*client.Conn) {})
		if err != nil {
			return 0, err
		}
		r, err := conn.Execute("SHOW ALL SLAVES STATUS")
		if err == nil {
			var lag time.Duration
			lag, err = migrate.ReplicaLag(r)
			most = max(most, lag)
			r.Close()
		}
		_ = conn.Close()
		if err != nil {
			return 0, fmt.Errorf("ask the replica %s for its lag: %w", address, err)
		}
	}
	return most, nil
}

// Close ends the connection.
func (i *Inspection) Close() error { return i.conn.Close() }

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
