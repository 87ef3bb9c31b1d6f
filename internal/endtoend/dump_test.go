package endtoend

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const (
	dumpTables = "CREATE TABLE notes (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100) DEFAULT 'none', body TEXT, amount DECIMAL(10,2), stamp TIMESTAMP NULL, KEY (title), UNIQUE KEY (user_id, title)) CHARACTER SET utf8mb4;" +
		"CREATE TABLE people (id INT PRIMARY KEY, email VARCHAR(100) NOT NULL UNIQUE) CHARACTER SET utf8mb4;" +
		"CREATE VIEW titles AS SELECT id, title FROM notes"
	dumpPolicy = `    notes:
      owner: user_id
      columns: {title: {search: equality}, body: {}, amount: {}, stamp: {}}
    people:
      columns: {email: {key: "service:app", search: equality}}
`
)

// dumped is a database with cells that is dumped and restored.
type dumped struct {
	*ledger
	rows map[string]string // by query, what the application sees
}

// dumpQueries are what the application asks before and after. The database is current.
var dumpQueries = []string{
	"SELECT id, user_id, title, body, amount, stamp FROM notes ORDER BY id", "SELECT id FROM notes WHERE title = 'secret \u00fc'", "SELECT id, email FROM people WHERE email = 'secret@example.org'",
	"SELECT title FROM titles WHERE id = 2", "SELECT SUM(amount) FROM notes", "SHOW CREATE TABLE notes", "SHOW CREATE TABLE people",
}

func newDumped(t *testing.T) *dumped {
	t.Helper()
	server := mariadbtest.Start(t)
	d := &dumped{ledger: &ledger{server: server, db: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}}
	server.Exec(t, "USE "+d.db+";"+dumpTables, "CREATE USER backup@127.0.0.1 IDENTIFIED BY 'backup-password'", "GRANT ALL ON *.* TO backup@127.0.0.1")
	d.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + d.db + ":\n" + dumpPolicy, Extra: "accounts:\n  backup: {raw: true}"})
	conn := d.proxy.Conn(t, d.db, "", d.key)
	mustExec(t, conn, "SET time_zone = '+03:00'")
	mustExec(t, conn, "INSERT INTO notes (user_id, title, body, amount, stamp) VALUES (1, 'secret \u00fc', 'secret ''body''\\r\\n\\0', 10.50, '2026-07-01 12:00:00'), (1, '', NULL, NULL, NULL)")
	mustExec(t, conn, "INSERT INTO notes (user_id) VALUES (2)")
	mustExec(t, conn, "INSERT INTO people VALUES (1, 'secret@example.org')")
	d.rows = d.ask(t, d.db)
	return d
}

// ask asks all of dumpQueries of a database, with the key.
func (d *dumped) ask(t *testing.T, db string) map[string]string {
	t.Helper()
	conn := d.proxy.Conn(t, db, "", d.key)
	mustExec(t, conn, "SET time_zone = '+00:00'")
	all := make(map[string]string)
	for _, query := range dumpQueries {
		got := run(conn, wayText, query, nil)
		if got.Code != 0 {
			t.Fatalf("%s: %d %s", query, got.Code, got.Text)
		}
		var text strings.Builder
		for _, row := range got.Rows {
			text.WriteString(strings.Join(row, "|") + "\n")
		}
		all[query] = text.String()
	}
	return all
}

// client runs a client program as the raw account, straight to the server or through Latchkey.
func (d *dumped) client(t *testing.T, stdin string, raw bool, name string, args ...string) string {
	t.Helper()
	address := d.server.Addr()
	if raw {
		address = d.proxy.Address
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	cmd := exec.CommandContext(ctx, name, append([]string{"--no-defaults", "--protocol=tcp", "--host=" + host, "--port=" + port, "--user=backup"}, args...)...)
	cmd.Env = append(os.Environ(), "MYSQL_PWD=backup-password")
	cmd.Stdin = strings.NewReader(stdin)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, stderr.String())
	}
	return stdout.String()
}

// stored is what stands in a database: definitions and bytes.
func (d *dumped) stored(t *testing.T, db string) string {
	t.Helper()
	var all strings.Builder
	for _, query := range []string{
		"SHOW CREATE TABLE " + db + ".notes", "SHOW CREATE TABLE " + db + ".people",
		"SELECT id, user_id, HEX(title), HEX(body), HEX(amount), HEX(stamp) FROM " + db + ".notes ORDER BY id", "SELECT id, HEX(email) FROM " + db + ".people",
	} {
		for _, row := range d.server.Query(t, query) {
			all.WriteString(strings.Join(row, "|") + "\n")
		}
	}
	return all.String()
}

// TestDumpAndRestore dumps with raw access and restores into a database of another name, in every way that the documents name:
// definitions, annotations, CHECKs and cells are the same, and with the policy for the new name the application sees what it saw.
func TestDumpAndRestore(t *testing.T) {
	d := newDumped(t)
	before := d.stored(t, d.db)
	for name, way := range map[string]struct {
		program string
		raw     bool // through Latchkey
		options []string
	}{
		"mariadb-dump from the server":             {"mariadb-dump", false, []string{"--single-transaction", "--hex-blob"}},
		"mysqldump through Latchkey":               {"mysqldump", true, []string{"--single-transaction", "--hex-blob"}},
		"mariadb-dump through Latchkey with locks": {"mariadb-dump", true, []string{"--hex-blob", "--routines", "--events", "--triggers"}},
		"without hexadecimal digits":               {"mariadb-dump", true, []string{"--single-transaction"}},
		"one row a statement, with column names":   {"mariadb-dump", false, []string{"--hex-blob", "--skip-extended-insert", "--complete-insert"}},
	} {
		t.Run(name, func(t *testing.T) {
			dump := d.client(t, "", way.raw, way.program, append(way.options, d.db)...)
			if strings.Contains(dump, "secret") || !strings.Contains(dump, "latchkey:v1") {
				t.Errorf("the dump holds plaintext or no annotation:\n%.3000s", dump)
			}
			other := d.server.NewDatabase(t)
			d.client(t, dump, !way.raw, "mariadb", other)
			if after := d.stored(t, other); after != before {
				t.Errorf("got\n%s\nwant\n%s", after, before)
			}
			// Nothing that bypasses Latchkey writes plaintext there either.
			if _, err := d.server.DB().Exec("UPDATE " + other + ".notes SET title = 'plain' WHERE id = 1"); mariadbtest.Code(err) != 4025 {
				t.Errorf("the CHECK of a restored table says %v, want 4025", err)
			}
			d.edit(t, "databases:\n", "databases:\n  "+other+":\n"+dumpPolicy)
			d.reload(t)
			d.awaitTable(t, other)
			after := d.ask(t, other)
			for query, want := range d.rows {
				if after[query] != want {
					t.Errorf("%s: got\n%s\nwant\n%s", query, after[query], want)
				}
			}
		})
	}
}

// reload has the policy read again, until it is taken: as long as the schema that the proxy knows still has the tables of a database
// that was dropped just now, a policy without them is refused.
func (d *dumped) reload(t *testing.T) {
	t.Helper()
	count := strings.Count(d.proxy.Log(), "policy reloaded")
	for i := 0; strings.Count(d.proxy.Log(), "policy reloaded") == count; i++ {
		if i == 1000 {
			t.Fatalf("the policy is not reloaded:\n%s", d.proxy.Log())
		}
		if i%100 == 0 {
			if err := d.proxy.Signal(syscall.SIGHUP); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// awaitTable waits until the proxy knows of restored tables.
func (d *dumped) awaitTable(t *testing.T, db string) {
	t.Helper()
	conn := d.proxy.Conn(t, db, "", d.key)
	for i := 0; ; i++ {
		got := run(conn, wayText, "SELECT title FROM notes WHERE id = 1", nil)
		if len(got.Rows) == 1 && strings.Contains(got.Rows[0][0], "secret") {
			return
		}
		if i == 1000 {
			t.Fatalf("the restored tables are not seen: %+v", got)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// TestRestoreWithoutPolicy: under a name that the policy does not know, the annotation alone protects. Columns under the user's key
// open, those under a service key and searches do not, and nothing is written in plaintext.
func TestRestoreWithoutPolicy(t *testing.T) {
	d := newDumped(t)
	other := d.server.NewDatabase(t)
	d.client(t, d.client(t, "", true, "mariadb-dump", "--hex-blob", d.db), true, "mariadb", other)
	d.awaitTable(t, other)
	conn := d.proxy.Conn(t, other, "", d.key)
	if got := run(conn, wayText, "SELECT body FROM notes WHERE id = 1", nil); len(got.Rows) != 1 || !strings.Contains(got.Rows[0][0], "secret") {
		t.Errorf("a column under the user's key: %+v", got)
	}
	if got := run(conn, wayText, "SELECT email FROM people", nil); got.Code != 9702 {
		t.Errorf("a column under a service key: %d, want 9702", got.Code)
	}
	if got := run(conn, wayText, "SELECT id FROM notes WHERE title = 'secret \u00fc'", nil); len(got.Rows) != 1 {
		t.Errorf("a search: %+v", got)
	}
	if got := run(conn, wayText, "INSERT INTO people VALUES (2, 'secret2')", nil); got.Code != 0 {
		t.Errorf("writing: %d %s", got.Code, got.Text)
	}
	if got := d.server.Query(t, "SELECT COUNT(*) FROM "+other+".people WHERE email LIKE '%secret%'"); got[0][0] != "0" {
		t.Error("plaintext is stored")
	}
}

// TestDumpInPlaintext is taken with an ordinary account and the key, and restored the same way: everything is sealed anew.
func TestDumpInPlaintext(t *testing.T) {
	d := newDumped(t)
	d.server.Exec(t, "CREATE USER app@127.0.0.1 IDENTIFIED BY 'app-password'", "GRANT ALL ON *.* TO app@127.0.0.1")
	d.proxy.Stop(t)
	writeText(t, filepath.Join(d.proxy.Dir, "app-account.key"), d.key)
	d.edit(t, "  backup: {raw: true}", "  backup: {key_file: "+filepath.Join(d.proxy.Dir, "app-account.key")+"}")
	d.proxy.Serve(t)
	dump := d.client(t, "", true, "mariadb-dump", "--single-transaction", d.db, "notes", "people")
	if !strings.Contains(dump, "secret") || strings.Contains(dump, "latchkey:v1") {
		t.Errorf("the dump is not one of plaintext:\n%.3000s", dump)
	}
	before := d.stored(t, d.db)
	d.client(t, dump, true, "mariadb", d.db)
	if after := d.stored(t, d.db); after == before || strings.Contains(after, "736563726574") || strings.Count(after, "latchkey:v1") != strings.Count(before, "latchkey:v1") {
		t.Errorf("after the restore there is\n%s", after)
	}
	for query, want := range d.rows {
		if after := d.ask(t, d.db); after[query] != want {
			t.Errorf("%s: got\n%s\nwant\n%s", query, after[query], want)
		}
	}
}
