package endtoend

import (
	"context"
	"fmt"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// TestReturningLockedCells: a statement that is answered with an error because a cell in its RETURNING list does not open
// has changed nothing.
func TestReturningLockedCells(t *testing.T) {
	server := mariadbtest.Shared(t)
	db := server.NewDatabase(t)
	server.Exec(t, "CREATE TABLE "+db+".vault (id INT PRIMARY KEY, user_id INT, body TEXT, title VARCHAR(50)) DEFAULT CHARSET=utf8mb4")
	proxy := latchkeytest.Start(t, latchkeytest.Config{Server: server, Databases: "  " + db + ":\n    vault:\n      columns:\n        body: {}\n        title: {locked: \"(locked)\"}\n"})
	ctx := context.Background()
	ann := latchkeytest.NewAccountKey(t)
	own := proxy.Conn(t, db, "", ann)
	if _, err := own.ExecContext(ctx, "INSERT INTO vault VALUES (1, 5, 'one', 'a'), (2, 5, 'two', 'b')"); err != nil {
		t.Fatal(err)
	}
	statements := []struct {
		sql  string
		code int
	}{
		{"DELETE FROM vault WHERE id = 1 RETURNING body", 0},
		{"DELETE FROM vault RETURNING id, body", 0},
		{"DELETE FROM vault WHERE id IN (1, 2) ORDER BY id LIMIT 1 RETURNING *", 0},
		{"INSERT INTO vault (id, user_id) VALUES (1, 5) ON DUPLICATE KEY UPDATE user_id = 9 RETURNING body", 9705},
		{"INSERT INTO vault (id, body) SELECT id + 10, body FROM vault RETURNING body", 0},
	}
	for name, key := range map[string]string{"another key": latchkeytest.NewAccountKey(t), "no key": ""} {
		code := 9702
		if key == "" {
			code = 9701
		}
		for _, params := range []string{"", "?interpolateParams=true"} {
			conn := proxy.Conn(t, db, params, key)
			for _, s := range statements {
				want := s.code
				if want == 0 {
					want = code
				}
				rows, err := conn.QueryContext(ctx, s.sql)
				if err == nil {
					err = rows.Close()
				}
				if got := mariadbtest.Code(err); got != want {
					t.Errorf("%s: %s: %v, want error %d", name, s.sql, err, want)
				}
				if got := server.Query(t, "SELECT COUNT(*), SUM(user_id) FROM "+db+".vault"); fmt.Sprint(got) != "[[2 10]]" {
					t.Fatalf("%s: %s: the table is now %v", name, s.sql, got)
				}
			}
		}
	}
	other := proxy.Conn(t, db, "", latchkeytest.NewAccountKey(t))
	var title string
	if err := other.QueryRowContext(ctx, "DELETE FROM vault WHERE id = 2 RETURNING title").Scan(&title); err != nil || title != "(locked)" {
		t.Errorf("RETURNING of a column with a replacement text: %q, %v", title, err)
	}
	var body string
	if err := own.QueryRowContext(ctx, "DELETE FROM vault WHERE id = ? RETURNING body", 1).Scan(&body); err != nil || body != "one" {
		t.Errorf("RETURNING of an own cell: %q, %v", body, err)
	}
}
