package proxy

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	sqldriver "github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// migration runs an application's own DDL on a plaintext database and, through a proxy whose policy names the protected
// columns from the start, on another one.
type migration struct {
	*twin
	policy                map[string]*rewrite.TablePolicy
	plainConn, sealedConn *sql.Conn
}

// migrationPolicy is for the tables of all migrations.
func migrationPolicy() map[string]*rewrite.TablePolicy {
	search := func() *rewrite.ColumnPolicy { return &rewrite.ColumnPolicy{SearchEquality: true} }
	app := func() *rewrite.ColumnPolicy { return &rewrite.ColumnPolicy{SearchEquality: true, ServiceKey: "app"} }
	return map[string]*rewrite.TablePolicy{
		"entries": {Owner: "user_id", Columns: map[string]*rewrite.ColumnPolicy{
			"title": search(), "body": {}, "amount": {}, "mood": {}, "day": {}, "extra": {}, "draft": {}, "caption": search(),
		}},
		"notes":        {Owner: "user_id", Columns: map[string]*rewrite.ColumnPolicy{"title": search(), "body": {}, "amount": {}, "mood": {}, "day": {}, "extra": {}, "draft": {}}},
		"users":        {Columns: map[string]*rewrite.ColumnPolicy{"email": app(), "name": {ServiceKey: "app"}}},
		"app_entry":    {Columns: map[string]*rewrite.ColumnPolicy{"title": app(), "body": {ServiceKey: "app"}, "amount": {ServiceKey: "app"}, "slug": app()}},
		"Entries":      {Columns: map[string]*rewrite.ColumnPolicy{"title": app(), "body": {ServiceKey: "app"}}},
		"entry_entity": {Columns: map[string]*rewrite.ColumnPolicy{"title": app(), "body": {ServiceKey: "app"}}},
	}
}

func newMigration(t *testing.T, policy map[string]*rewrite.TablePolicy) *migration {
	t.Helper()
	server := mariadbtest.Shared(t)
	tw := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t)}
	for _, db := range []string{tw.plain, tw.sealed} {
		server.Exec(t, "ALTER DATABASE "+db+" DEFAULT CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci")
	}
	config := testSchemaConfig(server)
	config.Verify = testSchemaVerify
	tw.loader = startLoader(t, config, &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: policy}})
	p := testProtection(t, tw.loader)
	p.SchemaMAC, p.Evaluator = testSchemaMAC, testEvaluator(t)
	tw.proxy = startProxy(t, server.Addr(), func(c *Config) { c.Protection = p })
	return &migration{twin: tw, policy: policy, plainConn: tw.direct(t, ""), sealedConn: tw.session(t, 'A', "")}
}

// outcome is what a client sees of a statement that returns no rows.
func (m *migration) outcome(conn *sql.Conn, prepared bool, statement string) string {
	ctx := context.Background()
	exec := func() (sql.Result, error) { return conn.ExecContext(ctx, statement) }
	if prepared {
		stmt, err := conn.PrepareContext(ctx, statement)
		if err != nil {
			return errorNumber(err)
		}
		defer stmt.Close()
		exec = func() (sql.Result, error) { return stmt.ExecContext(ctx) }
	}
	result, err := exec()
	if err != nil {
		return errorNumber(err)
	}
	affected, _ := result.RowsAffected()
	id, _ := result.LastInsertId()
	text := fmt.Sprintf("affected %d id %d", affected, id)
	rows, err := conn.QueryContext(ctx, "SHOW WARNINGS")
	if err != nil {
		return errorNumber(err)
	}
	defer rows.Close()
	for rows.Next() {
		var level, message string
		var code int
		if err := rows.Scan(&level, &code, &message); err != nil {
			return err.Error()
		}
		text += fmt.Sprintf(" %s %d", level, code)
	}
	return text
}

func errorNumber(err error) string {
	var e *sqldriver.MySQLError
	if errors.As(err, &e) {
		return fmt.Sprintf("error %d", e.Number)
	}
	return err.Error()
}

// run sends a statement to both sides, whose outcomes must be equal, and holds the schemas against each other.
func (m *migration) run(t *testing.T, statement string) {
	t.Helper()
	m.runWay(t, false, statement)
}

func (m *migration) runWay(t *testing.T, prepared bool, statement string) {
	t.Helper()
	want, got := m.outcome(m.plainConn, prepared, statement), m.outcome(m.sealedConn, prepared, statement)
	if strings.Contains(statement, "FULLTEXT") {
		want += " Warning 9705" // the index finds nothing
	}
	if got != want {
		if strings.HasPrefix(got, "error") {
			_, err := m.sealedConn.ExecContext(context.Background(), statement)
			t.Errorf("%s: %v", statement, err)
		}
		t.Errorf("%s:\n through Latchkey %s\n on plaintext %s", statement, got, want)
	}
	m.same(t, statement)
}

// refuses sends a statement that plaintext would carry out and Latchkey does not.
func (m *migration) refuses(t *testing.T, code uint16, statement string) {
	t.Helper()
	before := m.tables(t, m.sealed)
	_, err := m.sealedConn.ExecContext(context.Background(), statement)
	var e *sqldriver.MySQLError
	if !errors.As(err, &e) || e.Number != code {
		t.Errorf("%s: %v, want error %d", statement, err, code)
	}
	if after := m.tables(t, m.sealed); !slices.Equal(after, before) {
		t.Errorf("%s changed the tables from %s to %s", statement, before, after)
	}
}

func (m *migration) tables(t *testing.T, database string) []string {
	t.Helper()
	var names []string
	rows := m.server.Query(t, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_TYPE='BASE TABLE' AND TABLE_SCHEMA='"+database+"' ORDER BY 1")
	for _, row := range rows {
		names = append(names, row[0])
	}
	return names
}

// same holds every table of the sealed database, turned back into what was declared, against the plaintext one, and looks
// at what the backend has: cells or nothing.
func (m *migration) same(t *testing.T, after string) {
	t.Helper()
	snapshot, err := m.loader.Current(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	names := m.tables(t, m.plain)
	if got := m.tables(t, m.sealed); !slices.Equal(got, names) {
		t.Errorf("after %s the tables are %v, want %v", after, got, names)
		return
	}
	for _, name := range names {
		want := m.server.Query(t, "SHOW CREATE TABLE "+m.plain+"."+quoteName(name))[0][1]
		show := m.server.Query(t, "SHOW CREATE TABLE "+m.sealed+"."+quoteName(name))[0][1]
		table := snapshot.Schema.Table(m.sealed, name)
		if table == nil {
			t.Fatalf("after %s the snapshot has no table %s", after, name)
		}
		got, err := rewrite.LogicalTable(table, show, 0, &logical.Session{TimeZone: time.UTC})
		if err != nil || got != want {
			t.Errorf("after %s: error %v, got\n%s\nwant\n%s\nfrom\n%s", after, err, got, want, show)
		}
		m.physical(t, table)
	}
	for _, alter := range rewrite.Alters(snapshot.Schema, snapshot.Policy, rewrite.AlterOptions{MAC: testSchemaMAC, HasRows: func(string, string) bool { return true }}) {
		if alter.Database == m.sealed {
			t.Errorf("after %s the table %s is not ready: %s %s", after, alter.Table, alter.SQL, alter.Notes)
		}
	}
	for _, f := range rewrite.Check(snapshot.Schema, snapshot.Policy, rewrite.ServerSettings{}) {
		if strings.HasPrefix(f.Object, m.sealed+".") && f.Severity > rewrite.Info && !strings.HasSuffix(f.Code, "-missing") && f.Code != "owner-nullable" {
			t.Errorf("after %s: %s", after, f)
		}
	}
}

// physical looks at the columns that the policy names.
func (m *migration) physical(t *testing.T, table *rewrite.Table) {
	t.Helper()
	if m.policy[table.Name] == nil {
		return
	}
	for column := range m.policy[table.Name].Columns {
		c := table.Column(column)
		if c == nil {
			continue
		}
		if c.Protected == nil || c.Protected.Conflict != nil || c.DataType != "varbinary" && !strings.HasSuffix(c.DataType, "blob") {
			t.Errorf("%s.%s is a %s with protection %v", table.Name, column, c.ColumnType, c.Protected)
			continue
		}
		for _, row := range m.server.Query(t, "SELECT HEX("+quoteName(column)+") FROM "+m.sealed+"."+quoteName(table.Name)) {
			if row[0] != "" && row[0] != "NULL" && !strings.HasPrefix(row[0], "FF4C4B") {
				t.Errorf("%s.%s holds %s", table.Name, column, row[0])
			}
		}
	}
}

func TestDefinitionsDeclareWhatTheApplicationWrote(t *testing.T) {
	m := newMigration(t, migrationPolicy())
	for _, statement := range []string{
		"CREATE TABLE entries (id INT UNSIGNED NOT NULL AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(200) NOT NULL DEFAULT 'it''s' COMMENT 'the ''title'' of \\\\ it', body MEDIUMTEXT, " +
			"amount DECIMAL(12,2) NOT NULL DEFAULT 0.00 CHECK (amount >= 0 AND amount < 100), day DATE DEFAULT NULL, mood ENUM('good','b''ad') DEFAULT 'good', plain INT CHECK (plain > 0), " +
			"PRIMARY KEY (id), KEY by_title (title), KEY lead (body(10), user_id) COMMENT 'c', UNIQUE KEY once (user_id, title), FULLTEXT KEY words (body), KEY plain (plain), " +
			"CONSTRAINT filled CHECK (body <> '' OR title IN ('a', 'b')), CHECK (plain < 1000)) COMMENT='entries' ",
		"CREATE TABLE IF NOT EXISTS entries (title VARCHAR(200))",
		"INSERT INTO entries (user_id, title, body, plain) VALUES (1, 'one', 'text', 5), (2, 'two', NULL, 6)",
		"INSERT INTO entries (user_id) VALUES (3)",
		"ALTER TABLE entries ADD COLUMN extra JSON, ADD other INT AFTER title",
		"ALTER TABLE entries ADD COLUMN draft VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'none' COMMENT 'd' FIRST",
		"ALTER TABLE entries ADD COLUMN IF NOT EXISTS draft VARCHAR(20)",
		"ALTER TABLE entries MODIFY title VARCHAR(255) NOT NULL DEFAULT 'it''s' AFTER body",
		"ALTER TABLE entries MODIFY draft VARCHAR(20) CHARACTER SET latin1 NOT NULL DEFAULT 'none'",
		"ALTER TABLE entries ALTER COLUMN draft DROP DEFAULT",
		"ALTER TABLE entries ALTER COLUMN draft SET DEFAULT 'none'",
		"ALTER TABLE entries CHANGE day day DATE NOT NULL DEFAULT '2020-01-01' INVISIBLE",
		"ALTER TABLE entries ADD INDEX (draft), ADD KEY mixed (plain, title DESC), DROP INDEX lead",
		"ALTER TABLE entries RENAME INDEX mixed TO mingled",
		"CREATE INDEX more ON entries (title, body(5)) COMMENT 'it''s'",
		"DROP INDEX words ON entries",
		"CREATE FULLTEXT INDEX ft2 ON entries (body)",
		"ALTER TABLE entries DROP INDEX more, DROP CONSTRAINT filled",
		"ALTER TABLE entries ADD CONSTRAINT long_title CHECK (CHAR_LENGTH(title) > 1 OR plain = 3)",
		"ALTER TABLE entries ADD CHECK (title LIKE '%' AND NOT (body IS NULL AND plain IS NULL) OR plain BETWEEN 1 AND 5 XOR 1)",
		"ALTER TABLE entries DROP COLUMN mood, DROP COLUMN other",
		"ALTER TABLE entries RENAME COLUMN extra TO draft2",
		"ALTER TABLE entries DROP COLUMN amount",
		"ALTER TABLE entries DEFAULT CHARACTER SET latin1",
		"ALTER TABLE entries ADD mood TINYINT(1) UNSIGNED ZEROFILL DEFAULT 1, ADD amount BIT(3) DEFAULT b'101'",
		"CREATE TABLE notes LIKE entries",
		"TRUNCATE TABLE notes",
		"DROP TABLE notes",
		"DELETE FROM entries",
		"CREATE OR REPLACE TABLE entries (user_id INT, title TEXT, KEY (title(10)), UNIQUE (user_id, title), body BLOB DEFAULT 'b')",
		"CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(190) NOT NULL UNIQUE, name VARCHAR(50) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, UNIQUE second (email, id), FOREIGN KEY (id) REFERENCES users (id))",
		"ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci",
		"ALTER TABLE users CONVERT TO CHARACTER SET utf8mb4 COLLATE utf8mb4_bin",
		"INSERT INTO users VALUES (1, 'a@b', 'n'), (2, 'c@d', NULL)",
		"CREATE TABLE links (user INT, FOREIGN KEY (user) REFERENCES users (id))",
		"ALTER TABLE users ADD UNIQUE KEY again (email)",
		"DROP TABLE links, users",
		"RENAME TABLE entries TO notes",
		"ALTER TABLE notes RENAME TO entries",
		"DROP TABLE IF EXISTS entries",
	} {
		m.run(t, statement)
	}
}

func TestDefinitionsOfEveryType(t *testing.T) {
	policy := migrationPolicy()
	m := newMigration(t, policy)
	var columns []string
	types := map[string]*rewrite.ColumnPolicy{}
	for i, d := range declared {
		name := fmt.Sprint("c", i)
		types[name] = &rewrite.ColumnPolicy{}
		columns = append(columns, name+" "+d.definition)
	}
	m.policy["types"] = &rewrite.TablePolicy{Columns: types}
	m.loader.SetPolicy(&rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{m.sealed: m.policy}})
	m.run(t, "CREATE TABLE types (id INT PRIMARY KEY, "+strings.Join(columns, ", ")+")")
	var changes []string
	for i, column := range columns {
		if declared[i].definition != "timestamp null" {
			changes = append(changes, "MODIFY "+column+" NOT NULL COMMENT 'c'")
		}
	}
	m.run(t, "ALTER TABLE types "+strings.Join(changes, ", "))
}

// TestDefinitionsOnFilledTables: what rows of before a change read as afterwards, without a key being there at the change.
func TestDefinitionsOnFilledTables(t *testing.T) {
	m := newMigration(t, migrationPolicy())
	for _, statement := range []string{
		"CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(50) NOT NULL)",
		"INSERT INTO entries (user_id, title) VALUES (1, 'one'), (1, 'two')",
	} {
		m.run(t, statement)
	}
	withKey := m.sealedConn
	m.sealedConn = m.session(t, 0, "")
	for _, statement := range []string{
		"ALTER TABLE entries ADD body TEXT NOT NULL DEFAULT 'empty', ADD mood ENUM('x','y') NOT NULL, ADD amount DECIMAL(5,2) NOT NULL, ADD day DATE",
		"ALTER TABLE entries ALTER body DROP DEFAULT",
		"ALTER TABLE entries MODIFY title VARCHAR(60) NOT NULL",
		"ALTER TABLE entries CHANGE title caption VARCHAR(60) NOT NULL COMMENT 'new'",
	} {
		m.run(t, statement)
	}
	m.sealedConn = withKey
	sameRows := func(query string) {
		t.Helper()
		want, got := fmt.Sprint(queryRows(t, m.plainConn, query)), fmt.Sprint(queryRows(t, m.sealedConn, query))
		if got != want {
			t.Errorf("%s: %s, want %s", query, got, want)
		}
	}
	sameRows("SELECT id, caption, body, mood, amount, day FROM entries ORDER BY id")
	sameRows("SELECT id FROM entries WHERE caption = 'two'")
	m.refuses(t, 9705, "ALTER TABLE entries ALTER body SET DEFAULT 'other'")
	m.refuses(t, 9705, "ALTER TABLE entries MODIFY caption VARCHAR(20) NOT NULL")
	m.refuses(t, 9705, "ALTER TABLE entries MODIFY caption VARCHAR(60) COLLATE utf8mb4_bin NOT NULL")
	m.refuses(t, 9705, "ALTER TABLE entries MODIFY mood INT NOT NULL")
	m.run(t, "ALTER TABLE entries MODIFY mood ENUM('x','y','z') NOT NULL")
	m.run(t, "INSERT INTO entries (user_id, caption, body, mood, amount) VALUES (2, 'three', 'b', 'z', 1)")
	sameRows("SELECT id, caption, body, mood, amount, day FROM entries ORDER BY id")
	m.run(t, "DELETE FROM entries")
	m.run(t, "ALTER TABLE entries MODIFY caption VARCHAR(20) COLLATE utf8mb4_bin NOT NULL, ALTER body SET DEFAULT 'other', MODIFY mood INT NOT NULL")
	m.run(t, "INSERT INTO entries (user_id, caption, mood, amount) VALUES (2, 'four', 7, 1)")
	sameRows("SELECT caption, body, mood FROM entries")
}

// TestDefinitionsThatDropADefault: rows of before keep it, and those that come get the implicit default of the type or the
// error that there is none, as in a column that never had one.
func TestDefinitionsThatDropADefault(t *testing.T) {
	m := newMigration(t, migrationPolicy())
	for _, statement := range []string{
		"CREATE TABLE entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL)",
		"INSERT INTO entries (user_id) VALUES (1)",
		"ALTER TABLE entries ADD mood ENUM('x','y') NOT NULL DEFAULT 'y', ADD amount DECIMAL(5,2) NOT NULL, ADD body TEXT NOT NULL DEFAULT 'text'",
		"ALTER TABLE entries ALTER mood DROP DEFAULT, ALTER body DROP DEFAULT",
		"SET sql_mode = ''",
		"INSERT INTO entries (user_id) VALUES (2)",
		"INSERT INTO entries (user_id, mood) VALUES (3, DEFAULT)",
		"SET sql_mode = DEFAULT",
		"INSERT INTO entries (user_id) VALUES (4)",
		"INSERT INTO entries (user_id, mood, amount, body) VALUES (5, DEFAULT, 1, 'b')",
		"UPDATE entries SET body = DEFAULT WHERE id = 1",
	} {
		m.run(t, statement)
	}
	query := "SELECT * FROM entries ORDER BY id"
	if want, got := fmt.Sprint(queryRows(t, m.plainConn, query)), fmt.Sprint(queryRows(t, m.sealedConn, query)); got != want {
		t.Errorf("rows %s, want %s", got, want)
	}
}

// TestDefinitionsInEveryWay: prepared, by EXECUTE IMMEDIATE and PREPARE, under other modes and character sets.
func TestDefinitionsInEveryWay(t *testing.T) {
	m := newMigration(t, migrationPolicy())
	m.runWay(t, true, "CREATE TABLE entries (user_id INT, title VARCHAR(50) NOT NULL DEFAULT 'x', KEY (title))")
	m.runWay(t, true, "ALTER TABLE entries MODIFY title VARCHAR(10)")
	m.run(t, "EXECUTE IMMEDIATE 'ALTER TABLE entries ADD body TEXT COMMENT ''it''''s'' , ADD KEY (body(5))'")
	m.run(t, "PREPARE s FROM 'ALTER TABLE entries ADD mood INT NOT NULL DEFAULT 5'")
	m.run(t, "EXECUTE s")
	m.refuses(t, 9705, "PREPARE s FROM 'ALTER TABLE entries MODIFY title VARCHAR(5)'")
	m.run(t, "DELETE FROM entries")
	m.run(t, "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
	m.run(t, `ALTER TABLE "entries" ADD "day" VARCHAR(10) DEFAULT 'a\\b' COMMENT '\\' CHECK ("day" <> '\\n')`)
	m.run(t, "SET sql_mode = DEFAULT")
	m.run(t, "SET time_zone = '+03:00'")
	m.run(t, "ALTER TABLE entries ADD draft TIMESTAMP(2) NULL DEFAULT '2020-01-01 12:00:00', ADD extra TIMESTAMP NOT NULL DEFAULT '0000-00-00 00:00:00'")
	m.run(t, "CREATE TABLE users (email VARCHAR(20) UNIQUE) DEFAULT CHARSET latin1")
	m.run(t, "ALTER TABLE users ADD name VARCHAR(20) COMMENT 'caf\u00e9', ADD CHECK (name <> 'caf\u00e9')")
	m.run(t, "SET NAMES latin1")
	m.run(t, "ALTER TABLE users MODIFY name VARCHAR(20) DEFAULT 'caf\xe9' COMMENT 'caf\xe9 cr\xe8me'")
}

func TestDefinitionsThatAreRefused(t *testing.T) {
	m := newMigration(t, migrationPolicy())
	m.run(t, "CREATE TABLE plain (id INT PRIMARY KEY, title VARCHAR(50), body TEXT)")
	m.run(t, "INSERT INTO plain VALUES (1, 'a', 'b')")
	m.run(t, "CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(50), name VARCHAR(10))")
	for statement, code := range map[string]uint16{
		"CREATE TABLE entries SELECT * FROM plain":                                                        9705,
		"CREATE TABLE entries (id INT) SELECT * FROM plain":                                               9705,
		"CREATE TABLE entries (title VARCHAR(50)) AS SELECT title FROM plain":                             9705,
		"CREATE TABLE entries LIKE plain":                                                                 9705,
		"RENAME TABLE plain TO entries":                                                                   9705,
		"RENAME TABLE plain TO x, x TO entries":                                                           9705,
		"ALTER TABLE plain RENAME entries":                                                                9705,
		"CREATE TEMPORARY TABLE entries (title VARCHAR(50))":                                              9704,
		"CREATE TABLE copied SELECT * FROM users":                                                         9705,
		"CREATE TABLE entries (title VARCHAR(50) PRIMARY KEY)":                                            9705,
		"CREATE TABLE entries (title VARCHAR(50) UNIQUE)":                                                 9705,
		"CREATE TABLE entries (title VARCHAR(50), t2 VARCHAR(50) AS (title))":                             9705,
		"CREATE TABLE entries (title POINT)":                                                              9705,
		"CREATE TABLE entries (`title` /*!50000 VARCHAR(50) */)":                                          9704,
		"CREATE TABLE entries (title /*! VARCHAR(50), body TEXT */)":                                      9704,
		"ALTER TABLE users ADD PRIMARY KEY (email)":                                                       9705,
		"ALTER TABLE users ADD x VARCHAR(10) AS (UPPER(email))":                                           9705,
		"ALTER TABLE users ADD FOREIGN KEY (email) REFERENCES plain (title)":                              9705,
		"ALTER TABLE plain ADD FOREIGN KEY (title) REFERENCES users (email)":                              9705,
		"ALTER TABLE users PARTITION BY KEY (email)":                                                      9705,
		"ALTER TABLE users RENAME other_users":                                                            9705,
		"ALTER TABLE users CHANGE email mail VARCHAR(50)":                                                 9705,
		"ALTER TABLE users RENAME COLUMN email TO mail":                                                   9705,
		"ALTER TABLE users RENAME COLUMN email TO x, ADD email VARCHAR(5)":                                9705,
		"CREATE UNIQUE INDEX u ON users (name)":                                                           9705,
		"ALTER TABLE users ADD COLUMN name2 VARCHAR(10) DEFAULT (email)":                                  9705,
		"CREATE VIEW entries AS SELECT * FROM plain":                                                      9704,
		"CREATE VIEW v AS SELECT UPPER(email) FROM users":                                                 9705,
		"CREATE TRIGGER tr BEFORE INSERT ON plain FOR EACH ROW SET NEW.title = (SELECT email FROM users)": 9704,
	} {
		m.refuses(t, code, statement)
	}
	m.same(t, "the refusals")
	m.run(t, "CREATE VIEW v AS SELECT id, email AS mail FROM users")
	m.run(t, "INSERT INTO users VALUES (1, 'a@b', 'n')")
	want, got := fmt.Sprint(queryRows(t, m.plainConn, "SELECT * FROM v")), fmt.Sprint(queryRows(t, m.sealedConn, "SELECT * FROM v"))
	if got != want {
		t.Errorf("through the view: %s, want %s", got, want)
	}
}

// queryRows gives the rows of a query as text.
func queryRows(t *testing.T, conn *sql.Conn, query string) [][]sql.NullString {
	t.Helper()
	rows, err := conn.QueryContext(context.Background(), query)
	if err != nil {
		t.Errorf("%s: %v", query, err)
		return nil
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]sql.NullString
	for rows.Next() {
		row := make([]sql.NullString, len(columns))
		targets := make([]any, len(row))
		for i := range row {
			targets[i] = &row[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Errorf("%s: %v", query, err)
	}
	return all
}
