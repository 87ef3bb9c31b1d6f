package endtoend

import (
	"context"
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// runBoth runs statements one after the other on both sides and holds their answers against each other.
func runBoth(t *testing.T, plain, sealed *sql.Conn, how way, statements ...string) {
	t.Helper()
	for _, stmt := range statements {
		same(t, plain, sealed, how, stmt)
	}
}

// variableStatements give user variables values of protected columns, and use them.
var variableStatements = []string{
	"SET @p = 'plain', @n = 7, @d = 1.50, @f = 0.1e0, @u = CAST(3 AS UNSIGNED), @l = _latin1 x'e9', @b = x'00ff', @z = NULL",
	"SELECT @p, @n, @d, @f, @u - 2, @l, COLLATION(@l), HEX(@b), COLLATION(@b), @z, MAX(title) FROM entries",
	"SELECT title INTO @t FROM entries WHERE id = 1",
	"SELECT ROW_COUNT()",
	"SELECT title INTO @t FROM entries WHERE id = 1",
	"SELECT FOUND_ROWS()",
	"SELECT @t",
	"SELECT @T AS again, COLLATION(@t), COERCIBILITY(@t), LENGTH(@`t`)",
	"SELECT @t, name FROM tags ORDER BY id",
	"SELECT id FROM entries WHERE title = @t ORDER BY id",
	"SELECT id FROM entries WHERE title LIKE CONCAT(LEFT(@t, 2), '%') ORDER BY id",
	"SET @w = CONCAT(@t, 'x'), @m = @n + 1",
	"SELECT @w, @m, @t",
	"SELECT @m, name FROM tags WHERE id < @m ORDER BY id",
	"SET @t = (SELECT MAX(title) FROM entries), @u := (SELECT SUM(amount) FROM entries)",
	"SELECT @t, @u, @u / 3, COLLATION(@u)",
	"SELECT id, title, amount INTO @i, @t, @a FROM entries WHERE title LIKE 'b%'",
	"SELECT @i, @t, @a",
	"SELECT @i, name FROM tags WHERE entry_id = @i ORDER BY id",
	"SELECT title FROM entries WHERE id > 100 INTO @t",
	"SELECT @t",
	"SELECT title INTO @t FROM entries",
	"SELECT @t := title FROM entries WHERE id = 2",
	"SELECT @t",
	"SELECT @s := 0",
	"SELECT id, @s := @s + amount AS running FROM entries WHERE amount IS NOT NULL ORDER BY id",
	"SELECT @s, @s * 2",
	"SELECT @r := 0",
	"SELECT @r := @r + 1 AS n, UPPER(title) FROM entries ORDER BY id",
	"SELECT @r, name FROM tags WHERE id = @r",
	"SET @w = @t, @t = 'plain again'",
	"SELECT @w, @t",
	"SELECT @t, name FROM tags WHERE name <> @t ORDER BY id",
	"SET @w = 5",
	"SELECT @w + 1",
	"SELECT name INTO @w FROM tags WHERE id = 1",
	"SELECT @w",
	"SELECT body, amount INTO @b, @a FROM entries WHERE id = 3",
	"SELECT @b, @a, @b IS NULL",
	"UPDATE entries SET title = @a, amount = @a + 1, body = CONCAT(@p, @a) WHERE id = 4",
	"SELECT title, amount, body FROM entries WHERE id = 4",
	"DELETE FROM entries WHERE amount = @a AND id > 3",
	"SELECT COUNT(*) FROM entries",
	"INSERT INTO entries (id, user_id, title, body) VALUES (80, @n, @a, CONCAT(@a, 'y')), (81, 3, 'z', @p)",
	"SELECT id, user_id, title, body FROM entries WHERE id >= 80 ORDER BY id",
	"INSERT INTO archive (id, title) SELECT id, CONCAT(@a, '!') FROM entries WHERE id >= 80",
	"SELECT id, title FROM archive ORDER BY id",
	"SELECT email INTO @e FROM users WHERE id = 1",
	"SELECT name FROM users WHERE email = @e",
	"SELECT name FROM users WHERE alias <=> @e ORDER BY id",
	"WITH c AS (SELECT @e AS e) SELECT u.id FROM users u JOIN c ON c.e = u.email",
	"SELECT @e UNION SELECT name FROM users ORDER BY 1",
	"SET @e = NULL",
	"SELECT @e",
	"SET @q = @e",
	"SELECT @q",
	"SELECT MAX(changed), MIN(mood) INTO @c, @o FROM entries WHERE title > ''",
	"SELECT @c IS NULL, @o",
	"SET @j = (SELECT GROUP_CONCAT(title ORDER BY id) FROM entries)",
	"SELECT JSON_OBJECT('a', @j), @j REGEXP 'beta'",
	"SET @t := (SELECT title FROM entries)",
	"SHOW WARNINGS",
	"SELECT @t",
}

func TestVariables(t *testing.T) {
	for _, how := range []way{wayText, wayPrepared} {
		t.Run(how.String(), func(t *testing.T) {
			w := newTwin(t, mariadbtest.Shared(t))
			plain, sealed := w.conns(t, "")
			runBoth(t, plain, sealed, how, variableStatements...)
		})
	}
}

// TestVariablesStayHere looks whether the backend ever gets what a variable has of protected columns, and whether what would
// send it there is refused.
func TestVariablesStayHere(t *testing.T) {
	server := mariadbtest.Shared(t)
	w := newTwin(t, server)
	secret := newMark("value")
	_, sealed := w.conns(t, "")
	ctx := context.Background()
	logged := backendStatements(t, server, func() {
		if _, err := sealed.ExecContext(ctx, "INSERT INTO entries (id, title, body) VALUES (70, ?, 'x')", secret.text); err != nil {
			t.Fatal(err)
		}
		prepared, err := sealed.PrepareContext(ctx, "SELECT @t")
		if err != nil {
			t.Fatal(err)
		}
		defer prepared.Close()
		mustExec(t, sealed, "SELECT title INTO @t FROM entries WHERE id = 70")
		var got string
		if err := prepared.QueryRow().Scan(&got); err != nil || got != secret.text {
			t.Errorf("prepared before it was set: %q, %v", got, err)
		}
		for _, stmt := range []string{
			"INSERT INTO tags (name) VALUES (@t)", "INSERT INTO tags (name) SELECT @t", "UPDATE tags SET name = @t", "UPDATE tags SET name = CONCAT(@`T`, '')",
			"REPLACE INTO tags (id, name) VALUES (1, @t)", "UPDATE entries SET mood = LENGTH(@t) WHERE title LIKE '%'", "CREATE TABLE leak AS SELECT @t AS t",
			"INSERT INTO entries (user_id) VALUES (LENGTH(@t))", "SET @@lc_time_names = @t", "SET SESSION sql_mode = @t, @x = 1", "CALL nothing(@t)", "DO SLEEP(LENGTH(@t))",
			"PREPARE s FROM @t", "EXECUTE IMMEDIATE @t", "SET STATEMENT max_statement_time = 10 FOR SELECT @t", "EXPLAIN UPDATE tags SET name = @t",
			"DELETE FROM tags WHERE name = @t LIMIT 1 RETURNING id, @t", "LOAD DATA LOCAL INFILE 'x' INTO TABLE tags (@t)", "BEGIN NOT ATOMIC SELECT @t; END",
			"SELECT @t INTO OUTFILE '/tmp/x'", "GET DIAGNOSTICS CONDITION @t @x = MESSAGE_TEXT", "SELECT NAME_CONST('x', 1), SLEEP(LENGTH(@t))",
			"INSERT INTO tags (name) VALUES ('a') ON DUPLICATE KEY UPDATE name = @t", "UPDATE tags SET name = (SELECT @t)", "UPDATE tags t JOIN entries e ON e.id = 70 SET t.name = @t WHERE e.body LIKE 'x'",
		} {
			if n := code(sealed, stmt); n < 9700 || n > 9800 {
				if stmt == "DELETE FROM tags WHERE name = @t LIMIT 1 RETURNING id, @t" && n == 0 {
					continue // it is computed in the evaluator
				}
				t.Errorf("%s: error %d, want a refusal", stmt, n)
			}
		}
		for _, stmt := range []string{"SELECT @t", "SET @u = UPPER(@t)", "SELECT @v := CONCAT(@u, title) FROM entries", "SELECT id FROM tags WHERE name = @t",
			"SELECT id FROM entries WHERE title = @t AND mood = 3", "UPDATE entries SET body = @t WHERE id = 70", "DELETE FROM tags WHERE name = @u", "SET @t = (SELECT @u)",
			"SELECT CAST(@t AS SIGNED), MAX(title) FROM entries", "SHOW WARNINGS", "SELECT @@warning_count"} {
			if a := run(sealed, wayText, stmt, nil); a.Code != 0 {
				t.Errorf("%s: error %d %s", stmt, a.Code, a.Text)
			}
		}
	})
	secret.seen(t, logged)
	upper := markOf("value in upper case", strings.ToUpper(secret.text))
	upper.seen(t, logged)
	if rows := server.Query(t, "SELECT COUNT(*) FROM "+w.sealed+".tags"); rows[0][0] != "4" {
		t.Errorf("tags has %s rows", rows[0][0])
	}
}

// TestVariablesEnd looks how long the value of a variable lasts.
func TestVariablesEnd(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	_, sealed := w.conns(t, "")
	take := func() {
		t.Helper()
		mustExec(t, sealed, "SET @latchkey = '"+w.key+"'")
		mustExec(t, sealed, "SELECT title INTO @t FROM entries WHERE id = 1")
	}
	read := func(what string, want string) {
		t.Helper()
		a := run(sealed, wayText, "SELECT @t", nil)
		got := fmt.Sprint(a.Code)
		if a.Code == 0 {
			got = a.Rows[0][0]
		}
		if got != want {
			t.Errorf("%s: @t is %s, want %s", what, got, want)
		}
	}
	take()
	read("set", `"alpha"`)
	mustExec(t, sealed, "SET @latchkey = '"+w.key+"'")
	read("the same key again", `"alpha"`)
	mustExec(t, sealed, "SET @latchkey = NULL")
	read("without a key", "9702")
	if n := code(sealed, "SET @u = @t"); n != 9702 {
		t.Errorf("SET @u = @t without a key: %d", n)
	}
	mustExec(t, sealed, "SET @latchkey = '"+w.key+"'")
	read("the key is back, the value is not", "9702")
	mustExec(t, sealed, "SET @t = 'new'")
	read("another value", `"new"`)
	take()
	mustExec(t, sealed, "SELECT 'other' INTO @t")
	read("INTO", `"other"`)
	take()
	mustExec(t, sealed, "SELECT 'other' INTO @t FROM DUAL WHERE 1 = 0")
	read("INTO without a row", `"alpha"`)
	mustExec(t, sealed, "SELECT @t := NULL")
	read(":= NULL", "NULL")
	take()
	mustExec(t, sealed, "SET @latchkey = '"+latchkeytest.NewAccountKey(t)+"'")
	read("another key", "9702")
	take()
	_, second := w.conns(t, "")
	mustExec(t, second, "CREATE PROCEDURE uses() SET @t = 'x'")
	mustExec(t, second, "CREATE FUNCTION gives() RETURNS INT RETURN LENGTH(@t)")
	for _, stmt := range []string{"SET @x = gives()", "DO gives()", "SELECT gives()", "CREATE TABLE made AS SELECT gives() AS n"} {
		if n := code(sealed, stmt); n != 9705 {
			t.Errorf("%s, a function that reads the variable: %d, want 9705", stmt, n)
		}
	}
	mustExec(t, sealed, "SET @x = 1, sql_mode = DEFAULT")
	if n := code(sealed, "CALL uses()"); n != 9705 {
		t.Errorf("a procedure that uses the variable: %d, want 9705", n)
	}
	mustExec(t, sealed, "SET @t = 1")
	mustExec(t, sealed, "CALL uses()")
	read("assigned by a procedure", `"x"`)
	if n := code(sealed, "SELECT title INTO @t FROM entries WHERE id = 1"); n != 9705 {
		t.Errorf("beside a procedure that uses the variable: %d, want 9705", n)
	}
}
