package endtoend

import (
	"context"
	"database/sql"
	"reflect"
	"testing"

	"latchkey/internal/mariadbtest"
)

// lateRows runs a statement in a transaction whose snapshot is older than two rows that another connection wrote, and gives its answer
// and the bodies of all entries afterwards.
func lateRows(t *testing.T, conn, other *sql.Conn, stmt string) (answer, [][]string) {
	t.Helper()
	mustExec(t, conn, "START TRANSACTION WITH CONSISTENT SNAPSHOT")
	mustExec(t, other, "INSERT INTO entries (id, user_id, title, body) VALUES (70, 70, 'new', 'old body')")
	mustExec(t, other, "INSERT INTO tags (id, entry_id, name) VALUES (70, 70, 'late')")
	a := run(conn, wayText, stmt, nil)
	mustExec(t, conn, "COMMIT")
	bodies := run(conn, wayText, "SELECT id, body FROM entries ORDER BY id", nil).Rows
	mustExec(t, other, "DELETE FROM entries WHERE id = 70")
	mustExec(t, other, "DELETE FROM tags WHERE id = 70")
	return a, bodies
}

// TestLockingReadsNarrowByWhatIsCommitted: a statement that locks sees rows that came after its transaction's snapshot, also in the
// tables by which another one is narrowed.
func TestLockingReadsNarrowByWhatIsCommitted(t *testing.T) {
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "")
	plainOther, sealedOther := w.conns(t, "")
	for _, c := range []*sql.Conn{plain, sealed, plainOther, sealedOther} {
		// A wait for a lock would be a fault of the test.
		if _, err := c.ExecContext(context.Background(), "SET innodb_lock_wait_timeout = 5"); err != nil {
			t.Fatal(err)
		}
	}
	for _, stmt := range []string{
		"UPDATE tags t JOIN entries e ON e.id = t.entry_id SET e.body = CONCAT(e.title, t.name) WHERE t.name = 'late'",
		"UPDATE entries e SET e.body = (SELECT CONCAT('x', MAX(t.name)) FROM tags t WHERE t.entry_id = e.id) WHERE e.user_id = 70",
		"SELECT e.id, UPPER(e.title), t.name FROM entries e JOIN tags t ON t.entry_id = e.id WHERE t.name = 'late' FOR UPDATE",
	} {
		want, wantBodies := lateRows(t, plain, plainOther, stmt)
		got, gotBodies := lateRows(t, sealed, sealedOther, stmt)
		if !reflect.DeepEqual(got, want) || !reflect.DeepEqual(gotBodies, wantBodies) {
			t.Errorf("%s\ngot  %+v %q\nwant %+v %q", stmt, got, gotBodies, want, wantBodies)
		}
		if len(want.Rows) == 0 && want.Affected == 0 {
			t.Errorf("%s: on plaintext the late row is not seen", stmt)
		}
	}
}
