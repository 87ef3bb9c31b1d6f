package endtoend

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// procedureRequest is one statement for a driver; testdata/drivers/FORMAT.txt explains how.
type procedureRequest struct {
	how, sql string
	args     []string
}

// procedureResult is one result: no columns is an OK.
type procedureResult struct {
	columns []string
	rows    [][]string
}

// procedureAnswer is everything that a driver gave for a request, up to an error.
type procedureAnswer struct {
	results        []procedureResult
	code           string // empty is none
	state, message string // state is - where the driver has none
}

// procedureDriver opens a connection through a driver and gives what serves requests on it.
type procedureDriver struct {
	name string
	open func(t *testing.T, s side) func(procedureRequest) procedureAnswer
	// hows are the ways of sending a statement with arguments.
	hows []string
}

// TestKeyProceduresThroughDrivers calls every procedure through every driver, as text and with parameters, and uses the
// connection on after each.
func TestKeyProceduresThroughDrivers(t *testing.T) {
	b := newProcedureBench(t)
	both := []string{"text", "bound"}
	b.enrollShared(t)
	for _, d := range []procedureDriver{
		{"go, prepared", goProcedures(""), both},
		{"go, interpolated", goProcedures("&interpolateParams=true"), both},
		{"mariadb CLI", commandLineProcedures, []string{"text"}},
		{"PDO, emulated", phpProcedures("pdo-emulated"), both},
		{"PDO, native", phpProcedures("pdo-native"), both},
		{"PDO, unbuffered", phpProcedures("pdo-unbuffered"), both},
		{"mysqli", phpProcedures("mysqli"), both},
		{"mysql2, query", nodeProcedures("mysql2-query"), both},
		{"mysql2, execute", nodeProcedures("mysql2-execute"), both},
		{"mariadb for Node, query", nodeProcedures("mariadb-query"), both},
		{"mariadb for Node, execute", nodeProcedures("mariadb-execute"), both},
		{"PyMySQL", pythonProcedures("pymysql"), both},
		{"PyMySQL, streaming", pythonProcedures("pymysql-stream"), both},
		{"mysqlclient", pythonProcedures("mysqlclient"), both},
		{"mysqlclient, streaming", pythonProcedures("mysqlclient-stream"), both},
		{"Connector/C", connectorCProcedures("plain"), both},
		{"Connector/C, cursors", connectorCCursors, []string{"bound"}},
		{"Connector/J, text", javaProcedures("useServerPrepStmts=false"), []string{"text", "bound", "call"}},
		{"Connector/J, prepared", javaProcedures("useServerPrepStmts=true"), []string{"text", "bound", "call"}},
	} {
		t.Run(d.name, func(t *testing.T) {
			for _, how := range d.hows {
				t.Run(how, func(t *testing.T) {
					c := &procedureCaller{t: t, b: b, how: how, serve: d.open(t, b.sealedSide())}
					c.everything()
				})
			}
		})
	}
	b.nothingLeft(t)
}

func newProcedureBench(t *testing.T) *driverBench {
	t.Helper()
	server := mariadbtest.Shared(t)
	w := &twin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), protected: notesProtected}
	server.Exec(t, "USE "+w.sealed+";"+notesTable)
	b := &driverBench{twin: w, user: "keys_" + randomHex(), password: "p'\"w " + randomHex(), keyA: latchkeytest.NewAccountKey(t), keyB: latchkeytest.NewAccountKey(t)}
	w.proxy = latchkeytest.Start(t, latchkeytest.Config{
		Server: server, Accounts: []string{b.user}, Databases: "  " + w.sealed + ":\n" + notesPolicy,
		Keystore: "  database: " + w.sealed + "_keys\n" + cheapPasswords,
	})
	account := b.user + "@'127.0.0.1'"
	server.Exec(t, fmt.Sprintf("CREATE USER %s IDENTIFIED BY '%s'", account, strings.ReplaceAll(b.password, "'", "''")), "GRANT ALL ON "+w.sealed+".* TO "+account)
	t.Cleanup(func() { server.Exec(t, "DROP USER "+account, "DROP DATABASE IF EXISTS "+w.sealed+"_keys") })
	return b
}

// sharedOwner is enrolled by one driver and unlocked by all others with the same password.
const (
	sharedOwner    = "m\u00fcller"
	sharedPassword = procedurePassword + " \u00e9\u2713 'q' \\ \""
)

func (b *driverBench) enrollShared(t *testing.T) {
	t.Helper()
	s := b.sealedSide()
	conn := loginConn(t, s.addr, s.database, b.user, b.password, "")
	if a := run(conn, wayPrepared, "CALL latchkey.enroll(?, ?)", []any{sharedOwner, sharedPassword}); a.Code != 0 {
		t.Fatalf("enroll: %v", a)
	}
}

// nothingLeft looks for passwords in the proxy's log; every one in these tests has the same word in it.
func (b *driverBench) nothingLeft(t *testing.T) {
	t.Helper()
	if strings.Contains(b.proxy.Log(), procedurePassword) {
		t.Error("the log holds a password")
	}
}

// procedurePassword is in every password of the callers.
const procedurePassword = "zebra crossing"

// procedureCaller goes through all procedures over one connection.
type procedureCaller struct {
	t     *testing.T
	b     *driverBench
	how   string
	serve func(procedureRequest) procedureAnswer
	calls int
}

// do sends a statement with arguments in the caller's way, and then sees that the connection answers another statement
// rightly.
func (c *procedureCaller) do(sql string, args ...string) procedureAnswer {
	c.t.Helper()
	var a procedureAnswer
	switch {
	case c.how == "text":
		a = c.serve(procedureRequest{how: "text", sql: inlined(sql, args)})
	case c.how == "call" && strings.HasPrefix(sql, "CALL "):
		a = c.serve(procedureRequest{how: "call", sql: strings.TrimPrefix(sql, "CALL "), args: args})
	default:
		a = c.serve(procedureRequest{how: "bound", sql: sql, args: args})
	}
	c.calls++
	marker := fmt.Sprint("marker ", c.calls)
	next := procedureRequest{how: c.how, sql: "SELECT ? AS marker, USER() AS who", args: []string{marker}}
	if c.how == "text" {
		next = procedureRequest{how: "text", sql: inlined(next.sql, next.args)}
	} else if c.how == "call" {
		next.how = "bound"
	}
	got := c.serve(next)
	if got.code != "" || len(got.results) != 1 || len(got.results[0].rows) != 1 || got.results[0].rows[0][0] != marker {
		c.t.Fatalf("the statement behind %s answers %+v", sql, got)
	}
	return a
}

// inlined writes arguments into a statement as literals.
func inlined(sql string, args []string) string {
	parts := strings.Split(sql, "?")
	for i, arg := range args {
		if arg == `\N` {
			parts[i] += "NULL"
		} else {
			parts[i] += "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(arg) + "'"
		}
	}
	return strings.Join(parts, "")
}

func callText(procedure string, args []string) string {
	return "CALL latchkey." + procedure + "(" + strings.TrimSuffix(strings.Repeat("?, ", len(args)), ", ") + ")"
}

// table calls a procedure that answers with a resultset of these columns, and no more than it.
func (c *procedureCaller) table(columns, procedure string, args ...string) [][]string {
	c.t.Helper()
	a := c.do(callText(procedure, args), args...)
	if a.code != "" || len(a.results) != 1 {
		c.t.Fatalf("%s: error %s %s, %d results", procedure, a.code, a.message, len(a.results))
	}
	if got := strings.Join(a.results[0].columns, " "); got != columns {
		c.t.Errorf("%s has the columns %q, want %q", procedure, got, columns)
	}
	for _, row := range a.results[0].rows {
		if len(row) != len(a.results[0].columns) {
			c.t.Fatalf("%s: a row of %d values", procedure, len(row))
		}
	}
	return a.results[0].rows
}

// row is table for one row, by column.
func (c *procedureCaller) row(columns, procedure string, args ...string) map[string]string {
	c.t.Helper()
	rows := c.table(columns, procedure, args...)
	if len(rows) != 1 {
		c.t.Fatalf("%s: %d rows", procedure, len(rows))
	}
	values := make(map[string]string)
	for i, name := range strings.Fields(columns) {
		values[name] = rows[0][i]
	}
	return values
}

// fails calls a procedure that answers with an error.
func (c *procedureCaller) fails(code, state, procedure string, args ...string) {
	c.t.Helper()
	c.failed(code, state, procedure, c.do(callText(procedure, args), args...))
}

func (c *procedureCaller) failed(code, state, what string, a procedureAnswer) {
	c.t.Helper()
	if a.code != code || len(a.results) > 0 {
		c.t.Errorf("%s: error %q, %d results; want error %s", what, a.code, len(a.results), code)
	}
	if a.state != state && a.state != "-" {
		c.t.Errorf("%s: SQLSTATE %s, want %s", what, a.state, state)
	}
	if strings.HasPrefix(code, "97") && !strings.Contains(a.message, "Latchkey: ") {
		c.t.Errorf("%s: the message is %q", what, a.message)
	}
	if strings.Contains(a.message, procedurePassword) {
		c.t.Errorf("%s: the message holds a password", what)
	}
}

// push pushes a key, which answers with an OK.
func (c *procedureCaller) push(key string) {
	c.t.Helper()
	if a := c.do("SET @latchkey = ?", key); a.code != "" || slices.ContainsFunc(a.results, func(r procedureResult) bool { return len(r.columns) > 0 }) {
		c.t.Fatalf("a push answers %+v", a)
	}
}

func (c *procedureCaller) wantStatus(when, keys, owner string) {
	c.t.Helper()
	s := c.row("keys key_ids sealing_key_id may_push owner expires_at", "status")
	if s["keys"] != keys || s["owner"] != owner || s["may_push"] != "yes" || (s["expires_at"] == "") != (owner == "") {
		c.t.Errorf("%s: status is %v, want %s keys, owner %q", when, s, keys, owner)
	}
}

// everything calls each procedure at least once, and each error that a procedure can give.
func (c *procedureCaller) everything() {
	owner, friend := "owner of "+randomHex(), "friend "+randomHex()
	password, second, third := procedurePassword+" 'one'", procedurePassword+` "two" \`, procedurePassword+" three"
	secret := strings.Repeat("0f", 32)
	const unlocked = "owner key_id token expires_at"
	c.passwords(owner, password, second, third)

	if got := c.row(unlocked, "unlock", sharedOwner, sharedPassword)["owner"]; got != sharedOwner {
		c.t.Errorf("the shared owner is called %q", got)
	}

	// Slots.
	again := c.row(unlocked, "unlock", owner, third)
	slot := c.row("slot_id kind recovery_code", "add_slot", owner, "secret", secret)
	if slot["kind"] != "secret" || slot["recovery_code"] != "" {
		c.t.Errorf("add_slot answers %v", slot)
	}
	c.row(unlocked, "unlock", owner, secret, "secret")
	code := c.row("slot_id kind recovery_code", "add_slot", owner, "recovery")["recovery_code"]
	if !strings.HasPrefix(code, "LKR1-") {
		c.t.Error("add_slot answers no recovery code")
	}
	c.fails("9706", "LK006", "add_slot", owner, "secret", "short")
	var kinds []string
	for _, row := range c.table("slot_id kind label created_at expires_at", "slots", owner) {
		kinds = append(kinds, row[1])
	}
	slices.Sort(kinds)
	if got := strings.Join(slices.Compact(kinds), " "); got != "password recovery secret token" {
		c.t.Errorf("slots lists %s", got)
	}
	if got := c.row("slot_id", "drop_slot", owner, slot["slot_id"]); got["slot_id"] != slot["slot_id"] {
		c.t.Error("drop_slot answers another slot")
	}
	c.fails("9715", "LK015", "drop_slot", owner, slot["slot_id"])

	// Rotation, more keys, the end of a session.
	rotated := c.row("owner key_id old_key_id", "rotate", owner)
	if rotated["owner"] != owner || rotated["old_key_id"] != again["key_id"] || rotated["key_id"] == again["key_id"] {
		c.t.Errorf("rotate answers %v", rotated)
	}
	if id := c.row("key_id", "add_key", c.b.keyA)["key_id"]; len(id) != 16 {
		c.t.Errorf("add_key answers %q", id)
	}
	c.wantStatus("after add_key", "2", owner)
	if got := c.row("keys", "lock")["keys"]; got != "0" {
		c.t.Errorf("lock leaves %s keys", got)
	}
	c.wantStatus("after lock", "0", "")

	// An account key.
	key := c.row("account_key", "new_key")["account_key"]
	c.fails("9701", "LK001", "register", friend)
	c.push(key)
	if got := c.row("owner key_id", "register", friend); got["owner"] != friend {
		c.t.Errorf("register answers %v", got)
	}
	c.wantStatus("with an account key", "1", "")

	// The end of an owner.
	c.fails("9713", "LK013", "forget", owner)
	c.row(unlocked, "unlock", owner, third)
	forgotten := c.row("owner slots destroyed_at receipt", "forget", owner)
	if forgotten["owner"] != owner || forgotten["destroyed_at"] == "" || forgotten["receipt"] == "" {
		c.t.Errorf("forget answers %v", forgotten)
	}
	c.wantStatus("after forget", "0", "")
	c.fails("9707", "LK007", "unlock", owner, third)
	c.fails("9713", "LK013", "restore", owner)
	c.mixed()
}

// passwords goes from the first password to the third, by a change and a recovery.
func (c *procedureCaller) passwords(owner, password, second, third string) {
	c.t.Helper()
	const enrolled = "owner key_id token expires_at recovery_code"
	c.wantStatus("at first", "0", "")
	e := c.row(enrolled, "enroll", owner, password)
	if e["owner"] != owner || len(e["key_id"]) != 16 || !strings.HasPrefix(e["token"], "LKT1-") || !strings.HasPrefix(e["recovery_code"], "LKR1-") {
		c.t.Errorf("enroll answers %v", e)
	}
	c.wantStatus("after enroll", "1", owner)
	c.fails("9715", "LK015", "enroll", owner, password)
	c.fails("9707", "LK007", "unlock", owner, "not "+password)
	c.fails("9706", "LK006", "unlock", owner, `\N`)
	c.fails("1318", "42000", "unlock", owner)
	c.fails("1318", "42000", "status", owner)
	c.push(`\N`)
	c.wantStatus("after NULL", "0", "")
	c.push(e["token"])
	c.wantStatus("with a token", "1", owner)

	changed := c.row(enrolled, "change_password", owner, password, second)
	if changed["key_id"] != e["key_id"] || changed["recovery_code"] != "" {
		c.t.Errorf("change_password answers %v", changed)
	}
	recovered := c.row(enrolled, "recover", owner, e["recovery_code"], third)
	if recovered["key_id"] != e["key_id"] || recovered["recovery_code"] == e["recovery_code"] {
		c.t.Errorf("recover answers %v", recovered)
	}
	c.fails("9706", "LK006", "recover", owner, "LKR1-0", third)
	c.failed("9708", "LK008", "push of a revoked token", c.do("SET @latchkey = ?", changed["token"]))
	c.failed("9706", "LK006", "push of nonsense", c.do("SET @latchkey = ?", "LKT1-NONSENSE"))
	c.failed("9704", "LK004", "an unknown procedure", c.do("CALL latchkey.nothing()"))
}

// mixed sends what is not one call in one packet.
func (c *procedureCaller) mixed() {
	c.t.Helper()
	if a := c.serve(procedureRequest{how: "several", sql: "SELECT 7 AS n; CALL latchkey.status(); SELECT 8 AS n"}); a.code != "" || len(a.results) != 3 ||
		a.results[0].rows[0][0] != "7" || len(a.results[1].columns) != 6 || a.results[2].rows[0][0] != "8" {
		c.t.Errorf("three statements in a packet answer %+v", a)
	}
	// Not every driver gives out the results before an error.
	if a := c.serve(procedureRequest{how: "several", sql: "SELECT 7 AS n; CALL latchkey.status(1); SELECT 8 AS n"}); a.code != "1318" || len(a.results) > 1 {
		c.t.Errorf("a packet with an error in its middle answers %+v", a)
	}
	if c.how != "text" {
		a := c.serve(procedureRequest{how: "twice", sql: "CALL latchkey.add_key(?)", args: []string{c.b.keyB}})
		if a.code != "" || len(a.results) != 2 || a.results[0].rows[0][0] != a.results[1].rows[0][0] {
			c.t.Errorf("a call prepared once and executed twice answers %+v", a)
		}
	}
	c.wantStatus("in the end", map[bool]string{false: "0", true: "1"}[c.how != "text"], "")
}

// TestCallprocIsRefused uses the way in which drivers of Python call procedures: through variables of the server, which must
// not get the password.
func TestCallprocIsRefused(t *testing.T) {
	b := newProcedureBench(t)
	for _, driver := range []string{"pymysql", "mysqlclient"} {
		serve := pythonProcedures(driver)(t, b.sealedSide())
		a := serve(procedureRequest{how: "call", sql: "latchkey.unlock", args: []string{"somebody", procedurePassword}})
		if a.code != "9704" || !strings.Contains(a.message, "not by callproc") {
			t.Errorf("%s: callproc answers %+v, want error 9704", driver, a)
		}
		if a := serve(procedureRequest{how: "text", sql: "SELECT COUNT(*) FROM information_schema.user_variables"}); a.code != "" || a.results[0].rows[0][0] != "0" {
			t.Errorf("%s: callproc left variables: %+v", driver, a)
		}
	}
}
