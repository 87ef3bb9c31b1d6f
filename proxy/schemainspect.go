package proxy

import (
	"context"
	"strings"

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

// Close ends the connection.
func (i *Inspection) Close() error { return i.conn.Close() }

func quoteName(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }
