package endtoend

import (
	"bytes"
	"context"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"database/sql"
	sqldriver "database/sql/driver"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/internal/testcert"
	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/keystore/tables"
	"latchkey/rewrite/logical"
)

// TestMemory searches the memory of the running program for keys, tokens and passwords in every form: while keys are in use,
// where the search has to find them, and after they were locked or their connections closed and the cache has expired, where
// it may find none. What the program holds for the length of a statement only is looked for while half a packet with it has
// arrived.
func TestMemory(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("the program keeps its memory from every account but root")
	}
	for name, encrypted := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			left := newMemory(t, encrypted).run(t)
			if len(left) == 0 {
				return
			}
			// What the program itself forgets to wipe is there every time. A copy that the runtime makes when it moves a stack in
			// the middle of a derivation is a matter of chance (docs/threat-model.md): it does not hit one secret twice.
			for what, where := range newMemory(t, encrypted).run(t) {
				if first, twice := left[what]; twice {
					t.Errorf("given up, and still there: %s, at %s, and in another process at %s", what, first, where)
				}
			}
		})
	}
}

// memory is a program whose memory is searched, and what is looked for in it.
type memory struct {
	server *mariadbtest.Server
	db     string
	proxy  *latchkeytest.Proxy
	params string // of a DSN
	tls    *tls.Config
	traces []*trace
}

// trace is one form of a secret.
type trace struct {
	what   string
	whole  []byte
	pieces [][]byte
	// passing says that the program holds it only while it carries out a statement.
	passing bool
}

func newMemory(t *testing.T, encrypted bool) *memory {
	m := &memory{server: mariadbtest.Shared(t)}
	m.db = m.server.NewDatabase(t)
	m.server.Exec(t, "CREATE TABLE "+m.db+".entries (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, "+
		"title VARCHAR(100) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin, body TEXT)")
	t.Cleanup(func() { m.server.Exec(t, "DROP DATABASE IF EXISTS "+m.db+"_keys") })
	m.proxy = latchkeytest.Write(t, latchkeytest.Config{
		Server: m.server, Accounts: []string{"root"}, Shipped: true,
		Keystore:  "  database: " + m.db + "_keys\n  password: {memory: 8MiB, time: 1, threads: 4}\n  cache: {size: 100, ttl: 1s}",
		Databases: "  " + m.db + ":\n    entries:\n      owner: user_id\n      columns:\n        title: {search: equality}\n        body: {}",
	})
	if encrypted {
		certs := testcert.New(t)
		pair, err := certs.Issue("proxy", "127.0.0.1")
		if err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(m.proxy.Config)
		if err != nil {
			t.Fatal(err)
		}
		line := "  address: " + m.proxy.Address + "\n"
		text = bytes.Replace(text, []byte(line), []byte(line+"  tls: {cert: "+pair.CertFile+", key: "+pair.KeyFile+", require: true}\n"), 1)
		if err := os.WriteFile(m.proxy.Config, text, 0o600); err != nil {
			t.Fatal(err)
		}
		m.tls = &tls.Config{RootCAs: certs.Pool(), ServerName: "127.0.0.1"}
		if err := mysql.RegisterTLSConfig(m.db, m.tls); err != nil {
			t.Fatal(err)
		}
		m.params = "&tls=" + m.db
	}
	m.proxy.Prepare(t)
	m.proxy.Serve(t)
	return m
}

// run uses keys that came in every way, gives them up again, and returns what is left of them and where.
func (m *memory) run(t *testing.T) (left map[string]string) {
	m.keysOfTheirOwn(t)
	m.owners(t)
	m.refused(t)
	m.control(t)
	left = m.gone(t)
	m.guarded(t)
	return left
}

// conn opens a connection. attributes may be empty.
func (m *memory) conn(t *testing.T, asText bool, attributes string) *sql.Conn {
	t.Helper()
	params := fmt.Sprintf("?interpolateParams=%t", asText) + m.params
	if attributes != "" {
		params += "&connectionAttributes=" + attributes
	}
	return m.proxy.Conn(t, m.db, params, "")
}

// keysOfTheirOwn pushes account keys, looks for what is derived of them while they are in use, and gives them up.
func (m *memory) keysOfTheirOwn(t *testing.T) {
	ctx := context.Background()
	var conns []*sql.Conn
	var held []*trace
	use := func(how string, c *sql.Conn, text string) {
		t.Helper()
		m.useKey(t, c, "1")
		conns = append(conns, c)
		held = append(held, m.accountKey(t, how, text)...)
	}
	for _, push := range []struct {
		how    string
		asText bool
		stmt   string
	}{
		{"pushed as text", true, "SET @latchkey = ?"},
		{"pushed prepared", false, "SET @latchkey = ?"},
		{"added as text", true, "CALL latchkey.add_key(?)"},
		{"added prepared", false, "CALL latchkey.add_key(?)"},
		{"pushed beside another variable", true, "SET @latchkey = ?, @other = 1"},
		{"pushed prepared beside another variable", false, "SET @latchkey = ?, @other = 1"},
	} {
		text, c := latchkeytest.NewAccountKey(t), m.conn(t, push.asText, "")
		if _, err := c.ExecContext(ctx, push.stmt, text); err != nil {
			t.Fatalf("%s: %v", push.how, err)
		}
		use(push.how, c, text)
	}
	attribute := latchkeytest.NewAccountKey(t)
	use("sent as attribute", m.conn(t, true, "latchkey:"+attribute), attribute)
	c := m.conn(t, true, "")
	var fresh string
	if err := c.QueryRowContext(ctx, "CALL latchkey.new_key()").Scan(&fresh); err != nil {
		t.Fatal(err)
	}
	prepared, err := c.PrepareContext(ctx, "SET @latchkey = '"+fresh+"'")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := prepared.ExecContext(ctx); err != nil {
		t.Fatal(err)
	}
	prepared.Close()
	use("made by the proxy and prepared as a literal", c, fresh)
	m.wantHeld(t, held)
	giveUp(t, conns)
}

// useKey seals, searches and opens with what is on the keyring of c.
func (m *memory) useKey(t *testing.T, c *sql.Conn, owner string) {
	t.Helper()
	mustExec(t, c, "INSERT INTO entries (user_id, title, body) VALUES ("+owner+", 'a title', 'a body')")
	if rows := run(c, wayText, "SELECT body FROM entries WHERE title = 'a title'", nil).Rows; len(rows) == 0 {
		t.Error("no rows")
	}
}

// giveUp locks every other connection and closes the rest.
func giveUp(t *testing.T, conns []*sql.Conn) {
	t.Helper()
	for i, c := range conns {
		if i%2 == 0 {
			mustExec(t, c, "CALL latchkey.lock()")
			continue
		}
		_ = c.Raw(func(any) error { return sqldriver.ErrBadConn }) // closes it: it must not go back into the pool
	}
}

// owners enrols owners, unlocks them in every way, looks for what is derived of their keys, and gives them up.
func (m *memory) owners(t *testing.T) {
	vault := m.openVault(t)
	var held []*trace
	var conns []*sql.Conn
	for owner, asText := range map[string]bool{"21": true, "22": false} {
		how := map[bool]string{true: " as text", false: " prepared"}[asText]
		// call unlocks the owner on a connection of its own and gives the token and the recovery code.
		call := func(name string, args ...any) (token, code string) {
			t.Helper()
			c := m.conn(t, asText, "")
			answer := make([]sql.NullString, 5)
			into := []any{&answer[0], &answer[1], &answer[2], &answer[3], &answer[4]}
			if name == "unlock" {
				into = into[:4]
			}
			marks := "?" + strings.Repeat(", ?", len(args))
			if err := c.QueryRowContext(context.Background(), "CALL latchkey."+name+"("+marks+")", append([]any{owner}, args...)...).Scan(into...); err != nil {
				t.Fatalf("%s%s: %v", name, how, err)
			}
			token, code = answer[2].String, answer[4].String
			m.token(t, name+how, token)
			if code != "" {
				m.passing(name+how+": recovery code", []byte(code))
			}
			m.useKey(t, c, owner)
			conns = append(conns, c)
			return token, code
		}
		first, second, third := m.password("first"+how), m.password("second"+how), m.password("third"+how)
		_, code := call("enroll", first)
		call("unlock", first)
		call("change_password", first, second)
		wrong := m.password("wrong" + how)
		if _, err := m.conn(t, asText, "").ExecContext(context.Background(), "CALL latchkey.unlock(?, ?)", owner, wrong); mariadbtest.Code(err) != 9707 {
			t.Errorf("unlock with a wrong password: %v", err)
		}
		token, _ := call("recover", code, third)
		again := m.conn(t, asText, "")
		mustExecArgs(t, again, "SET @latchkey = ?", token)
		m.useKey(t, again, owner)
		attribute := m.conn(t, asText, "latchkey:"+token)
		m.useKey(t, attribute, owner)
		conns = append(conns, again, attribute)
		opened, err := vault.Unlock(context.Background(), keystore.Client{Owner: owner}, []byte(third))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, m.userKey("enrolled"+how, rootOf(opened.Key, "cell"), rootOf(opened.Key, "search"))...)
		opened.Key.Release()
	}
	m.wantHeld(t, held)
	giveUp(t, conns)
}

func mustExecArgs(t *testing.T, c *sql.Conn, stmt string, args ...any) {
	t.Helper()
	if _, err := c.ExecContext(context.Background(), stmt, args...); err != nil {
		t.Fatalf("%s: %v", stmt, err)
	}
}

// refused sends secrets in statements that are refused, and leaves out their ends.
func (m *memory) refused(t *testing.T) {
	text := m.conn(t, true, "")
	prepared := m.conn(t, false, "")
	for _, stmt := range []string{
		"SELECT %s", "INSERT INTO entries (user_id) VALUES (%s)", "CALL latchkey.unlock('1', %s", "CALL latchkey.unlock('1', 'x', 'y', %s)",
		"CALL latchkey.unlock(1, CONCAT(%s))", "CALL latchkey.nothing(%s)", "SET @latchkey = CONCAT(%s)", "SET @latchkey = %s'", "SELECT @latchkey := %s",
	} {
		key := latchkeytest.NewAccountKey(t)
		m.passing("account key in "+stmt, []byte(key))
		for _, c := range []*sql.Conn{text, prepared} {
			if got := run(c, wayText, fmt.Sprintf(stmt, "'"+key+"'"), nil); got.Code == 0 {
				t.Errorf(stmt+" was answered", "KEY")
			}
		}
		if p, err := prepared.PrepareContext(context.Background(), fmt.Sprintf(stmt, "'"+key+"'")); err == nil {
			p.Close()
		}
	}
	key := latchkeytest.NewAccountKey(t)
	m.passing("account key as a parameter", []byte(key))
	for _, stmt := range []string{"SELECT ?", "INSERT INTO entries (user_id) VALUES (?)", "INSERT INTO entries (title) VALUES (?)"} {
		if got := run(prepared, wayPrepared, stmt, []any{key}); got.Code == 0 {
			t.Errorf("%s was answered", stmt)
		}
	}
}

// accountKey registers the forms of an account key, and returns those that are held while the key is in use.
func (m *memory) accountKey(t *testing.T, how, text string) []*trace {
	t.Helper()
	k, err := keystore.ParseAccountKey([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	secret := bytes.Clone(reflect.ValueOf(k).Elem().FieldByName("secret").Elem().Bytes())
	m.passing(how+": account key as text", []byte(text))
	m.passing(how+": account key", secret)
	return m.userKey(how, derived(secret, "latchkey/v1/cell-root"), derived(secret, "latchkey/v1/search-root"))
}

// userKey registers the forms of a user key, and returns those that are held while the key is in use.
func (m *memory) userKey(how string, cellRoot, searchRoot []byte) []*trace {
	m.passing(how+": private key for cells of an absent owner", derived(cellRoot, "latchkey/v1/away-key"))
	held := []*trace{
		newTrace(how+": cell root", cellRoot),
		newTrace(how+": search root", searchRoot),
		newTrace(how+": column key of title", derived(cellRoot, "latchkey/v1/cell", []byte("entries.title"), []byte{0, 0})),
		newTrace(how+": column key of body", derived(cellRoot, "latchkey/v1/cell", []byte("entries.body"), []byte{0, 0})),
		newTrace(how+": index key of title", derived(searchRoot, "latchkey/v1/tag", []byte("entries.title"), []byte("utf8mb4_bin"),
			[]byte(keystore.PadSpace), binary.BigEndian.AppendUint32(nil, logical.WeightVersion))),
	}
	m.traces = append(m.traces, held...)
	return held
}

// rootOf looks into a user key of this process.
func rootOf(k *keystore.UserKey, name string) []byte {
	return bytes.Clone(reflect.ValueOf(k).Elem().FieldByName("roots").Elem().FieldByName(name).Bytes())
}

// derived is the derivation of docs/format.md under the realm main.
func derived(secret []byte, label string, parts ...[]byte) []byte {
	info := cell.AppendPart(cell.AppendPart(nil, []byte(label)), []byte("main"))
	for _, p := range parts {
		info = cell.AppendPart(info, p)
	}
	key, err := hkdf.Key(sha256.New, secret, nil, string(info), 32)
	if err != nil {
		panic(err)
	}
	return key
}

// token registers the forms of a token.
func (m *memory) token(t *testing.T, how, text string) {
	t.Helper()
	raw, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(text, "LKT1-"))
	if err != nil || len(raw) != 48 {
		t.Fatalf("%s: %d bytes of a token, %v", how, len(raw), err)
	}
	m.passing(how+": token as text", []byte(strings.TrimPrefix(text, "LKT1-")))
	m.passing(how+": secret of the token", raw[16:])
}

// password makes and registers a password.
func (m *memory) password(how string) string {
	var random [24]byte
	rand.Read(random[:])
	text := hex.EncodeToString(random[:])
	m.passing(how+" password", []byte(text))
	return text
}

// openVault opens the program's keystore, so that the test can see the user keys of owners.
func (m *memory) openVault(t *testing.T) *keystore.Vault {
	t.Helper()
	fleet, _, err := keystore.LoadFleetSecret(filepath.Join(m.proxy.Dir, "fleet.secret"))
	if err != nil {
		t.Fatal(err)
	}
	store := tables.New(tables.Config{
		Address: m.server.Addr(), User: "root", Password: func() (string, error) { return "", nil },
		Database: m.db + "_keys", Realm: "main", Fingerprint: fleet.Fingerprint("main"),
	})
	t.Cleanup(store.Close)
	vault, err := keystore.NewVault(keystore.VaultConfig{
		Realm: "main", Fleet: fleet, Store: store, Rand: rand.Reader, TokenTTL: time.Hour, CacheSize: 1, CacheTTL: time.Second,
		Cost: keystore.PasswordCost{Memory: 8 << 10, Time: 1, Threads: 4},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(vault.Close)
	return vault
}
