package proxy

import (
	"context"

	"latchkey/proxy/evaluator"
)

// startEvaluator starts the evaluator as what the backend is, once there is something that may need it.
func (l *SchemaLoader) startEvaluator(conn *schemaConn) error {
	if l.cfg.Evaluator == nil || !protects(l.current.Load()) {
		return nil
	}
	var settings evaluator.Settings
	const query = "SELECT VERSION(), @@global.lower_case_table_names, @@global.character_set_server, @@global.collation_server, @@global.max_allowed_packet"
	err := conn.rows(query, func(row schemaRow) error {
		settings = evaluator.Settings{Version: row.text(0), LowerCaseTableNames: int(row.number(1)), Charset: row.text(2), Collation: row.text(3),
			MaxAllowedPacket: int(row.number(4))}
		return nil
	})
	if err == nil {
		l.cfg.Evaluator.Start(settings, l.readZones)
	}
	return err
}

// protects reports whether something is protected, or will be when the tables that the policy names are made.
func protects(s *Snapshot) bool {
	if len(s.Policy.Databases) > 0 {
		return true
	}
	for _, tables := range s.Schema.Databases {
		for _, t := range tables {
			if t.Protects {
				return true
			}
		}
	}
	return false
}

// readZones reads one of the backend's time zone tables, on a connection of its own.
func (l *SchemaLoader) readZones(ctx context.Context, table evaluator.ZoneTable, add func(values [][]byte) error) error {
	conn, err := dialSchema(ctx, &l.cfg)
	if err != nil {
		return err
	}
	defer conn.close()
	stop := context.AfterFunc(ctx, conn.interrupt)
	defer stop()
	query := []byte("SELECT ")
	for i, column := range table.Columns {
		if i > 0 {
			query = append(query, ',')
		}
		query = append(query, quoteName(column)...)
	}
	query = append(append(query, " FROM mysql."...), quoteName(table.Name)...)
	values := make([][]byte, len(table.Columns))
	return conn.rows(string(query), func(row schemaRow) error {
		for i := range values {
			values[i] = nil
			if !row.null(i) {
				values[i] = []byte(row.text(i))
			}
		}
		return add(values)
	})
}
