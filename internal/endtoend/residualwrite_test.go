package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"testing"

	"latchkey/internal/mariadbtest"
)

// computedWrites are statements whose rows or values only the evaluator can tell.
var computedWrites = []formCase{
	{"set", "UPDATE entries SET title = CONCAT(title, '!')", nil},
	{"set", "UPDATE entries SET title = CONCAT(title, '!') WHERE id = 2", nil},
	{"set", "UPDATE entries SET amount = amount + 5", nil},
	{"set", "UPDATE entries SET amount = amount * ? WHERE user_id = ?", []any{2, 7}},
	{"set", "UPDATE entries SET amount = ? - amount, title = LOWER(title) WHERE title LIKE ?", []any{1, "%a%"}},
	{"set", "UPDATE entries SET title = UPPER(body), body = title", nil},
	{"set", "UPDATE entries SET title = CASE WHEN amount > 0 THEN 'in' WHEN amount < 0 THEN 'out' ELSE title END, mood = mood + 1", nil},
	{"set", "UPDATE entries SET title = IFNULL(title, 'none'), body = NULLIF(body, '')", nil},
	{"set", "UPDATE entries SET title = CONCAT('\u00fc', title) WHERE title IS NOT NULL", nil},
	{"set", "UPDATE entries SET title = DEFAULT, body = CONCAT(title, body)", nil},
	{"set", "UPDATE entries SET title = LOWER(title)", nil},
	{"set", "UPDATE entries SET amount = amount + 0", nil},
	{"set", "UPDATE entries SET changed = changed, amount = amount + 1", nil},
	{"set", "UPDATE entries SET changed = '2024-05-05 05:05:05', amount = amount + 1", nil},
	{"where", "UPDATE entries SET mood = 9 WHERE body LIKE '%first%'", nil},
	{"where", "UPDATE entries SET title = 'x' WHERE body LIKE '%x%' OR amount > 10", nil},
	{"where", "UPDATE entries SET mood = ? WHERE LENGTH(title) = ?", []any{2, 5}},
	{"where", "UPDATE entries SET title = 'nothing' WHERE body LIKE 'nothing%'", nil},
	{"order", "UPDATE entries SET mood = 7 ORDER BY title DESC, id LIMIT 2", nil},
	{"order", "UPDATE entries SET amount = amount + 1 ORDER BY amount, id LIMIT 1", nil},
	{"subquery", "UPDATE entries SET title = (SELECT name FROM tags WHERE entry_id = entries.id ORDER BY id LIMIT 1) WHERE user_id = 7", nil},
	{"subquery", "UPDATE entries SET title = UPPER(title) WHERE id IN (SELECT entry_id FROM tags WHERE name = 'home')", nil},
	{"subquery", "UPDATE archive SET title = (SELECT MAX(title) FROM entries)", nil},
	{"subquery", "UPDATE entries SET mood = (SELECT COUNT(*) FROM tags WHERE entry_id = entries.id) WHERE title > 'a'", nil},
	{"join", "UPDATE entries e JOIN tags t ON t.entry_id = e.id SET e.title = UPPER(e.title), t.name = UPPER(t.name) WHERE t.name = 'rent'", nil},
	{"join", "UPDATE entries e JOIN archive a ON LOWER(a.title) = LOWER(e.title) SET e.body = a.body, a.body = CONCAT(a.body, '+')", nil},
	{"join", "UPDATE tags t JOIN (SELECT id, title AS z FROM entries) d ON d.id = t.entry_id SET t.name = CONCAT(t.name, '2') WHERE d.z LIKE 'al%'", nil},
	{"null", "UPDATE entries SET amount = NULL WHERE title LIKE 'a%'", nil},
	{"errors", "UPDATE entries SET amount = amount * 100000000000", nil},
	{"errors", "UPDATE entries SET title = REPEAT(title, 100)", nil},
	{"errors", "UPDATE entries SET amount = title", nil},
	{"errors", "UPDATE entries SET title = nothing + 1 WHERE body LIKE 'x'", nil},
	{"errors", "UPDATE entries SET title = (SELECT name FROM tags) WHERE body LIKE '%'", nil},
	{"errors", "UPDATE users SET email = CONCAT('x', LEFT(email, 0))", nil},
	{"ignore", "UPDATE IGNORE entries SET amount = amount * 100000000000", nil},
	{"ignore", "UPDATE IGNORE entries SET title = REPEAT(title, 100)", nil},
	{"unique", "UPDATE users SET email = CONCAT('x', email)", nil},
	{"delete", "DELETE FROM entries WHERE body LIKE '%x%'", nil},
	{"delete", "DELETE FROM entries WHERE title LIKE ? OR amount < ?", []any{"g%", 0}},
	{"delete", "DELETE FROM entries WHERE LENGTH(title) > 0 ORDER BY title LIMIT 2", nil},
	{"delete", "DELETE FROM entries WHERE body LIKE 'nothing'", nil},
	{"delete", "DELETE e, t FROM entries e JOIN tags t ON t.entry_id = e.id WHERE e.body LIKE 'first%'", nil},
	{"delete", "DELETE FROM entries USING entries JOIN tags ON tags.entry_id = entries.id WHERE entries.title LIKE 'b%'", nil},
	{"delete", "DELETE FROM entries WHERE body LIKE '%x%' RETURNING id, UPPER(title), amount", nil},
	{"delete", "DELETE FROM entries WHERE LENGTH(title) > 4 RETURNING *", nil},
	{"delete", "DELETE FROM archive WHERE title > 'm'", nil},
}

// TestComputedWrites runs them on plaintext and through Latchkey, inside a transaction that is rolled back, as text and
// prepared, counting rows that changed or rows that were found.
func TestComputedWrites(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, how := range []way{wayText, wayPrepared} {
		for _, params := range []string{"?interpolateParams=true", "?interpolateParams=true&clientFoundRows=true"}[:2-int(how)] {
			plain, sealed := w.conns(t, params)
			for _, c := range computedWrites {
				t.Run(fmt.Sprintf("%s %s %s %s", c.section, how, params, c.stmt), func(t *testing.T) {
					if outcome := w.compare(t, plain, sealed, how, c); outcome != "same" {
						t.Errorf("%s: got %s, want the same as on plaintext", c.stmt, outcome)
					}
				})
			}
		}
	}
}

// TestComputedWritesCommit runs statements one after the other without a transaction, and in sql_modes in which values are bent.
func TestComputedWritesCommit(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	ctx := context.Background()
	for _, stmt := range []string{
		"UPDATE entries SET amount = amount + 5 WHERE title LIKE 'a%'",
		"SELECT ROW_COUNT()",
		"SET sql_mode = ''",
		"UPDATE entries SET amount = amount * 100000000000 WHERE id < 3",
		"UPDATE entries SET title = REPEAT(title, 60)",
		"SELECT @@warning_count",
		"UPDATE entries SET amount = CONCAT(LEFT(title, 1), amount)",
		"SET sql_mode = DEFAULT",
		"UPDATE entries SET title = LEFT(title, 2)",
		"SELECT ROW_COUNT()",
		"SET autocommit = 0",
		"UPDATE entries SET body = CONCAT(body, '.')",
		"UPDATE entries SET amount = amount * 100000000000",
		"SELECT ROW_COUNT()",
		"ROLLBACK",
		"UPDATE entries SET body = CONCAT(body, ';')",
		"COMMIT",
		"SET autocommit = 1",
		"DELETE FROM entries WHERE title LIKE 'be%'",
		"SELECT ROW_COUNT()",
	} {
		want, got := run(plain, wayText, stmt, nil), run(sealed, wayText, stmt, nil)
		if want.Code != 0 && want.Code == got.Code {
			continue
		}
		if !reflect.DeepEqual(want, got) {
			t.Errorf("%s\n got %+v\nwant %+v", stmt, got, want)
		}
		w.onlyCells(t, stmt)
	}
	for _, stmt := range []string{"SELECT id, user_id, title, body, mood, amount, changed IS NULL FROM entries ORDER BY id"} {
		var answers [2]answer
		for i, c := range []*sql.Conn{plain, sealed} {
			if _, err := c.ExecContext(ctx, "ROLLBACK"); err != nil {
				t.Fatal(err)
			}
			answers[i] = run(c, wayText, stmt, nil)
		}
		if !reflect.DeepEqual(answers[0], answers[1]) {
			t.Errorf("%s\n got %+v\nwant %+v", stmt, answers[1], answers[0])
		}
	}
}
