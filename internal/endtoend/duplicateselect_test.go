package endtoend

import (
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
)

// TestDuplicateOfSelect assigns columns by their names alone in ON DUPLICATE KEY UPDATE of INSERT ... SELECT, where the table that
// is read has columns of the same names, and values that are there already, which count as unchanged.
func TestDuplicateOfSelect(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	for _, how := range []way{wayText, wayPrepared} {
		runBoth(t, plain, sealed, how,
			"INSERT INTO archive (id, title) SELECT id, title FROM entries ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"INSERT INTO archive (id, title) SELECT id, title FROM entries ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"INSERT INTO archive (id, title, body) SELECT id, title, body FROM entries ON DUPLICATE KEY UPDATE body = VALUES(body), title = VALUES(title)",
			"INSERT INTO archive (id, title) SELECT id, title FROM entries WHERE id < 3 ON DUPLICATE KEY UPDATE title = 'x'",
			"INSERT INTO archive (id, title) SELECT id, title FROM entries WHERE id < 3 ON DUPLICATE KEY UPDATE archive.title = 'x'",
			"INSERT INTO archive (id, title) SELECT id, title FROM entries WHERE id < 3 ON DUPLICATE KEY UPDATE archive.title = archive.title",
			"INSERT INTO archive (id, title) SELECT id, title FROM entries WHERE id < 3 ON DUPLICATE KEY UPDATE title = entries.title",
			"SELECT * FROM archive ORDER BY id",
			"INSERT INTO entries (id, title) SELECT id, title FROM archive WHERE id < 4 ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"SELECT id, title, changed > '2024-06-01' FROM entries ORDER BY id",
			"INSERT INTO diary (id, user_id, title) SELECT id, user_id, title FROM entries WHERE id < 3 ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"INSERT INTO diary (id, user_id, title) SELECT 1, 7, 'one' ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"SELECT * FROM diary ORDER BY id",
			"DELETE FROM archive WHERE id NOT IN (1, 9)")
		for _, stmt := range []string{
			"INSERT INTO diary (id, user_id, title) SELECT id, user_id, title FROM diary d WHERE id = 1 ON DUPLICATE KEY UPDATE title = VALUES(title)",
			"INSERT INTO archive (id, title) SELECT id, title FROM archive a ON DUPLICATE KEY UPDATE archive.title = 'x'",
		} {
			if got := run(sealed, how, stmt, nil); got.Code != 9705 || !strings.Contains(got.Text, "a table that it also reads") {
				t.Errorf("%s: %s: got %d %s, want 9705 for a table that it also reads", how, stmt, got.Code, got.Text)
			}
		}
		same(t, plain, sealed, how, "SELECT * FROM diary ORDER BY id")
	}
	w.onlyCells(t, "ON DUPLICATE KEY UPDATE")
}
