package endtoend

import (
	"context"
	"testing"

	"latchkey/internal/mariadbtest"
)

// hiddenNames are statements in which a name of a column that is not protected means a protected value: the alias of a select item
// in HAVING, the first query of a set operation, and a derived table or common table expression that has the name of a table.
var hiddenNames = []string{
	"INSERT INTO tags (name) SELECT users.name FROM (SELECT email AS name FROM users) users",
	"INSERT INTO tags (name) SELECT x.name FROM (SELECT email AS name FROM users) x WHERE EXISTS (SELECT 1 FROM tags x WHERE x.id = 1)",
	"INSERT INTO tags (name) WITH tags AS (SELECT email AS name FROM users) SELECT tags.name FROM tags",
	"INSERT INTO tags (name) WITH users AS (SELECT email AS name FROM users) SELECT users.name FROM users",
	"INSERT INTO tags (id, entry_id, name) WITH tags AS (SELECT 1000 + id, 2, email FROM users) SELECT * FROM tags",
	"INSERT INTO tags (id, entry_id, name) WITH tags AS (SELECT 1000 + id, 2, email FROM users) SELECT tags.* FROM tags",
	"INSERT INTO tags (name) SELECT c.name FROM (SELECT name FROM users UNION ALL SELECT email FROM users) c",
	"INSERT INTO tags (name) SELECT name FROM (SELECT name FROM users UNION ALL (SELECT 'a' UNION SELECT email FROM users)) c",
	"INSERT INTO tags (name) WITH c AS (SELECT name FROM users UNION SELECT email FROM users) SELECT c.name FROM c",
	"INSERT INTO tags (name) WITH RECURSIVE c AS (SELECT 'a' AS k UNION ALL SELECT email FROM users WHERE id = 70) SELECT k FROM c",
	"INSERT INTO tags (name) SELECT d.k FROM (SELECT c.k FROM (SELECT 'a' AS k UNION ALL SELECT email FROM users) c) d",
	"INSERT INTO tags (name) SELECT c.name FROM (SELECT id, name FROM tags UNION SELECT * FROM (SELECT id, email FROM users) e) c",
	"REPLACE INTO tags (name) SELECT c.name FROM (SELECT name FROM users EXCEPT SELECT 'x' UNION ALL SELECT email FROM users) c",
}

// hiddenVariables are such statements that assign @t.
var hiddenVariables = []string{
	"SELECT title AS mood FROM entries WHERE id = 70 HAVING (@t := mood) IS NOT NULL",
	"SELECT MAX(title) AS mood FROM entries WHERE id = 70 HAVING (@t := mood) > ''",
	"WITH tags AS (SELECT title AS name FROM entries WHERE id = 70) SELECT @t := tags.name FROM tags",
	"WITH tags AS (SELECT title AS name FROM entries WHERE id = 70) SELECT tags.name INTO @t FROM tags",
}

// TestHiddenNames looks whether a protected value reaches the backend under a name that is not protected.
func TestHiddenNames(t *testing.T) {
	server := mariadbtest.Shared(t)
	w := newTwin(t, server)
	secret := newMark("value")
	_, sealed := w.conns(t, "")
	ctx := context.Background()
	logged := backendStatements(t, server, func() {
		for _, stmt := range []string{"INSERT INTO entries (id, title) VALUES (70, ?)", "INSERT INTO users (id, name, email) VALUES (70, 'x', ?)"} {
			if _, err := sealed.ExecContext(ctx, stmt, secret.text); err != nil {
				t.Fatal(err)
			}
		}
		for _, how := range []way{wayText, wayPrepared} {
			for _, stmt := range hiddenNames {
				if a := run(sealed, how, stmt, nil); a.Code != 9704 && a.Code != 9705 {
					t.Errorf("%v: %s: error %d, want a refusal", how, stmt, a.Code)
				}
			}
			for _, stmt := range hiddenVariables {
				mustExec(t, sealed, "SET @t = 'before'")
				if a := run(sealed, how, stmt, nil); a.Code != 0 {
					t.Errorf("%v: %s: error %d %s", how, stmt, a.Code, a.Text)
				}
				var got string
				if err := sealed.QueryRowContext(ctx, "SELECT @t").Scan(&got); err != nil || got != secret.text {
					t.Errorf("%v: %s: @t is another value, error %v", how, stmt, err)
				}
			}
			// Which of the two is assigned, a protected column decides.
			mustExec(t, sealed, "SET @t = 'before'")
			if a := run(sealed, how, "SELECT IF(title LIKE 'mk%', @t := 'chosen', @t := 'other') FROM entries WHERE id = 70", nil); a.Code != 0 {
				t.Errorf("%v: IF: error %d %s", how, a.Code, a.Text)
			}
			if n := code(sealed, "INSERT INTO tags (name) VALUES (@t)"); n != 9705 {
				t.Errorf("%v: a variable that was assigned under a condition over a protected column is written: %d, want 9705", how, n)
			}
		}
	})
	secret.seen(t, logged)
}
