package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// peopleTables are for statements over more rows than one statement writes, over every type, and under constraints.
const peopleTables = twinTables + `
CREATE TABLE people (id INT PRIMARY KEY, email VARCHAR(100), name VARCHAR(50), n INT, UNIQUE KEY email (email)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE kinds (k INT UNSIGNED, l VARCHAR(20) CHARACTER SET latin1, m DATETIME(3), o VARBINARY(8), title VARCHAR(50), f FLOAT, d DOUBLE, b BIT(10),
  e ENUM('a','b'), s SET('a','b','c'), y YEAR, t TIME(3), ts TIMESTAMP(6) NULL, u UUID, i INET6, j JSON, w VARCHAR(20) CHARACTER SET latin1, bl BLOB, c DECIMAL(10,4),
  day DATE, PRIMARY KEY (k, l, m, o)) DEFAULT CHARSET=utf8mb4;
CREATE TABLE loose (id INT PRIMARY KEY, title VARCHAR(50), n INT) ENGINE=MyISAM;
`

const peoplePolicy = twinPolicy + `    people:
      columns:
        email: {key: "service:app", search: equality}
        name: {}
    kinds:
      columns:
        title: {}
    checked:
      columns:
        low: {}
        high: {}
        amount: {}
        note: {}
    loose:
      columns:
        title: {}
    large:
      columns:
        name: {}
`

// peopleCount is several times what one statement writes.
const peopleCount = 600

func newPeople(t *testing.T) *twin {
	t.Helper()
	w := newTwinOf(t, mariadbtest.Shared(t), peopleTables, peoplePolicy)
	w.protected = append(w.protected, "people.email", "people.name", "kinds.title", "checked.low", "checked.high", "checked.amount", "checked.note", "loose.title")
	var people strings.Builder
	people.WriteString("INSERT INTO people (id, email, name, n) VALUES ")
	for i := 1; i <= peopleCount; i++ {
		if i > 1 {
			people.WriteByte(',')
		}
		fmt.Fprintf(&people, "(%d, 'p%d@x', 'name %d', %d)", i, i, i, i%7)
	}
	w.both(t, people.String(),
		"CREATE TABLE checked (id INT PRIMARY KEY, low INT, high INT, amount DECIMAL(12,2) CHECK (amount < 1000), note VARCHAR(20), CONSTRAINT ordered CHECK (low <= high))",
		`INSERT INTO kinds VALUES (1, 'gr\u00fc\u00dfe', '2024-02-29 23:59:59.125', x'00ff', 'one', 0.1, 0.30000000000000004, b'1000000001', 'a', 'a,c', 2024, '10:11:12.125',
		  '2024-02-29 23:59:59.123456', '123e4567-e89b-12d3-a456-426614174000', '2001:db8::1', '{"a": 1}', '\u00e9', x'00ff27', 1.2345, '2024-02-29'),
		  (1, '', '0001-01-01', '', 'two', NULL, NULL, NULL, NULL, '', 0, '-838:59:59', NULL, NULL, '::', '[]', '', '', -0.0001, NULL),
		  (4294967295, 'it''s', '9999-12-31 23:59:59.999', 'x ', NULL, 1e-30, 1e300, b'1', 'b', 'b', 1901, '00:00:00', '2038-01-17 03:14:07', NULL, NULL, 'null', 'x', NULL, 0, '1000-01-01')`,
		"INSERT INTO checked VALUES (1, 1, 2, 10, 'a'), (2, 5, 5, 999.99, NULL)",
		"INSERT INTO loose VALUES (1, 'a', 1), (2, 'b', 2)")
	return w
}

// both runs statements on both sides.
func (w *twin) both(t *testing.T, statements ...string) {
	t.Helper()
	plain, sealed := w.conns(t, "")
	for _, stmt := range statements {
		mustExec(t, plain, stmt)
		mustExec(t, sealed, stmt)
	}
}

// same holds the answers to a statement against each other.
func same(t *testing.T, plain, sealed *sql.Conn, how way, stmt string, args ...any) {
	t.Helper()
	want, got := run(plain, how, stmt, args), run(sealed, how, stmt, args)
	if want.Code != 0 && want.Code == got.Code {
		return
	}
	if !reflect.DeepEqual(want, got) {
		t.Errorf("%v: %s\n got %.2000s\nwant %.2000s", how, stmt, fmt.Sprintf("%+v", got), fmt.Sprintf("%+v", want))
	}
}

// code runs a statement and gives the error's number.
func code(conn *sql.Conn, stmt string) int {
	_, err := conn.ExecContext(context.Background(), stmt)
	return mariadbtest.Code(err)
}

const (
	allPeople  = "SELECT id, email, name, n FROM people ORDER BY id"
	allKinds   = "SELECT * FROM kinds ORDER BY k, l"
	allChecked = "SELECT * FROM checked ORDER BY id"
	allLoose   = "SELECT * FROM loose ORDER BY id"
)

// TestComputedWritesOfManyRows writes more rows than fit one statement, every type, and under constraints.
func TestComputedWritesOfManyRows(t *testing.T) {
	w := newPeople(t)
	plain, sealed := w.conns(t, "")
	same(t, plain, sealed, wayText, "SET time_zone = '+02:00'")
	for _, how := range []way{wayText, wayPrepared} {
		same(t, plain, sealed, how, "UPDATE people SET name = CONCAT(name, '!'), n = n + 1 WHERE email LIKE 'p%'")
		same(t, plain, sealed, how, "UPDATE people SET email = CONCAT('a', email) WHERE id > ?", 10)
		same(t, plain, sealed, how, "DELETE FROM people WHERE name LIKE '%9!' AND id < 100")
		same(t, plain, sealed, how, allPeople)
		same(t, plain, sealed, how, `UPDATE kinds SET title = CONCAT(title, 'x'), f = f * 1.1, d = d / 3, b = b + 1, e = 'b', s = CONCAT(s, ',b'), y = y + 1,
		  t = ADDTIME(t, '00:00:01.5'), ts = ts + INTERVAL 1 SECOND, u = '00000000-0000-0000-0000-000000000001', i = '::1', j = JSON_INSERT(j, '$.b', 2),
		  w = CONCAT(w, '\u00e9'), bl = CONCAT(bl, x'00ff'), c = c / 3, day = day + INTERVAL 1 DAY WHERE title IS NULL OR title LIKE '%'`)
		same(t, plain, sealed, how, "UPDATE kinds SET ts = '2024-10-27 02:30:00.5', title = UPPER(title) WHERE title LIKE 'o%'")
		same(t, plain, sealed, how, allKinds)
		for _, stmt := range []string{
			"UPDATE checked SET amount = amount + 990", "UPDATE checked SET amount = amount + 0.01", "UPDATE checked SET low = low + 1",
			"UPDATE checked SET low = low + 1, high = high + 1", "UPDATE checked SET high = 0, note = CONCAT(note, amount) WHERE id = 1",
			"UPDATE IGNORE checked SET low = low + 1 WHERE low > 0", "UPDATE checked SET note = CONCAT(note, 'x') WHERE amount > 1",
			allChecked,
		} {
			same(t, plain, sealed, how, stmt)
		}
		same(t, plain, sealed, how, "UPDATE loose SET title = CONCAT(title, id)")
		same(t, plain, sealed, how, "DELETE FROM loose WHERE title LIKE 'b%'")
		same(t, plain, sealed, how, allLoose)
		w.onlyCells(t, how.String())
	}
}

// TestComputedWritesNeedTheKey: a row that holds a cell under another key is neither written nor deleted, whatever its cell
// reads as.
func TestComputedWritesNeedTheKey(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".notes (id INT PRIMARY KEY, user_id INT, title VARCHAR(50), body TEXT, n INT)")
	p := latchkeytest.Start(t, latchkeytest.Config{Server: server,
		Databases: "  " + db + ":\n    notes:\n      columns:\n        title: {locked: \"null\"}\n        body: {}\n"})
	ann, bob := p.Conn(t, db, "", latchkeytest.NewAccountKey(t)), p.Conn(t, db, "", latchkeytest.NewAccountKey(t))
	mustExec(t, ann, "INSERT INTO notes VALUES (1, 1, 'ann', 'a', 1), (2, 1, 'other', 'b', 2)")
	mustExec(t, bob, "INSERT INTO notes VALUES (3, 2, 'bob', 'c', 3)")
	before := server.Query(t, "SELECT * FROM "+db+".notes ORDER BY id")
	for _, c := range []struct {
		stmt string
		want int
	}{
		{"UPDATE notes SET title = CONCAT(COALESCE(title, ''), 'x')", 9702},
		{"UPDATE notes SET n = 7 WHERE LENGTH(title) > 0 OR title IS NULL", 9702},
		{"DELETE FROM notes WHERE COALESCE(LENGTH(title), 0) < 4", 9702},
		{"UPDATE notes SET n = 7 WHERE body LIKE '%'", 9702},
		{"UPDATE notes SET body = CONCAT(title, '?') WHERE id = 3", 9702},
	} {
		if got := code(ann, c.stmt); got != c.want {
			t.Errorf("%s: error %d, want %d", c.stmt, got, c.want)
		}
	}
	if after := server.Query(t, "SELECT * FROM "+db+".notes ORDER BY id"); !reflect.DeepEqual(after, before) {
		t.Errorf("a statement that was refused changed rows: %q, want %q", after, before)
	}
	mustExec(t, ann, "UPDATE notes SET title = UPPER(title) WHERE title LIKE 'a%'")
	mustExec(t, ann, "DELETE FROM notes WHERE title LIKE 'oth%'")
	mustExec(t, bob, "UPDATE notes SET body = CONCAT(body, title) WHERE user_id = 2")
	var got string
	for _, c := range []*sql.Conn{ann, bob} {
		var own string
		if err := c.QueryRowContext(context.Background(), "SELECT GROUP_CONCAT(id, COALESCE(title, '-') ORDER BY id) FROM notes").Scan(&own); err != nil {
			t.Fatal(err)
		}
		got += own + ";"
	}
	if want := "1ANN,3-;1-,3bob;"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// await waits until a query of the server's own gives a row.
func await(t *testing.T, server *mariadbtest.Server, query string) {
	t.Helper()
	for range 200 {
		// InnoDB's tables of information_schema are made anew only if nobody has read them for a tenth of a second.
		time.Sleep(150 * time.Millisecond)
		if len(server.Query(t, query)) > 0 {
			return
		}
	}
	t.Fatalf("nothing came of %s", query)
}

func threadID(t *testing.T, conn *sql.Conn) int {
	t.Helper()
	var id int
	if err := conn.QueryRowContext(context.Background(), "SELECT CONNECTION_ID()").Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

// TestComputedWritesAreWhole: a statement that fails while its rows are written leaves all of them as they were, and the
// transaction as MariaDB leaves it.
func TestComputedWritesAreWhole(t *testing.T) {
	w := newPeople(t)
	plain, sealed := w.conns(t, "")
	both := []*sql.Conn{plain, sealed}
	const clash = "UPDATE people SET email = IF(id = 550, 'ap1@x', CONCAT('a', email))"
	for _, c := range both {
		mustExec(t, c, "START TRANSACTION")
		mustExec(t, c, "UPDATE tags SET name = 'kept' WHERE id = 1")
		if got := code(c, clash); got != 1062 {
			t.Errorf("%s: error %d, want 1062", clash, got)
		}
	}
	same(t, plain, sealed, wayText, allPeople)
	same(t, plain, sealed, wayText, "SELECT @@in_transaction")
	for _, c := range both {
		mustExec(t, c, "COMMIT")
		if got := code(c, clash); got != 1062 {
			t.Errorf("%s without a transaction: error %d, want 1062", clash, got)
		}
	}
	same(t, plain, sealed, wayText, "SELECT @@in_transaction")
	same(t, plain, sealed, wayText, "SELECT name FROM tags WHERE id = 1")
	same(t, plain, sealed, wayText, allPeople)

	const shift = "UPDATE people SET email = CONCAT('a', email)"
	waiting := func(c *sql.Conn) string {
		return fmt.Sprintf("SELECT 1 FROM information_schema.innodb_trx WHERE trx_state = 'LOCK WAIT' AND trx_mysql_thread_id = %d", threadID(t, c))
	}
	_, other := w.conns(t, "")
	t.Run("lock wait", func(t *testing.T) {
		mustExec(t, other, "START TRANSACTION")
		mustExec(t, other, "INSERT INTO people (id, email) VALUES (1001, 'ap550@x')")
		mustExec(t, sealed, "SET innodb_lock_wait_timeout = 1")
		mustExec(t, sealed, "START TRANSACTION")
		mustExec(t, sealed, "UPDATE tags SET name = 'waited' WHERE id = 1")
		if got := code(sealed, shift+" WHERE id <= 600"); got != 1205 {
			t.Errorf("error %d, want 1205", got)
		}
		mustExec(t, sealed, "COMMIT")
		mustExec(t, other, "ROLLBACK")
		mustExec(t, plain, "UPDATE tags SET name = 'waited' WHERE id = 1")
		same(t, plain, sealed, wayText, "SELECT name FROM tags WHERE id = 1")
		same(t, plain, sealed, wayText, allPeople)
		mustExec(t, sealed, "SET innodb_lock_wait_timeout = DEFAULT")
	})
	t.Run("deadlock", func(t *testing.T) {
		mustExec(t, other, "START TRANSACTION")
		mustExec(t, other, "INSERT INTO people (id, email) VALUES (1001, 'ap550@x')")
		mustExec(t, other, "INSERT INTO tags (entry_id, name) SELECT seq, 'heavy' FROM seq_1_to_5000")
		mustExec(t, sealed, "START TRANSACTION")
		mustExec(t, sealed, "UPDATE tags SET name = 'lost' WHERE id = 1")
		query, done := waiting(sealed), make(chan int, 1)
		go func() { done <- code(sealed, shift+" WHERE id <= 600") }()
		await(t, w.server, query)
		mustExec(t, other, "UPDATE people SET n = 1 WHERE id = 1")
		if got := <-done; got != 1213 {
			t.Errorf("error %d, want 1213", got)
		}
		mustExec(t, other, "ROLLBACK")
		if got := code(sealed, clash); got != 1062 {
			t.Errorf("after a deadlock %s: error %d, want 1062", clash, got)
		}
		var open int
		if err := sealed.QueryRowContext(context.Background(), "SELECT @@in_transaction").Scan(&open); err != nil || open != 0 {
			t.Errorf("after a deadlock @@in_transaction is %d (%v), want 0", open, err)
		}
		same(t, plain, sealed, wayText, "SELECT name FROM tags WHERE id = 1")
		same(t, plain, sealed, wayText, allPeople)
	})
	t.Run("backend cut", func(t *testing.T) {
		mustExec(t, other, "START TRANSACTION")
		mustExec(t, other, "INSERT INTO people (id, email) VALUES (1001, 'ap550@x')")
		_, cut := w.conns(t, "")
		id, query, done := threadID(t, cut), waiting(cut), make(chan error, 1)
		go func() {
			_, err := cut.ExecContext(context.Background(), shift+" WHERE id <= 600")
			done <- err
		}()
		await(t, w.server, query)
		w.server.Exec(t, "KILL "+strconv.Itoa(id))
		if err := <-done; err == nil {
			t.Error("a statement whose connection was killed has succeeded")
		}
		mustExec(t, other, "ROLLBACK")
		same(t, plain, sealed, wayText, allPeople)
	})
	t.Run("evaluator killed", func(t *testing.T) {
		mustExec(t, other, "INSERT INTO tags (entry_id, name) SELECT seq, 'heavy' FROM seq_1_to_3000")
		mustExec(t, sealed, "START TRANSACTION")
		mustExec(t, sealed, "UPDATE tags SET name = 'still' WHERE id = 1")
		id, done := threadID(t, sealed), make(chan int, 1)
		go func() {
			done <- code(sealed, "UPDATE people SET name = CONCAT(name, (SELECT SUM(LENGTH(CONCAT(people.name, a.name, b.name))) FROM tags a, tags b))")
		}()
		await(t, w.server, fmt.Sprintf("SELECT 1 FROM information_schema.innodb_trx WHERE trx_rows_locked > %d AND trx_mysql_thread_id = %d", peopleCount, id))
		pids := regexp.MustCompile(`evaluator started.*pid=(\d+)`).FindAllStringSubmatch(w.proxy.Log(), -1)
		if len(pids) == 0 {
			t.Fatal("the log does not say that the evaluator has started")
		}
		pid, _ := strconv.Atoi(pids[len(pids)-1][1])
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		if got := <-done; got != 9710 {
			t.Errorf("error %d, want 9710", got)
		}
		mustExec(t, sealed, "COMMIT")
		mustExec(t, plain, "UPDATE tags SET name = 'still' WHERE id = 1")
		same(t, plain, sealed, wayText, "SELECT name FROM tags WHERE id = 1")
		same(t, plain, sealed, wayText, allPeople)
		mustExec(t, plain, "UPDATE people SET name = UPPER(name) WHERE id < 9")
		for tries := 0; code(sealed, "UPDATE people SET name = UPPER(name) WHERE id < 9") != 0; tries++ {
			if tries > 200 {
				t.Fatal("the evaluator does not come back")
			}
			time.Sleep(20 * time.Millisecond)
		}
		same(t, plain, sealed, wayText, allPeople)
	})
	w.onlyCells(t, "all faults")
}

// TestComputedWritesNeedTheRight: whoever may only read a table cannot write it by a statement that changes no row.
func TestComputedWritesNeedTheRight(t *testing.T) {
	w := newPeople(t)
	user := "r" + w.sealed
	w.server.Exec(t, "CREATE USER "+user+"@'%'", "GRANT SELECT ON "+w.sealed+".* TO "+user+"@'%'")
	t.Cleanup(func() { w.server.Exec(t, "DROP USER "+user+"@'%'") })
	db, err := sql.Open("mysql", strings.Replace(w.proxy.DSN(w.sealed), "root@", user+"@", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	conn, err := db.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	mustExec(t, conn, "SET @latchkey = '"+w.key+"'")
	for _, stmt := range []string{"UPDATE entries SET title = UPPER(title)", "UPDATE entries SET title = UPPER(title) WHERE body LIKE 'nothing'", "DELETE FROM entries WHERE body LIKE 'nothing'"} {
		if got := code(conn, stmt); got != 1142 {
			t.Errorf("%s: error %d, want 1142", stmt, got)
		}
	}
}

// TestComputedWritesForOwners: each row is sealed for its own owner, and a row of another owner fails the statement.
func TestComputedWritesForOwners(t *testing.T) {
	p := newPost(t, "", "", "ann", "bob", "cyd")
	plain, two, third := p.direct(t, ""), p.with(t, "", "ann", "bob"), p.with(t, "", "cyd")
	const rows = "INSERT INTO letters (id, user_id, subject, body) VALUES (1, 'ann', 'a', 'one'), (2, 'bob', 'b', 'two'), (3, 'ann', NULL, 'three')"
	const other = "INSERT INTO letters (id, user_id, subject, body) VALUES (4, 'cyd', 'c', 'four')"
	for _, c := range []*sql.Conn{plain, two} {
		mustExec(t, c, "CREATE TABLE letters_to (id INT PRIMARY KEY, name VARCHAR(40))")
		mustExec(t, c, "INSERT INTO letters_to VALUES (1, 'bob'), (3, 'bob')")
		mustExec(t, c, rows)
	}
	mustExec(t, plain, other)
	mustExec(t, third, other)
	for _, how := range []way{wayText, wayPrepared} {
		for _, c := range []formCase{
			{"", "UPDATE letters SET subject = CONCAT(COALESCE(subject, ''), '\u00e9'), body = UPPER(body) WHERE user_id <> 'cyd'", nil},
			{"", "UPDATE letters SET body = CONCAT(body, ?) WHERE body LIKE ? AND user_id IN (?, ?)", []any{"+", "T%", "ann", "bob"}},
			{"", "UPDATE letters SET seen = LENGTH(user_id) WHERE subject LIKE 'b%' AND id < 4", nil},
			{"", "UPDATE letters SET user_id = IF(user_id = 'ann', 'bob', 'ann'), body = CONCAT(body, user_id) WHERE id < 4", nil},
			{"", "UPDATE letters l JOIN letters_to t ON t.id = l.id SET l.user_id = t.name, l.seen = l.seen + 1 WHERE l.id < 4", nil},
			{"", "SELECT id, user_id, subject, body, seen FROM letters WHERE id < 4 ORDER BY id", nil},
		} {
			same(t, plain, two, how, c.stmt, c.args...)
		}
		p.underOwners(t, how.String())
	}
	for _, stmt := range []string{"UPDATE letters SET subject = UPPER(subject)", "UPDATE letters SET user_id = CONCAT('cy', 'd') WHERE id = 1", "UPDATE letters SET user_id = IF(id = 4, 'ann', user_id)"} {
		if got := code(two, stmt); got != 9702 {
			t.Errorf("%s: error %d, want 9702", stmt, got)
		}
	}
	same(t, plain, two, wayText, "DELETE FROM letters WHERE body LIKE 'T%' AND user_id <> 'cyd'")
	same(t, plain, third, wayText, "SELECT id, subject, body FROM letters WHERE id = 4")
	same(t, plain, two, wayText, "SELECT id, user_id, subject, body FROM letters WHERE id < 4 ORDER BY id")
}
