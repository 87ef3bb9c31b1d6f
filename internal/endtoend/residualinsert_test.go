package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// computedInserts are statements that add rows whose values only the evaluator can tell.
var computedInserts = []formCase{
	{"values", "INSERT INTO entries (user_id, title, body) VALUES (7, UPPER('x'), CONCAT('a', 'b'))", nil},
	{"values", "INSERT INTO entries (title, amount, mood) VALUES (CONCAT('a', 1 + 2), 1 + 2.5, 3 * 4), ('plain', 7, NULL), (NULL, 0.1 + 0.2, 2)", nil},
	{"values", "INSERT INTO entries (title, amount) VALUES (CONCAT(?, ?), ? * 2), (?, -?)", []any{"a", "b", 3, "c", 4}},
	{"values", "INSERT INTO entries SET title = LOWER('X'), amount = 10 / 3, user_id = 1 + 1", nil},
	{"values", "INSERT INTO entries VALUES (80, 7, REPEAT('x', 3), IF(1, 'yes', 'no'), 1, ROUND(2.555, 2), NULL)", nil},
	{"values", "INSERT INTO entries (title) VALUES (CASE WHEN 1 > 2 THEN 'a' ELSE 'b' END)", nil},
	{"values", "INSERT INTO entries (title, amount) VALUES (DATE_FORMAT('2024-02-29', '%W'), TO_DAYS('2024-02-29'))", nil},
	{"values", "INSERT INTO entries (title, mood) VALUES (LEFT(UUID(), 0), LENGTH(NOW()))", nil},
	{"values", "INSERT INTO entries (title, body) VALUES ('x', CONCAT(title, '!'))", nil},
	{"values", "INSERT INTO entries (user_id, title, mood) VALUES (3, CONCAT('u', user_id), user_id + 1)", nil},
	{"values", "INSERT INTO entries (title, body) VALUES (DEFAULT(title), COALESCE(DEFAULT(body), 'none'))", nil},
	{"values", "INSERT INTO entries (title, body) VALUES (DEFAULT, UPPER('x')), (UPPER('y'), DEFAULT)", nil},
	{"values", "INSERT INTO entries (id, title) VALUES (NULL, UPPER('x')), (0, UPPER('y')), (90, UPPER('z')), (NULL, UPPER('w'))", nil},
	{"values", "INSERT INTO entries (title, user_id) VALUES (CONCAT('after ', LAST_INSERT_ID()), LAST_INSERT_ID())", nil},
	{"values", "INSERT INTO entries (title) VALUES (CONCAT('caf', CHAR(0xC3A9 USING utf8mb4)))", nil},
	{"values", "INSERT INTO entries (title, body) VALUES (CONCAT(USER(), VERSION()), @@version_comment)", nil},
	{"values", "INSERT INTO users (name, email, alias) VALUES ('dan', CONCAT('dan', '@', 'example.org'), LOWER('DAN')), ('eve', CONCAT('eve', '@', 'example.org'), NULL)", nil},
	{"subquery", "INSERT INTO entries (title, body) VALUES ((SELECT MAX(title) FROM entries), (SELECT name FROM tags WHERE id = 1))", nil},
	{"subquery", "INSERT INTO entries (title, mood) VALUES (UPPER('x'), (SELECT COUNT(*) FROM archive WHERE id > 1))", nil},
	{"subquery", "INSERT INTO archive (id, title) VALUES (50, (SELECT CONCAT(title, '!') FROM entries WHERE id = ?))", []any{1}},
	{"replace", "REPLACE INTO entries (id, title) VALUES (1, UPPER('new')), (92, LOWER('NEW'))", nil},
	{"replace", "REPLACE INTO entries SET id = 2, title = CONCAT('re', 'placed'), body = NULL", nil},
	{"replace", "REPLACE INTO users (name, email) VALUES ('ann2', LOWER('ANN@example.org')), ('bob2', UPPER('bob@example.org'))", nil},
	{"replace", "REPLACE INTO users (id, name, email) VALUES (1, 'both', LOWER('BOB@example.org'))", nil},
	{"returning", "INSERT INTO entries (title, amount) VALUES (UPPER('x'), 1 + 1), ('y', 0.5) RETURNING id, title, amount * 2, CONCAT(title, '!') AS t", nil},
	{"returning", "INSERT INTO entries (title, body) VALUES (CONCAT(?, ?), NULL) RETURNING *", []any{"p", "q"}},
	{"returning", "INSERT INTO entries SET title = LOWER('X') RETURNING entries.id, entries.title", nil},
	{"returning", "INSERT INTO entries (title) VALUES ('plain') RETURNING id, UPPER(title)", nil},
	{"returning", "INSERT INTO archive (id, title) SELECT id + 100, CONCAT(title, '!') FROM entries ORDER BY id RETURNING id, title", nil},
	{"returning", "INSERT INTO archive (id, title) SELECT id, title FROM entries WHERE body LIKE 'nothing' RETURNING id, title", nil},
	{"returning", "INSERT IGNORE INTO archive (id, title) SELECT id, CONCAT(title, '!') FROM entries ORDER BY id RETURNING id, LENGTH(title)", nil},
	{"returning", "REPLACE INTO archive (id, title) VALUES (1, UPPER('x')), (60, UPPER('y')) RETURNING id, title, body", nil},
	{"returning", "INSERT INTO users (name, email) VALUES ('fay', LOWER('FAY@x')) RETURNING id, email, alias", nil},
	{"select", "INSERT INTO diary (user_id, title) SELECT 9, title FROM diary", nil},
	{"select", "INSERT INTO diary (user_id, title, body) SELECT user_id + 1, CONCAT(title, '!'), body FROM diary ORDER BY id", nil},
	{"select", "INSERT INTO diary (user_id, title) SELECT ?, CONCAT(title, ?) FROM diary WHERE title LIKE ? ORDER BY id", []any{5, "?", "%a%"}},
	{"select", "INSERT INTO entries (title, body, amount) SELECT body, title, amount * 2 FROM entries ORDER BY id", nil},
	{"select", "INSERT INTO entries (title) SELECT name FROM tags ORDER BY id", nil},
	{"select", "INSERT INTO entries (user_id, title) SELECT entry_id, CONCAT(name, 's') FROM tags WHERE name <> 'none' ORDER BY id", nil},
	{"select", "INSERT INTO archive SELECT id + 100, UPPER(title), body FROM entries WHERE body IS NOT NULL", nil},
	{"select", "INSERT INTO archive (id, body) SELECT id + 100, email FROM users", nil},
	{"select", "INSERT INTO archive (id, title) SELECT MAX(id) + 100, title FROM entries GROUP BY title", nil},
	{"select", "INSERT INTO archive (id, title) SELECT user_id, GROUP_CONCAT(title ORDER BY id) FROM entries WHERE user_id <> 9 GROUP BY user_id", nil},
	{"select", "INSERT INTO archive (id, title) SELECT id + 100, title FROM entries WHERE id < 3 UNION SELECT id + 200, body FROM archive", nil},
	{"select", "INSERT INTO archive (id, title) SELECT DISTINCT 300 + LENGTH(name), CONCAT(name, '!') FROM tags", nil},
	{"select", "INSERT INTO archive (id, title) WITH c AS (SELECT id AS n, title AS t FROM entries) SELECT n + 100, LOWER(t) FROM c", nil},
	{"select", "INSERT INTO archive (id, title) SELECT d.n + 100, d.t FROM (SELECT id AS n, CONCAT(title, body) AS t FROM entries) d", nil},
	{"select", "INSERT INTO archive (id, title) SELECT e.id + 100, CONCAT(t.name, e.title) FROM entries e JOIN tags t ON t.entry_id = e.id WHERE t.id <> 2", nil},
	{"select", "INSERT INTO archive (id, title) SELECT 100 + ROW_NUMBER() OVER (ORDER BY id), title FROM entries ORDER BY title LIMIT 3", nil},
	{"select", "INSERT INTO tags (entry_id) SELECT id FROM entries WHERE title LIKE 'a%' ORDER BY id", nil},
	{"select", "INSERT INTO entries (title) SELECT UPPER('x')", nil},
	{"select", "INSERT INTO entries (title) SELECT CONCAT(title, '+') FROM entries WHERE body LIKE 'nothing'", nil},
	{"select", "INSERT IGNORE INTO archive (id, title) SELECT id, CONCAT(title, '!') FROM entries", nil},
	{"select", "REPLACE INTO archive (id, title) SELECT id, CONCAT(title, '!') FROM entries", nil},
	{"select", "REPLACE INTO archive SELECT * FROM archive", nil},
	{"ignore", "INSERT IGNORE INTO entries (title, amount) VALUES (REPEAT('x', 200), 1), (UPPER('b'), 'abc')", nil},
	{"ignore", "INSERT IGNORE INTO entries (id, title) VALUES (1, UPPER('taken')), (91, UPPER('free')), (91, UPPER('again'))", nil},
	{"ignore", "INSERT IGNORE INTO users (name, email) VALUES ('x', UPPER('ann@example.org')), ('y', LOWER('NEW'))", nil},
	{"ignore", "INSERT IGNORE INTO archive (title) VALUES (UPPER('x'))", nil},
	{"ignore", "INSERT IGNORE INTO archive (id, title) SELECT id + 100, REPEAT(title, 50) FROM entries", nil},
	{"errors", "INSERT INTO entries (title) VALUES (REPEAT('x', 200))", nil},
	{"errors", "INSERT INTO entries (title, amount) VALUES ('ok', 1 + 1), (UPPER('x'), 'abc')", nil},
	{"errors", "INSERT INTO entries (title, amount) VALUES (UPPER('x'), 1e10 * 1e10)", nil},
	{"errors", "INSERT INTO entries (title) VALUES ((SELECT name FROM tags))", nil},
	{"errors", "INSERT INTO entries (title, body) VALUES (UPPER('x'))", nil},
	{"errors", "INSERT INTO entries (id, title) VALUES (1, UPPER('taken'))", nil},
	{"errors", "INSERT INTO users (name, email) VALUES ('x', UPPER('ann@example.org'))", nil},
	{"errors", "INSERT INTO archive (title) VALUES (UPPER('x'))", nil},
	{"errors", "INSERT INTO archive (id, title) SELECT id, UPPER(title) FROM entries", nil},
	{"errors", "INSERT INTO archive (id, title) SELECT id + 100, UPPER(name) FROM tags WHERE name >= 0.1", nil},
	{"errors", "INSERT INTO archive (id, title) SELECT id + 100, REPEAT(title, 50) FROM entries", nil},
	{"errors", "INSERT INTO archive (id, title) SELECT id + 100 FROM entries WHERE LENGTH(title) > 1", nil},
	{"errors", "INSERT INTO users (name, email) SELECT name, LOWER(email) FROM users", nil},
}

// computedDuplicates are statements that add rows, or change those that are there.
var computedDuplicates = []formCase{
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title))", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUE(title))", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (?, ?) ON DUPLICATE KEY UPDATE title = CONCAT(title, ?, VALUES(title))", []any{2, "x", "-"}},
	{"one", "INSERT INTO entries (id, amount, mood) VALUES (1, 5, 2) ON DUPLICATE KEY UPDATE amount = amount + VALUES(amount), mood = mood + VALUES(mood)", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, UPPER('new')) ON DUPLICATE KEY UPDATE title = VALUES(title)", nil},
	{"one", "INSERT INTO entries (id, title, mood) VALUES (1, UPPER('new'), 3) ON DUPLICATE KEY UPDATE mood = IF(mood > 2, mood * 2, VALUES(mood)), title = IF(title LIKE 'a%', title, VALUES(title))", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = LOWER(title)", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, '')", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (4, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, 'x'), mood = 7", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (4, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (70, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO entries (title, body) VALUES ('x', 'y') ON DUPLICATE KEY UPDATE title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO entries SET id = 1, title = 'x' ON DUPLICATE KEY UPDATE title = CONCAT(title, body), body = VALUES(title)", nil},
	{"one", "INSERT INTO entries (id, title, changed) VALUES (1, 'x', NULL) ON DUPLICATE KEY UPDATE title = CONCAT(title, 'x'), changed = '2024-01-01'", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE id = id, title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE id = VALUES(id), title = CONCAT(title, 'x')", nil},
	{"one", "INSERT INTO archive (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = (SELECT name FROM tags WHERE id = 1)", nil},
	{"unique", "INSERT INTO users (name, email) VALUES ('anna', 'ANN@example.org') ON DUPLICATE KEY UPDATE name = CONCAT(name, '+', VALUES(name)), email = LOWER(VALUES(email))", nil},
	{"unique", "INSERT INTO users (name, email) VALUES ('anna', LOWER('ANN@example.org')) ON DUPLICATE KEY UPDATE name = VALUES(name)", nil},
	{"unique", "INSERT INTO users (name, email, alias) VALUES ('anna', 'ann@example.org', 'a') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), alias = CONCAT(COALESCE(alias, ''), VALUES(alias))", nil},
	{"counts", "INSERT INTO users (name, email, alias) VALUES ('new', 'new@example.org', 'a') ON DUPLICATE KEY UPDATE id = LAST_INSERT_ID(id), alias = CONCAT(COALESCE(alias, ''), VALUES(alias))", nil},
	{"unique", "INSERT INTO users (id, name, email) VALUES (2, 'both', 'ann@example.org') ON DUPLICATE KEY UPDATE name = CONCAT(name, 'x'), alias = UPPER(alias)", nil},
	{"counts", "INSERT INTO users (name, email, alias) VALUES ('a', 'ann@example.org', 'x'), ('n', 'new@example.org', 'y'), ('m', 'NEW@example.org', 'z') ON DUPLICATE KEY UPDATE name = CONCAT(name, VALUES(name)), alias = CONCAT(COALESCE(alias, ''), VALUES(alias))", nil},
	{"several", "INSERT INTO entries (id, title, amount) VALUES (1, 'a', 1), (NULL, 'b', 2), (90, 'c', 3), (NULL, 'd', 4), (90, 'e', 5), (2, 'f', 6) ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title)), amount = amount + VALUES(amount)", nil},
	{"several", "INSERT INTO entries (id, title) VALUES (1, ?), (2, ?) ON DUPLICATE KEY UPDATE title = CONCAT(VALUES(title), title)", []any{"p", "q"}},
	{"select", "INSERT INTO archive (id, title) SELECT id, UPPER(title) FROM entries ON DUPLICATE KEY UPDATE title = CONCAT(archive.title, VALUES(title))", nil},
	{"select", "INSERT INTO archive (id, title, body) SELECT id, title, body FROM entries ORDER BY id ON DUPLICATE KEY UPDATE body = CONCAT(archive.body, entries.body)", nil},
	{"select", "INSERT INTO archive (id, title) SELECT entry_id, MAX(name) FROM tags GROUP BY entry_id ON DUPLICATE KEY UPDATE title = CONCAT(title, '!')", nil},
	{"owner", "INSERT INTO diary (id, user_id, title) VALUES (1, 7, 'up') ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title))", nil},
	{"owner", "INSERT INTO diary (id, user_id, title) VALUES (1, 8, 'up') ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), title = CONCAT(title, VALUES(title))", nil},
	{"owner", "INSERT INTO diary (id, user_id, title) VALUES (2, 7, 'up') ON DUPLICATE KEY UPDATE user_id = user_id + 1, body = UPPER(title)", nil},
	{"ignore", "INSERT IGNORE INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = REPEAT(title, 100)", nil},
	{"errors", "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = REPEAT(title, 100)", nil},
	{"errors", "INSERT INTO users (id, name, email) VALUES (1, 'x', 'y') ON DUPLICATE KEY UPDATE email = REPLACE(email, 'ann', 'bob')", nil},
	{"errors", "INSERT INTO entries (id, title) VALUES (1, REPEAT('x', 200)) ON DUPLICATE KEY UPDATE title = LOWER(title)", nil},
}

// TestComputedDuplicates runs them like TestComputedInserts.
func TestComputedDuplicates(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, how := range []way{wayText, wayPrepared} {
		for _, params := range []string{"?interpolateParams=true", "?interpolateParams=true&clientFoundRows=true"}[:2-int(how)] {
			w.count(t)
			plain, sealed := w.conns(t, params)
			for _, c := range computedDuplicates {
				t.Run(fmt.Sprintf("%s %s %s %s", c.section, how, params, c.stmt), func(t *testing.T) {
					if c.section == "counts" {
						w.count(t) // a row that was there has taken a number on plaintext
					}
					if outcome := w.compare(t, plain, sealed, how, c); outcome != "same" {
						t.Errorf("%s: got %s, want the same as on plaintext", c.stmt, outcome)
					}
					same(t, plain, sealed, wayText, "SELECT LAST_INSERT_ID() FROM tags WHERE id = 1")
				})
			}
		}
	}
}

// TestComputedInserts runs them on plaintext and through Latchkey, inside a transaction that is rolled back, as text and prepared.
func TestComputedInserts(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, how := range []way{wayText, wayPrepared} {
		for _, params := range []string{"?interpolateParams=true", "?interpolateParams=true&clientFoundRows=true"}[:2-int(how)] {
			w.count(t)
			plain, sealed := w.conns(t, params)
			for _, c := range computedInserts {
				t.Run(fmt.Sprintf("%s %s %s %s", c.section, how, params, c.stmt), func(t *testing.T) {
					if outcome := w.compare(t, plain, sealed, how, c); outcome != "same" {
						t.Errorf("%s: got %s, want the same as on plaintext", c.stmt, outcome)
					}
				})
			}
		}
	}
}

// count makes both sides count from the same number on: a row that fails on plaintext has taken one. The statements that do so are
// the last ones of a list.
func (w *twin) count(t *testing.T) {
	t.Helper()
	for _, db := range []string{w.plain, w.sealed} {
		for _, table := range []string{"entries", "users", "tags", "diary"} {
			w.server.Exec(t, "ALTER TABLE "+db+"."+table+" AUTO_INCREMENT = 1")
		}
	}
}

// inTurn runs statements on both sides, one after the other.
func (w *twin) inTurn(t *testing.T, plain, sealed *sql.Conn, how way, statements ...string) {
	t.Helper()
	for _, stmt := range statements {
		same(t, plain, sealed, how, stmt)
		w.onlyCells(t, stmt)
	}
}

// TestComputedInsertsCommit runs statements one after the other without a transaction, and in sql_modes in which values are bent.
func TestComputedInsertsCommit(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	for _, how := range []way{wayText, wayPrepared} {
		w.inTurn(t, plain, sealed, how,
			"INSERT INTO entries (title, amount) VALUES (UPPER('x'), 1 + 1), (LOWER('Y'), 2 * 2)",
			"SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()",
			"INSERT INTO entries (title, user_id) VALUES (CONCAT('after ', LAST_INSERT_ID()), LAST_INSERT_ID())",
			"INSERT INTO entries (title, body) SELECT CONCAT(title, '!'), UPPER(body) FROM entries WHERE title LIKE 'a%' ORDER BY id",
			"SELECT ROW_COUNT()", "SELECT LAST_INSERT_ID()", "SELECT @@in_transaction",
			"REPLACE INTO entries (id, title) SELECT id, LOWER(title) FROM entries WHERE id IN (1, 2)",
			"SELECT ROW_COUNT()",
			"SET sql_mode = ''",
			"INSERT INTO entries (title, amount) VALUES (REPEAT('long', 40), 'abc'), (UPPER('b'), 1e20), (NULL, NULL)",
			"SELECT @@warning_count",
			"INSERT INTO archive (title) VALUES (UPPER('without a key'))",
			"INSERT INTO archive (id, title) VALUES (300, UPPER('a')), (NULL, UPPER('b'))",
			"SET sql_mode = 'NO_AUTO_VALUE_ON_ZERO'",
			"INSERT INTO entries (id, title) VALUES (0, UPPER('zero'))",
			"DELETE FROM entries WHERE id = 0",
			"SET sql_mode = DEFAULT",
			"SET autocommit = 0",
			"INSERT INTO entries (title) SELECT CONCAT(title, '?') FROM entries WHERE body LIKE '%x%'",
			"INSERT INTO archive (id, title) SELECT id, UPPER(title) FROM entries",
			"ROLLBACK",
			"INSERT IGNORE INTO archive (id, title) SELECT id, UPPER(title) FROM entries",
			"COMMIT",
			"SET autocommit = 1",
			"SET @v = 'var'",
			"INSERT INTO entries (title) VALUES (@v), (CONCAT(@v, '2'))",
			"SELECT id, user_id, title, body, mood, amount FROM entries ORDER BY id",
			"SELECT * FROM archive ORDER BY id",
			"DELETE FROM archive WHERE id NOT IN (1, 9)",
		)
	}
}

// TestComputedInsertsOfManyRows adds more rows than fit one statement, every type, and under constraints.
func TestComputedInsertsOfManyRows(t *testing.T) {
	w := newPeople(t)
	plain, sealed := w.conns(t, "")
	same(t, plain, sealed, wayText, "SET time_zone = '+02:00'")
	for i, how := range []way{wayText, wayPrepared} {
		w.inTurn(t, plain, sealed, how,
			fmt.Sprintf("INSERT INTO people SELECT id + %d, CONCAT('c%d', email), CONCAT(name, '!'), n * 2 FROM people WHERE id <= 600", 1000*(i+1), i),
			fmt.Sprintf("REPLACE INTO people (id, email, name) SELECT id, CONCAT('r%d', email), name FROM people WHERE name LIKE '%%5%%'", i),
			fmt.Sprintf("REPLACE INTO people (id, email, name) SELECT id + 5000, CONCAT(email, ''), UPPER(name) FROM people WHERE id BETWEEN %d AND %d", 100+i, 120+i),
			"INSERT INTO people SELECT entry_id + 600, CONCAT('p', id, '@x'), 'tag', 1 FROM tags ON DUPLICATE KEY UPDATE people.n = people.n + VALUES(n), people.name = CONCAT(people.name, VALUES(name))",
			`INSERT INTO people VALUES (1, 'P2@x', 'two', 5), (7000, 'p9@X', 'nine', 6), (7001, 'fresh@x', 'f', 1), (7002, 'FRESH@x', 'g', 2), (7003, NULL, NULL, NULL), (3, 'p4@x', NULL, NULL)
			  ON DUPLICATE KEY UPDATE name = CONCAT(name, '/', VALUES(name)), n = COALESCE(n, 0) + VALUES(n)`,
			"DELETE FROM people WHERE id IN (7001, 7003)",
			allPeople,
			fmt.Sprintf(`INSERT INTO kinds SELECT k, CONCAT(l, '%d'), m, o, CONCAT(title, 'x'), f * 1.1, d / 3, b + 1, 'b', s, y + 1, ADDTIME(t, '00:00:01.5'),
			  ts + INTERVAL 1 SECOND, '00000000-0000-0000-0000-000000000001', '::1', JSON_INSERT(j, '$.b', 2), CONCAT(w, '\u00e9'), CONCAT(bl, x'00ff'), c / 3, day
			  FROM kinds WHERE title LIKE 'o%%' AND l NOT LIKE '%%0'`, i),
			fmt.Sprintf("INSERT INTO kinds (k, l, m, o, ts, title) VALUES (%d, 'z', NOW() - INTERVAL 1 DAY - INTERVAL SECOND(NOW()) SECOND, '', '2024-10-27 02:30:00.5', UPPER('t'))", 50+i),
			"SELECT k, l, o, title, f, d, b, e, s, y, t, ts, u, i, j, w, bl, c, day FROM kinds ORDER BY k, l, title",
			`INSERT INTO kinds (k, l, m, o, title) VALUES (1, '', '0001-01-01', '', 'x'), (1, 'gr\u00fc\u00dfe', '2024-02-29 23:59:59.125', x'00ff', 'y') ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title)),
			  f = f * 3, d = d / 3, b = b + 1, e = 'b', y = y + 1, t = ADDTIME(t, '00:00:01.5'), ts = ts + INTERVAL 1 SECOND, w = CONCAT(w, '\u00e9'), bl = CONCAT(bl, x'00ff'), c = c / 3`,
			"SELECT * FROM kinds WHERE k = 1 ORDER BY l, title",
			"INSERT INTO checked VALUES (10, 1 + 1, 1, 1, LOWER('A'))",
			"INSERT INTO checked VALUES (1, 1, 2, 3, NULL) ON DUPLICATE KEY UPDATE low = low + 1, high = low",
			"INSERT INTO checked VALUES (1, 1, 2, 3, NULL) ON DUPLICATE KEY UPDATE low = high + 1",
			"INSERT INTO checked VALUES (1, 3, 2, 3, NULL) ON DUPLICATE KEY UPDATE low = low + 0",
			fmt.Sprintf("INSERT INTO checked VALUES (%d, 1, 1 + 1, 100 * 10, NULL)", 20+i),
			fmt.Sprintf("INSERT INTO checked VALUES (%d, 1, 1 + 1, 100 * 9.9, UPPER('ok'))", 20+i),
			fmt.Sprintf("INSERT IGNORE INTO checked VALUES (%d, 2, 1 + 0, 1, NULL), (%d, 1, 1 + 1, 3, NULL)", 30+i, 40+i),
			fmt.Sprintf("INSERT INTO checked (id, low, high, note) SELECT id + %d, low, high + 1, CONCAT(note, '!') FROM checked WHERE note IS NOT NULL", 100*(i+1)),
			allChecked,
			fmt.Sprintf("INSERT INTO loose SELECT id + %d, CONCAT(title, id), n FROM loose", 10*(i+1)),
			"INSERT INTO loose VALUES (90, UPPER('x'), 1), (1, UPPER('clash'), 1), (91, UPPER('y'), 1)",
			"DELETE FROM loose WHERE id = 90",
			"REPLACE INTO loose VALUES (1, UPPER('a'), 1)",
			"INSERT INTO loose VALUES (1, 'b', 1), (2, 'c', 1) ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title)), n = n + 1",
			allLoose)
	}
}

// TestComputedInsertsNeed: what a statement that computes new rows needs: keys, rights, and a place where nothing is in clear.
func TestComputedInsertsNeed(t *testing.T) {
	w := newPeople(t)
	_, sealed := w.conns(t, "")
	user := "r" + w.sealed
	w.server.Exec(t, "CREATE USER "+user+"@'%'", "GRANT SELECT ON "+w.sealed+".* TO "+user+"@'%'")
	t.Cleanup(func() { w.server.Exec(t, "DROP USER "+user+"@'%'") })
	reader, err := sql.Open("mysql", strings.Replace(w.proxy.DSN(w.sealed), "root@", user+"@", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reader.Close() })
	reads, err := reader.Conn(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { reads.Close() })
	mustExec(t, reads, "SET @latchkey = '"+w.key+"'")
	keyless := w.proxy.Conn(t, w.sealed, "", "")
	other := w.proxy.Conn(t, w.sealed, "", latchkeytest.NewAccountKey(t))
	for _, c := range []struct {
		conn *sql.Conn
		stmt string
		want int
	}{
		{reads, "INSERT INTO entries (title) VALUES (UPPER('x'))", 1142},
		{reads, "INSERT INTO entries (title) SELECT UPPER(title) FROM entries WHERE body LIKE 'nothing'", 1142},
		{keyless, "INSERT INTO entries (title) VALUES (UPPER('x'))", 9701},
		{keyless, "REPLACE INTO entries (id, title) VALUES (1, NULLIF(1, 1))", 9701},
		{other, "REPLACE INTO entries (id, title) VALUES (1, UPPER('x'))", 9702},
		{other, "INSERT INTO archive (id, title) SELECT id + 100, UPPER(title) FROM entries", 9702},
		{reads, "INSERT INTO entries (id, title) VALUES (900, 'x') ON DUPLICATE KEY UPDATE title = LOWER(title)", 1142},
		{keyless, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = LOWER(title)", 9701},
		{other, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = LOWER(title)", 9702},
		{other, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE mood = CHAR_LENGTH('abc'), body = UPPER('x')", 9702},
		{sealed, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE mood = LENGTH(title)", 9705},
		{sealed, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE mood = LENGTH(VALUES(title))", 9705},
		{sealed, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE mood = LAST_INSERT_ID(LENGTH(title))", 9705},
		{sealed, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE id = id + 1, title = LOWER(title)", 9705},
		{sealed, "INSERT INTO entries (id, title) VALUES (1, 'x') ON DUPLICATE KEY UPDATE title = CONCAT(title, id)", 9705},
		{sealed, "INSERT INTO loose VALUES (1, 'b', 1), (3000, 'c', 1) ON DUPLICATE KEY UPDATE title = CONCAT(title, VALUES(title))", 9705},
		{sealed, "INSERT INTO tags (name) SELECT title FROM entries", 9705},
		{sealed, "INSERT INTO tags (name) SELECT CONCAT(title, '!') FROM entries", 9705},
		{sealed, "INSERT INTO tags (name) SELECT d.t FROM (SELECT UPPER(title) AS t FROM entries) d", 9705},
		{sealed, "INSERT INTO tags (name) WITH c AS (SELECT UPPER(title) AS t FROM entries) SELECT t FROM c", 9705},
		{sealed, "INSERT INTO tags (name) WITH c (z) AS (SELECT UPPER(title) FROM entries) SELECT z FROM c", 9704},
		{sealed, "INSERT INTO tags (name) SELECT name FROM tags UNION SELECT title FROM entries", 9705},
		{sealed, "INSERT INTO tags SELECT * FROM (SELECT id, user_id, title FROM entries WHERE LENGTH(title) > 1) d", 9704},
		{sealed, "INSERT INTO tags SELECT id, mood, title FROM entries e NATURAL JOIN archive WHERE LENGTH(body) > 1", 9705},
		{sealed, "INSERT INTO entries (title, mood) VALUES (UPPER('abc'), LENGTH(title))", 9705},
		{sealed, "INSERT INTO tags (name) VALUES ((SELECT UPPER(title) FROM entries LIMIT 1))", 9705},
		{sealed, "INSERT INTO entries (title, mood) VALUES (UPPER('x'), (SELECT COUNT(*) FROM archive WHERE title LIKE 'a%'))", 9705},
		{sealed, "INSERT INTO entries (title, mood) VALUES (UPPER('x'), id)", 9705},
		{sealed, "INSERT INTO entries (title) VALUES (GET_LOCK('x', 1))", 9704},
		{sealed, "INSERT INTO entries (title) VALUES (LOAD_FILE('/etc/passwd'))", 9704},
		{sealed, "INSERT INTO entries (title) VALUES (SLEEP(1))", 9704},
		{sealed, "INSERT INTO entries (title) VALUES (@v := 'x')", 9704},
	} {
		before := w.server.Query(t, "SELECT * FROM "+w.sealed+".entries ORDER BY id")
		if got := code(c.conn, c.stmt); got != c.want {
			t.Errorf("%s: error %d, want %d", c.stmt, got, c.want)
		}
		if after := w.server.Query(t, "SELECT * FROM "+w.sealed+".entries ORDER BY id"); !reflect.DeepEqual(after, before) {
			t.Errorf("%s: a statement that was refused changed rows", c.stmt)
		}
		w.onlyCells(t, c.stmt)
	}
}

// TestComputedInsertsAreWhole: of a statement that fails while its rows are written, also with more than one statement of the
// proxy's own, nothing stays.
func TestComputedInsertsAreWhole(t *testing.T) {
	w := newPeople(t)
	plain, sealed := w.conns(t, "")
	// Of 1 MB each, so that nine of them need two statements; the last meets a row that is there.
	w.both(t, "CREATE TABLE large (id INT PRIMARY KEY, name LONGTEXT)")
	w.protected = append(w.protected, "large.name")
	const clash = "INSERT INTO large SELECT IF(id = 12, 1, id + 1), REPEAT(email, 200000) FROM people WHERE id BETWEEN 1 AND 12 ORDER BY id"
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "INSERT INTO large VALUES (1, 'there')")
		mustExec(t, c, "START TRANSACTION")
		mustExec(t, c, "UPDATE tags SET name = 'kept' WHERE id = 1")
		if got := code(c, clash); got != 1062 {
			t.Errorf("error %d, want 1062", got)
		}
	}
	same(t, plain, sealed, wayText, "SELECT id, LENGTH(name) FROM large ORDER BY id")
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "COMMIT")
		if got := code(c, clash); got != 1062 {
			t.Errorf("without a transaction: error %d, want 1062", got)
		}
	}
	same(t, plain, sealed, wayText, "SELECT id, LENGTH(name) FROM large ORDER BY id")
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "INSERT INTO large SELECT id + 1, REPEAT(email, 200000) FROM people WHERE id BETWEEN 1 AND 12 ORDER BY id")
	}
	const both = "INSERT INTO people (id, email) VALUES (5, 'new@x'), (9000, 'p8@x'), (9001, 'fresh@x') ON DUPLICATE KEY UPDATE email = IF(id = 8, 'p7@x', CONCAT(email, '!'))"
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "START TRANSACTION")
		mustExec(t, c, "UPDATE tags SET name = 'again' WHERE id = 1")
	}
	same(t, plain, sealed, wayText, both)
	same(t, plain, sealed, wayText, allPeople)
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "COMMIT")
	}
	same(t, plain, sealed, wayText, both)
	same(t, plain, sealed, wayText, allPeople)
	for _, q := range []string{"SELECT name FROM tags WHERE id = 1", "SELECT @@in_transaction", "SELECT id, MD5(name) FROM large ORDER BY id"} {
		same(t, plain, sealed, wayText, q)
	}
}

// TestComputedInsertsForOwners: each row is sealed for its own owner, and one for an owner who is not here fails the statement.
func TestComputedInsertsForOwners(t *testing.T) {
	p := newPost(t, "", "", "ann", "bob", "cyd")
	plain, two := p.direct(t, ""), p.with(t, "", "ann", "bob")
	for i, how := range []way{wayText, wayPrepared} {
		for _, c := range []formCase{
			{"", "INSERT INTO letters (user_id, subject, body) VALUES (LOWER('ANN'), UPPER('a'), CONCAT(user_id, '!')), (CONCAT('b', ?), LOWER('B'), NULL)", []any{"ob"}},
			{"", "INSERT INTO letters (user_id, subject, body) SELECT IF(user_id = 'ann', 'bob', 'ann'), CONCAT(subject, '+'), subject FROM letters ORDER BY id", nil},
			{"", "REPLACE INTO letters (id, user_id, subject) SELECT id, 'bob', CONCAT(subject, '-') FROM letters WHERE user_id = 'ann' AND id < ?", []any{10 * (i + 1)}},
			{"", "INSERT INTO letters (id, user_id, subject) VALUES (1, 'bob', 'up'), (2, 'bob', 'up') ON DUPLICATE KEY UPDATE subject = CONCAT(subject, VALUES(subject)), body = UPPER(user_id)", nil},
			{"", "INSERT INTO letters (id, user_id, subject) VALUES (1, ?, 'to') ON DUPLICATE KEY UPDATE user_id = VALUES(user_id), body = CONCAT(body, VALUES(subject))", []any{[]string{"ann", "bob"}[i]}},
			{"", "SELECT id, user_id, subject, body, seen FROM letters ORDER BY id", nil},
		} {
			same(t, plain, two, how, c.stmt, c.args...)
		}
		p.underOwners(t, how.String())
	}
	for _, stmt := range []string{
		"INSERT INTO letters (user_id, subject) VALUES ('ann', UPPER('x')), (CONCAT('cy', 'd'), UPPER('x'))",
		"INSERT INTO letters (user_id, subject) SELECT 'cyd', UPPER(subject) FROM letters",
		"INSERT INTO letters (id, user_id, subject) VALUES (1, 'ann', 'up') ON DUPLICATE KEY UPDATE user_id = 'cyd', subject = LOWER(subject)",
	} {
		if got := code(two, stmt); got != 9702 {
			t.Errorf("%s: error %d, want 9702", stmt, got)
		}
	}
	same(t, plain, two, wayText, "SELECT id, user_id, subject, body, seen FROM letters ORDER BY id")
}
