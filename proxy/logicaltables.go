package proxy

import (
	"context"
	"strings"
	"sync"

	lru "github.com/hashicorp/golang-lru/v2"

	"latchkey/proxy/evaluator"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// logicalTables keeps the logical schema in the evaluator: empty tables with the declared types, made when a statement first
// needs them, and made again when a table has changed or the evaluator was started again. Its methods may be called
// concurrently.
type logicalTables struct {
	// definitions are what statements were found to answer.
	definitions *lru.Cache[definitionsKey, []wire.Column]

	// use is held for reading while a statement looks at the tables, and for writing while they change.
	use sync.RWMutex
	// server is the start of the evaluator that has what made says.
	server uint64
	made   map[tableName]string

	mu sync.Mutex
	// databases are those that the server databasesOf has.
	databases   map[string]bool
	databasesOf uint64
}

// maxDefinitions bounds how many statements' column definitions are kept.
const maxDefinitions = 1024

func newLogicalTables() *logicalTables {
	definitions, err := lru.New[definitionsKey, []wire.Column](maxDefinitions)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return &logicalTables{definitions: definitions}
}

// tableName names a table as the snapshot has it.
type tableName struct{ database, table string }

// with calls do while the evaluator has these tables. They do not change before do returns. conn is the connection that
// makes what is missing; its sql_mode may be another afterwards.
func (l *logicalTables) with(ctx context.Context, conn *evaluator.Conn, tables []definedTable, do func() error) error {
	definitions := make(map[tableName]string, len(tables))
	for _, t := range tables {
		definition, err := rewrite.EvaluatorDefinition(t.Table, t.prots, nil)
		if err != nil {
			return err
		}
		definitions[tableName{t.Database, t.Name}] = definition
	}
	for {
		l.use.RLock()
		if l.has(conn, definitions) {
			defer l.use.RUnlock()
			return do()
		}
		l.use.RUnlock()
		if err := l.make(ctx, conn, tables, definitions); err != nil {
			return err
		}
	}
}

// has tells whether the tables are there as they are defined.
func (l *logicalTables) has(conn *evaluator.Conn, definitions map[tableName]string) bool {
	if l.server != conn.Server() {
		return false
	}
	for name, definition := range definitions {
		if l.made[name] != definition {
			return false
		}
	}
	return true
}

// make makes what is missing.
func (l *logicalTables) make(ctx context.Context, conn *evaluator.Conn, tables []definedTable, definitions map[tableName]string) error {
	l.use.Lock()
	defer l.use.Unlock()
	if l.server != conn.Server() {
		if l.server > conn.Server() {
			return evaluator.ErrUnavailable // of a server that has ended
		}
		l.server, l.made = conn.Server(), make(map[tableName]string)
	}
	if _, err := conn.Exec(ctx, "SET sql_mode=''"); err != nil {
		return err
	}
	for _, t := range tables {
		name := tableName{t.Database, t.Name}
		definition, wanted := definitions[name]
		if !wanted || l.made[name] == definition {
			continue
		}
		if err := l.database(ctx, conn, t.Database); err != nil {
			return err
		}
		if _, err := conn.Exec(ctx, "CREATE OR REPLACE TABLE "+quoteName(t.Database)+"."+quoteName(t.Name)+" "+definition); err != nil {
			return err
		}
		l.made[name] = definition
	}
	return nil
}

// database makes sure that the evaluator has a database.
func (l *logicalTables) database(ctx context.Context, conn *evaluator.Conn, name string) error {
	if strings.EqualFold(name, "information_schema") {
		return nil // every server has it
	}
	l.mu.Lock()
	there := l.databasesOf == conn.Server() && l.databases[name]
	l.mu.Unlock()
	if there {
		return nil
	}
	if _, err := conn.Exec(ctx, "CREATE DATABASE IF NOT EXISTS "+quoteName(name)); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.databasesOf < conn.Server() {
		l.databasesOf, l.databases = conn.Server(), make(map[string]bool)
	}
	if l.databasesOf == conn.Server() {
		l.databases[name] = true
	}
	return nil
}

// namedTables gives the tables that a statement can mean: whatever has the name of one of its words, in the current database
// or in one that the statement names.
func namedTables(st *rewrite.Statement, schema *rewrite.Schema, current string) []definedTable {
	words := make(map[string]bool)
	for i := range st.Tokens() {
		if st.Token(i).IsIdentifier() {
			words[st.Name(i)] = true
		}
	}
	databases := map[string]bool{current: true}
	for word := range words {
		if schema.Databases[schema.TableKey(word)] != nil {
			databases[word] = true
		}
	}
	var tables []definedTable
	seen := make(map[*rewrite.Table]bool)
	for database := range databases {
		if systemDatabase(database) {
			continue
		}
		for word := range words {
			if t := schema.Table(database, word); t != nil && t.Kind == rewrite.BaseTable && !seen[t] {
				seen[t] = true
				tables = append(tables, definedTable{Table: t})
			}
		}
	}
	return tables
}

// systemDatabase tells whether a database is the server's own: the evaluator has its own of them.
func systemDatabase(name string) bool {
	switch strings.ToLower(name) {
	case "information_schema", "performance_schema", "mysql", "sys", "":
		return true
	}
	return false
}
