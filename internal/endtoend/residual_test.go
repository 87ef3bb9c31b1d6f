package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"reflect"
	"testing"

	"latchkey/internal/mariadbtest"
)

// residualStatements are reads that the evaluator finishes.
var residualStatements = []formCase{
	{"where", "SELECT id, title FROM entries WHERE body LIKE '%first%'", nil},
	{"where", "SELECT id, title FROM entries WHERE title > 'alpha' ORDER BY title, id", nil},
	{"where", "SELECT id FROM entries WHERE amount BETWEEN 0 AND 11 ORDER BY id", nil},
	{"where", "SELECT id, title FROM entries WHERE title REGEXP '^[ab]' ORDER BY id", nil},
	{"where", "SELECT id FROM entries WHERE amount > ? ORDER BY id", []any{1}},
	{"where", "SELECT id FROM entries WHERE user_id = ? AND title LIKE ? ORDER BY id", []any{7, "%a%"}},
	{"where", "SELECT id, amount FROM entries WHERE amount * 2 = ? ORDER BY id", []any{21.0}},
	{"order", "SELECT id, title, amount FROM entries ORDER BY title DESC, id LIMIT 3", nil},
	{"order", "SELECT title FROM entries ORDER BY amount, id LIMIT 1 OFFSET 1", nil},
	{"limit", "SELECT UPPER(title), id FROM entries WHERE amount = '10.50' ORDER BY id LIMIT 1, 1", nil},
	{"limit", "SELECT UPPER(title), id FROM entries WHERE id <> 1 AND amount = ? ORDER BY user_id DESC LIMIT 1", []any{"-3.25x"}},
	{"limit", "SELECT UPPER(title), id FROM entries WHERE amount IN (7, '0.00x') ORDER BY id LIMIT 1", nil},
	{"group", "SELECT user_id, SUM(amount), COUNT(title), AVG(amount) FROM entries GROUP BY user_id ORDER BY user_id", nil},
	{"group", "SELECT title, COUNT(*) AS n FROM entries GROUP BY title ORDER BY n DESC, title", nil},
	{"group", "SELECT title, SUM(amount) FROM entries GROUP BY title WITH ROLLUP", nil},
	{"group", "SELECT GROUP_CONCAT(title ORDER BY id SEPARATOR '|') FROM entries", nil},
	{"group", "SELECT MIN(title), MAX(amount), COUNT(DISTINCT body) FROM entries", nil},
	{"distinct", "SELECT DISTINCT title FROM entries ORDER BY title", nil},
	{"functions", "SELECT id, UPPER(title), LENGTH(body), amount + 1, CONCAT(title, '!') FROM entries ORDER BY id", nil},
	{"functions", "SELECT id, CASE WHEN amount > 0 THEN 'in' ELSE 'out' END AS way FROM entries ORDER BY id", nil},
	{"functions", "SELECT COALESCE(title, 'none'), IFNULL(amount, 0) FROM entries ORDER BY id", nil},
	{"functions", "SELECT CAST(amount AS CHAR), ROUND(amount) FROM entries ORDER BY id", nil},
	{"functions", "SELECT LENGTH(body), body IS NULL FROM entries WHERE id = 2", nil}, // nothing but an empty text is opened
	{"window", "SELECT id, SUM(amount) OVER (ORDER BY id) AS running FROM entries", nil},
	{"join", "SELECT e.title, t.name FROM entries e JOIN tags t ON t.entry_id = e.id WHERE e.title LIKE 'a%' ORDER BY t.id", nil},
	{"join", "SELECT e.id, a.id FROM entries e JOIN archive a ON LOWER(a.title) = LOWER(e.title) ORDER BY 1, 2", nil},
	{"join", "SELECT a.id, b.id FROM entries a, entries b WHERE a.amount < b.amount ORDER BY 1, 2", nil},
	{"subquery", "SELECT id FROM entries WHERE amount = (SELECT MAX(amount) FROM entries) ORDER BY id", nil},
	{"subquery", "SELECT id FROM entries WHERE title IN (SELECT title FROM archive) ORDER BY id", nil},
	{"subquery", "SELECT id FROM entries e WHERE EXISTS (SELECT 1 FROM archive a WHERE a.title = UPPER(e.title)) ORDER BY id", nil},
	{"set", "SELECT title FROM entries UNION SELECT title FROM archive ORDER BY 1", nil},
	{"set", "SELECT title FROM entries INTERSECT SELECT title FROM archive", nil},
	{"cte", "WITH c AS (SELECT user_id, SUM(amount) AS s FROM entries GROUP BY user_id) SELECT * FROM c WHERE s > 1 ORDER BY user_id", nil},
	{"derived", "SELECT d.t, COUNT(*) FROM (SELECT LEFT(title, 1) AS t FROM entries) d GROUP BY d.t ORDER BY d.t", nil},
	{"rows", "SELECT SQL_CALC_FOUND_ROWS id FROM entries WHERE title LIKE '%a%' ORDER BY id LIMIT 1", nil},
	{"rows", "SELECT FOUND_ROWS()", nil},
	{"locks", "SELECT id FROM entries WHERE body LIKE '%x%' FOR UPDATE", nil},
	{"empty", "SELECT title FROM entries WHERE title LIKE 'nothing%'", nil},
	{"empty", "SELECT LENGTH(body), body IS NULL FROM entries WHERE id = 2", nil},
	{"warnings", "SELECT id FROM entries WHERE title + 0 = 1", nil},
	{"warnings", "SELECT CAST(title AS SIGNED) FROM entries WHERE id = 1", nil},
	{"errors", "SELECT (SELECT title FROM entries) LIKE 'x'", nil},
	{"errors", "SELECT UPPER(nothing) FROM entries WHERE title LIKE 'x'", nil},
	{"variables", "SELECT @n + MAX(amount), CONCAT(@s, MAX(title)) FROM entries", nil},
	{"session", "SELECT NOW() = CURRENT_TIMESTAMP, MAX(body) FROM entries", nil},
}

func TestResidualReads(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	for _, how := range []way{wayText, wayPrepared} {
		plain, sealed := w.conns(t, "")
		for _, c := range []*sql.Conn{plain, sealed} {
			if _, err := c.ExecContext(context.Background(), "SET @n = 2.5, @s = 'x', time_zone = '+02:00', sql_mode = 'PIPES_AS_CONCAT', group_concat_max_len = 9, lc_time_names = 'de_DE'"); err != nil {
				t.Fatal(err)
			}
		}
		for _, c := range residualStatements {
			t.Run(fmt.Sprintf("%s %s %s", c.section, how, c.stmt), func(t *testing.T) {
				want, got := run(plain, how, c.stmt, c.args), run(sealed, how, c.stmt, c.args)
				if want.Code != 0 && want.Code == got.Code {
					return
				}
				if !reflect.DeepEqual(want, got) {
					t.Errorf("%s\n got %+v\nwant %+v", c.stmt, got, want)
				}
			})
		}
	}
}
