package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// killed is a proxy behind a gate that is killed again and again, and another one that stays.
type killed struct {
	server       *mariadbtest.Server
	gate         *gate
	proxy, other *latchkeytest.Proxy
	db, list     string
	owners       int
}

// killedOwner is an owner with a sealed row; the password is "old".
type killedOwner struct{ name, keyID, token, code string }

// killedStep is a procedure and how its two outcomes look.
type killedStep struct {
	name string
	// enrolled says that there is an owner before, unlocked that the owner is unlocked on the connection that calls.
	enrolled, unlocked bool
	call               func(o *killedOwner) string
	before, after      func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn)
}

func newKilled(t *testing.T, grace string) *killed {
	t.Helper()
	k := &killed{server: mariadbtest.Shared(t), list: filepath.Join(t.TempDir(), "shred")}
	k.db = k.server.NewDatabase(t)
	k.server.Exec(t, "CREATE TABLE "+k.db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, title VARCHAR(100))")
	t.Cleanup(func() { k.server.Exec(t, "DROP DATABASE IF EXISTS "+k.keys()) })
	k.gate = newGate(t, k.server.Addr(), k.keys())
	config := latchkeytest.Config{
		Server: k.server, Accounts: []string{"root"},
		Keystore: "  database: " + k.keys() + "\n  admins: [root]\n  forget_grace: " + grace + "\n  shred_list: " + k.list +
			"\n  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: "  " + k.db + ":\n    entries:\n      owner: user_id\n      columns:\n        title: {search: equality}",
	}
	k.other = latchkeytest.Start(t, config)
	config.Backend = k.gate.listener.Addr().String()
	k.proxy = latchkeytest.Write(t, config)
	shareFleet(t, k.other, k.proxy)
	return k
}

// shareFleet gives a proxy that is not started yet the fleet secret of another one.
func shareFleet(t *testing.T, from, to *latchkeytest.Proxy) {
	t.Helper()
	secret, err := os.ReadFile(filepath.Join(from.Dir, "fleet.secret"))
	if err == nil {
		err = os.WriteFile(filepath.Join(to.Dir, "fleet.secret"), secret, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func (k *killed) keys() string { return k.db + "_keys" }

// serve starts the proxy and waits until it has tended the keystore, which it does once at start.
func (k *killed) serve(t *testing.T) {
	t.Helper()
	k.gate.arm(-1)
	k.proxy.Serve(t)
	waitFor(t, "the proxy to tend the keystore", func() bool {
		return slices.ContainsFunc(k.gate.seen(), func(s string) bool { return strings.HasPrefix(s, "DELETE FROM `"+k.keys()+"`.`attempts`") })
	})
}

// waitFor waits until something is so.
func waitFor(t *testing.T, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !so(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("waited for " + what + " for a minute")
		}
	}
}

// newOwner enrolls an owner with a row through the proxy that stays, or only names one.
func (k *killed) newOwner(t *testing.T, enrolled bool) *killedOwner {
	t.Helper()
	k.owners++
	o := &killedOwner{name: fmt.Sprint(k.owners)}
	if !enrolled {
		return o
	}
	c := k.conn(t, k.other)
	defer c.Close()
	row, err := keyCall(c, "CALL latchkey.enroll("+o.name+", 'old')")
	if err != nil {
		t.Fatal(err)
	}
	o.keyID, o.token, o.code = row[1], row[2], row[4]
	mustExec(t, c, "INSERT INTO entries (user_id, title) VALUES ("+o.name+", 'kept')")
	return o
}

func (k *killed) conn(t *testing.T, p *latchkeytest.Proxy) *sql.Conn {
	t.Helper()
	return p.Conn(t, k.db, "?timeout=30s", "")
}

// keyCall gives the first row of a procedure's answer.
func keyCall(c *sql.Conn, query string, args ...any) ([]string, error) {
	rows, err := c.QueryContext(context.Background(), query, args...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	row := make([]string, len(columns))
	into := make([]any, len(columns))
	for i := range row {
		into[i] = &row[i]
	}
	if rows.Next() {
		err = rows.Scan(into...)
	}
	return row, errors.Join(err, rows.Err())
}

// wantCall runs a procedure that must answer with an error number, 0 for none, and gives the first row.
func wantCall(t *testing.T, c *sql.Conn, code int, query string) []string {
	t.Helper()
	row, err := keyCall(c, query)
	if got := mariadbtest.Code(err); got != code || code == 0 && err != nil {
		t.Errorf("%s: error %v, want %d", query, err, code)
	}
	return row
}

// opens checks that the owner's row opens on a connection where the owner is unlocked.
func opens(t *testing.T, c *sql.Conn, o *killedOwner) {
	t.Helper()
	var title string
	err := c.QueryRowContext(context.Background(), "SELECT title FROM entries WHERE title = 'kept' AND user_id = "+o.name).Scan(&title)
	if err != nil || title != "kept" {
		t.Errorf("owner %s: the row from before: %q, %v", o.name, title, err)
	}
}

func unlock(o *killedOwner, password string) string {
	return "CALL latchkey.unlock(" + o.name + ", '" + password + "')"
}

// forgets counts the lines of the shred list that forget.
func (k *killed) forgets(t *testing.T) int {
	t.Helper()
	b, err := os.ReadFile(k.list)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(b, []byte("forget "))
}

var killedSteps = []killedStep{
	{
		name: "enroll",
		call: func(o *killedOwner) string { return "CALL latchkey.enroll(" + o.name + ", 'old')" },
		before: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "old"))
			wantCall(t, c, 0, "CALL latchkey.enroll("+o.name+", 'old')")
			wantCall(t, c, 0, unlock(o, "old"))
		},
		after: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 0, unlock(o, "old"))
			wantCall(t, c, 0, "CALL latchkey.add_slot("+o.name+", 'recovery')")
		},
	},
	{
		name: "change_password", enrolled: true,
		call: func(o *killedOwner) string { return "CALL latchkey.change_password(" + o.name + ", 'old', 'new')" },
		before: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "new"))
			mustExec(t, c, "SET @latchkey = '"+o.token+"'")
			wantCall(t, c, 0, unlock(o, "old"))
			opens(t, c, o)
			wantCall(t, c, 0, "CALL latchkey.change_password("+o.name+", 'old', 'new')")
		},
		after: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "old"))
			wantCall(t, c, 9708, "SET @latchkey = '"+o.token+"'")
			wantCall(t, c, 0, unlock(o, "new"))
			opens(t, c, o)
			wantCall(t, c, 0, "CALL latchkey.recover("+o.name+", '"+o.code+"', 'newer')")
		},
	},
	{
		name: "recover", enrolled: true,
		call: func(o *killedOwner) string { return "CALL latchkey.recover(" + o.name + ", '" + o.code + "', 'new')" },
		before: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "new"))
			wantCall(t, c, 0, unlock(o, "old"))
			wantCall(t, c, 0, "CALL latchkey.recover("+o.name+", '"+o.code+"', 'new')")
			opens(t, c, o)
		},
		after: func(t *testing.T, _ *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "old"))
			wantCall(t, c, 0, unlock(o, "new"))
			opens(t, c, o)
			// The code that was on its way is lost, but not the means to get another.
			code := wantCall(t, c, 0, "CALL latchkey.add_slot("+o.name+", 'recovery')")[2]
			wantCall(t, c, 0, "CALL latchkey.recover("+o.name+", '"+code+"', 'newer')")
		},
	},
	{
		name: "rotate", enrolled: true, unlocked: true,
		call: func(o *killedOwner) string { return "CALL latchkey.rotate(" + o.name + ")" },
		before: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) {
			k.rotated(t, o, c, false)
			wantCall(t, c, 0, "CALL latchkey.rotate("+o.name+")")
			k.rotated(t, o, c, true)
		},
		after: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) { k.rotated(t, o, c, true) },
	},
	{
		name: "forget", enrolled: true, unlocked: true,
		call: func(o *killedOwner) string { return "CALL latchkey.forget(" + o.name + ")" },
		before: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 0, unlock(o, "old"))
			opens(t, c, o)
			wantCall(t, c, 0, "CALL latchkey.forget("+o.name+")")
			wantCall(t, c, 9707, unlock(o, "old"))
		},
		after: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) {
			wantCall(t, c, 9707, unlock(o, "old"))
			wantCall(t, c, 0, "CALL latchkey.restore("+o.name+")")
			wantCall(t, c, 0, unlock(o, "old"))
			opens(t, c, o)
			wantCall(t, c, 0, "CALL latchkey.forget("+o.name+")")
		},
	},
}

// rotated checks that an owner's password, token and rows are as they were, under another key after a rotation.
func (k *killed) rotated(t *testing.T, o *killedOwner, c *sql.Conn, want bool) {
	t.Helper()
	mustExec(t, c, "SET @latchkey = '"+o.token+"'")
	opens(t, c, o)
	row := wantCall(t, c, 0, unlock(o, "old"))
	if (row[1] != o.keyID) != want {
		t.Errorf("owner %s: key %s after %s, rotated should be %v", o.name, row[1], o.keyID, want)
	}
	opens(t, c, o)
}

// destroyedStep is forget without grace: the key slots are destroyed at once.
var destroyedStep = killedStep{
	name: "forget at once", enrolled: true, unlocked: true,
	call: func(o *killedOwner) string { return "CALL latchkey.forget(" + o.name + ")" },
	before: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) {
		wantCall(t, c, 0, unlock(o, "old"))
		opens(t, c, o)
		wantCall(t, c, 0, "CALL latchkey.forget("+o.name+")")
		k.destroyed(t, o, c)
	},
	after: func(t *testing.T, k *killed, o *killedOwner, c *sql.Conn) { k.destroyed(t, o, c) },
}

// destroyed checks that nothing of an owner's key slots is left.
func (k *killed) destroyed(t *testing.T, o *killedOwner, c *sql.Conn) {
	t.Helper()
	wantCall(t, c, 9707, unlock(o, "old"))
	wantCall(t, c, 9715, "CALL latchkey.restore("+o.name+")")
	if rows := k.server.Query(t, "SELECT COUNT(*) FROM "+k.keys()+".slots WHERE owner = '"+o.name+"'"); rows[0][0] != "0" {
		t.Errorf("owner %s: %s key slots are left", o.name, rows[0][0])
	}
}

// TestKilledBetweenStatements: a proxy that is killed behind any statement of a procedure over an owner leaves the owner as
// before or as after, for the proxy that is started again and for the one that went on, and nothing to be mended by hand.
func TestKilledBetweenStatements(t *testing.T) {
	k := newKilled(t, "168h")
	for i := range killedSteps {
		t.Run(killedSteps[i].name, func(t *testing.T) { k.everywhere(t, &killedSteps[i]) })
	}
	at := newKilled(t, "0s")
	t.Run(destroyedStep.name, func(t *testing.T) { at.everywhere(t, &destroyedStep) })
}

// everywhere kills the proxy behind each statement of a procedure.
func (k *killed) everywhere(t *testing.T, step *killedStep) {
	k.serve(t)
	changed, unchanged := 0, 0
	for n := 0; ; n++ {
		o := k.newOwner(t, step.enrolled)
		forgets := k.forgets(t)
		finished, committed := k.killAt(t, step, o, n)
		if finished {
			if n < 5 {
				t.Errorf("%d statements, want at least those of a transaction", n-1)
			}
			break
		}
		k.serve(t)
		// Failures before the kill are not what this is about.
		k.server.Exec(t, "DELETE FROM "+k.keys()+".attempts")
		if committed {
			changed++
			if strings.HasPrefix(step.name, "forget") {
				forgets++
			}
		} else {
			unchanged++
		}
		if got := k.forgets(t); got != forgets {
			t.Errorf("behind statement %d: %d owners on the shred list after the restart, want %d", n, got, forgets)
		}
		c, other := k.conn(t, k.proxy), k.conn(t, k.other)
		if strings.HasPrefix(step.name, "forget") || !committed && !step.enrolled {
			// slots says nothing of who is not there.
		} else if _, err := keyCall(other, "CALL latchkey.slots("+o.name+")"); err != nil {
			t.Errorf("behind statement %d: the other proxy: %v", n, err)
		}
		if committed {
			step.after(t, k, o, c)
		} else {
			step.before(t, k, o, c)
		}
		c.Close()
		other.Close()
		if t.Failed() {
			t.Fatalf("killed behind statement %d, changed: %v", n, committed)
		}
	}
	if changed == 0 || unchanged == 0 {
		t.Errorf("%d kills before the change and %d behind it, want both", unchanged, changed)
	}
}

// killAt calls the procedure and kills the proxy behind the nth statement. finished is true when there is none, committed when
// the change was made.
func (k *killed) killAt(t *testing.T, step *killedStep, o *killedOwner, n int) (finished, committed bool) {
	t.Helper()
	c := k.conn(t, k.proxy)
	defer c.Close()
	if step.unlocked {
		mustExec(t, c, "SET @latchkey = '"+o.token+"'")
	}
	held := k.gate.arm(n)
	done := make(chan error, 1)
	go func() {
		_, err := keyCall(c, step.call(o))
		done <- err
	}()
	select {
	case err := <-done:
		if err != nil {
			t.Fatalf("%s: %v", step.name, err)
		}
		k.gate.arm(-1)
		return true, true
	case <-held:
	}
	if err := k.proxy.Kill(); err != nil {
		t.Fatal(err)
	}
	seen := k.gate.seen()
	k.gate.cut()
	if err := <-done; err == nil {
		t.Fatalf("%s answered although the proxy was killed behind statement %d", step.name, n)
	}
	change := slices.IndexFunc(seen, func(s string) bool {
		return strings.HasPrefix(s, "UPDATE `"+k.keys()+"`.`owners`") || strings.HasPrefix(s, "INSERT INTO `"+k.keys()+"`.`owners`")
	})
	return false, change >= 0 && slices.Contains(seen[change:], "COMMIT")
}
