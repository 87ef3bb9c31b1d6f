package endtoend

import (
	"testing"

	"latchkey/internal/mariadbtest"
)

// dynamicStatements are SQL-level PREPARE and EXECUTE over protected columns.
var dynamicStatements = []string{
	"PREPARE s FROM 'SELECT id, UPPER(title), ? FROM entries WHERE title LIKE ? AND id < ? ORDER BY id LIMIT ?'",
	"SET @a = 'x', @b = '%a%', @c = 5, @d = 2",
	"EXECUTE s USING @a, @b, @c, @d",
	"EXECUTE s USING 1.50, '%a%', 4, 1",
	"EXECUTE s USING @a, @b",
	"EXECUTE s",
	"PREPARE s FROM 'SELECT title, user() = current_user() FROM entries ORDER BY title, id'",
	"EXECUTE s",
	"DEALLOCATE PREPARE s",
	"EXECUTE s",
	"EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM entries WHERE title > ?' USING 'a'",
	"EXECUTE IMMEDIATE 'SELECT COUNT(*) FROM entries WHERE title > ''a'''",
	"PREPARE f FROM 'SELECT id FROM entries WHERE title = ? AND user_id = ? ORDER BY id'",
	"SET @u = 7, @t = 'alpha'",
	"EXECUTE f USING @t, @u",
	"SELECT title INTO @k FROM entries WHERE id = 2",
	"EXECUTE f USING @k, @u",
	"PREPARE p FROM 'SELECT ?, name FROM tags WHERE name <> ? ORDER BY id'",
	"EXECUTE p USING @t, @t",
	"EXECUTE p USING @k, @t",
	"EXECUTE p USING @t, @k",
	"PREPARE v FROM 'SELECT @k, @t, ? + 1'",
	"EXECUTE v USING @u",
	"SET @k = 'plain'",
	"EXECUTE v USING @u",
	"SELECT body INTO @k FROM entries WHERE id = 1",
	"EXECUTE v USING @u",
	"PREPARE i FROM 'INSERT INTO entries (id, user_id, title, body) VALUES (?, ?, ?, CONCAT(?, ''!''))'",
	"SET @id = 90",
	"EXECUTE i USING @id, @u, @k, @t",
	"EXECUTE i USING 91, 7, 'literal', @k",
	"SELECT id, user_id, title, body FROM entries WHERE id >= 90 ORDER BY id",
	"PREPARE w FROM 'UPDATE entries SET title = ? WHERE id = ?'",
	"EXECUTE w USING @k, @id",
	"EXECUTE w USING 'other', 91",
	"SELECT id, title FROM entries WHERE id >= 90 ORDER BY id",
	"PREPARE n FROM 'SELECT title, amount INTO @x, @y FROM entries WHERE id = ?'",
	"EXECUTE n USING @d",
	"SELECT @x, @y, @d",
	"PREPARE z FROM 'SET @z = (SELECT MAX(title) FROM entries)'",
	"EXECUTE z",
	"SELECT @z",
	"PREPARE d FROM 'DELETE FROM entries WHERE title = ? OR body LIKE ?'",
	"EXECUTE d USING @k, '%!'",
	"SELECT COUNT(*) FROM entries",
	"PREPARE e FROM 'SELECT nothing FROM entries WHERE title > ?'",
	"PREPARE e FROM 'SELECT title FROM entries WHERE title = ? ORDER BY id'",
	"EXECUTE e USING 'alpha'",
	"DROP PREPARE e",
}

func TestDynamicStatements(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	runBoth(t, plain, sealed, wayText, dynamicStatements...)
}

// TestDynamicValuesStayHere looks whether the values of USING reach the backend.
func TestDynamicValuesStayHere(t *testing.T) {
	server := mariadbtest.Shared(t)
	w := newTwin(t, server)
	secret := newMark("value")
	_, sealed := w.conns(t, "")
	logged := backendStatements(t, server, func() {
		for _, stmt := range []string{
			"EXECUTE IMMEDIATE 'INSERT INTO entries (id, title) VALUES (?, ?)' USING 70, '" + secret.text + "'",
			"PREPARE f FROM 'SELECT id, title FROM entries WHERE title = ? OR body LIKE ?'", "EXECUTE f USING '" + secret.text + "', 'x'",
			"PREPARE g FROM 'UPDATE entries SET body = ? WHERE id = 70'", "EXECUTE g USING '" + secret.text + "'",
			"SELECT title INTO @t FROM entries WHERE id = 70",
			"PREPARE p FROM 'SELECT ?, name FROM tags WHERE name <> ?'", "EXECUTE p USING @t, @t",
			"EXECUTE f USING @t, @t", "EXECUTE g USING @t", "EXECUTE IMMEDIATE 'SELECT ? FROM entries WHERE mood <> ?' USING @t, @t",
			"PREPARE v FROM 'SELECT @t'", "EXECUTE v", "SET @u = @t", "EXECUTE IMMEDIATE 'SET @v = CONCAT(?, @u)' USING @t",
		} {
			if a := run(sealed, wayText, stmt, nil); a.Code != 0 {
				t.Errorf("%s: error %d %s", stmt, a.Code, a.Text)
			}
		}
		for _, stmt := range []string{
			"PREPARE n FROM 'INSERT INTO tags (name) VALUES (?)'", "PREPARE m FROM 'UPDATE entries SET mood = ? WHERE title > ?'",
			"PREPARE o FROM 'INSERT INTO entries (user_id, title) VALUES (?, ?)'",
		} {
			mustExec(t, sealed, stmt)
		}
		for _, stmt := range []string{"EXECUTE n USING @t", "EXECUTE n USING CONCAT(@t, 'x')", "EXECUTE m USING @t, 'a'", "EXECUTE o USING @t, @t",
			"EXECUTE IMMEDIATE 'INSERT INTO tags (name) VALUES (@t)'", "PREPARE x FROM 'UPDATE tags SET name = @t'", "EXECUTE IMMEDIATE 'CALL nothing(?)' USING @t"} {
			if n := code(sealed, stmt); n < 9700 || n > 9800 {
				t.Errorf("%s: error %d, want a refusal", stmt, n)
			}
		}
	})
	secret.seen(t, logged)
	w.onlyCells(t, "EXECUTE")
}
