package endtoend

import (
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"latchkey/internal/mariadbtest"
)

// smallStorage mounts memory-backed storage of so many bytes.
func smallStorage(t *testing.T, size int) string {
	t.Helper()
	dir := t.TempDir()
	// The evaluator's own user has to get there.
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	err := syscall.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d,mode=1777", size))
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
		t.Skip("mounting storage of a certain size takes the right to mount")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
	return dir
}

// refusedInTransaction runs a statement that Latchkey refuses inside a transaction, on the sealed side only: both sides are in the
// same state afterwards.
func (w *twin) refusedInTransaction(t *testing.T, how way, stmt string, want int, text string) {
	t.Helper()
	plain, sealed := w.conns(t, "")
	for _, c := range []*sql.Conn{plain, sealed} {
		mustExec(t, c, "START TRANSACTION")
		mustExec(t, c, "INSERT INTO tags (id, entry_id, name) VALUES (100, 1, 'before')")
		mustExec(t, c, "SAVEPOINT mine")
	}
	got := run(sealed, how, stmt, nil)
	if got.Code != want || !strings.Contains(got.Text, text) {
		t.Errorf("%v: %s: got %d %s, want %d with %q", how, stmt, got.Code, got.Text, want, text)
	}
	w.goesOn(t, plain, sealed, true)
	w.nothingLeft(t, stmt)
}

// TestStorageFull fills the evaluator's storage: by rows that are loaded, by a sort, by groups and by what a statement writes.
func TestStorageFull(t *testing.T) {
	dir := smallStorage(t, 6<<20)
	w := newBulk(t, mariadbtest.Shared(t), "evaluator: {dir: "+dir+"}\n")
	for i := range 10 {
		w.both(t, insertBulk(1000+60*i, 1059+60*i, 60_000)) // 36 MB together, more than is kept in memory
	}
	for _, stmt := range []string{
		"SELECT COUNT(*) FROM bulk b WHERE body LIKE '%zz%' AND id > 0",
		"DELETE FROM bulk WHERE body LIKE '%'",
		"SELECT a.body FROM bulk a, bulk b WHERE a.id <= 200 AND b.id <= 200 ORDER BY MD5(CONCAT(a.body, b.body)) LIMIT 1 OFFSET 39000",
		"SELECT COUNT(*) FROM (SELECT DISTINCT CONCAT(a.body, b.body) FROM bulk a, bulk b WHERE a.id <= 200 AND b.id <= 200) d",
		"UPDATE bulk SET body = CONCAT(body, '!') WHERE body LIKE '%' AND id < 1250",
	} {
		w.refusedInTransaction(t, wayText, stmt, 9711, "storage is full")
	}
	w.refusedInTransaction(t, wayPrepared, "SELECT COUNT(*) FROM bulk WHERE body LIKE '%zz%'", 9711, "storage is full")
	w.onlyCells(t, "full storage")
}

// TestBudgetsInsideATransaction breaks each of the limits.
func TestBudgetsInsideATransaction(t *testing.T) {
	w := newBulk(t, mariadbtest.Shared(t), "evaluator: {max_rows: 240, max_bytes: 350KiB, max_time: 1s}\n")
	w.both(t, insertBulk(1001, 1200, 100))
	for _, how := range []way{wayText, wayPrepared} {
		w.refusedInTransaction(t, how, "SELECT COUNT(*) FROM bulk WHERE LENGTH(body) > 3 AND id > 150", 9711, "more than 240 rows")
		w.refusedInTransaction(t, how, "SELECT COUNT(*) FROM bulk WHERE LENGTH(body) > 3 AND id > 0 AND k < 100", 9711, "more than 358400 bytes")
		w.refusedInTransaction(t, how, "UPDATE bulk SET body = CONCAT(body, body) WHERE body LIKE '%' AND id <= 150", 9711, "writes or returns more than 358400 bytes")
		w.refusedInTransaction(t, how, "DELETE FROM bulk WHERE body LIKE '%' AND id > 0", 9711, "more than")
		w.refusedInTransaction(t, how, longJoin, 9711, "longer than 1s")
		w.refusedInTransaction(t, how, "UPDATE bulk SET body = CONCAT(body, ("+longJoin+")) WHERE id < 3", 9711, "longer than 1s")
	}
}
