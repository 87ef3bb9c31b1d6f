package proxy

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// rawPrepare prepares a statement and returns the head of the reply.
func (c *rawClient) prepare(t testing.TB, text string) wire.PrepareOK {
	t.Helper()
	b := c.ask(t, append([]byte{byte(wire.ComStmtPrepare)}, text...), wire.ReplyPrepare)
	ok, err := wire.ParsePrepareOK(b[wire.HeaderSize : wire.HeaderSize+12])
	if err != nil {
		e, _ := wire.ParseERR(b[wire.HeaderSize:])
		t.Fatalf("prepare %s: %v", text, e)
	}
	return ok
}

// textParam is a parameter as drivers send text.
func textParam(s string) wire.Param {
	p, _ := wire.BytesParam(nil, []byte(s))
	p.Type = wire.TypeVarString
	return p
}

var nullParam = wire.Param{ParamType: wire.ParamType{Type: wire.TypeVarString}, Null: true}

// longParam is a parameter that was sent by COM_STMT_SEND_LONG_DATA.
var longParam = wire.Param{ParamType: wire.ParamType{Type: wire.TypeBlob}, Long: true}

// withoutTypes gives the request that leaves out the types, as connectors do when they execute again.
func withoutTypes(request []byte, params int) []byte {
	at := 10 + (params+7)/8
	out := append([]byte(nil), request[:at]...)
	return append(append(out, 0), request[at+1+2*params:]...)
}

func (c *rawClient) executeAll(t testing.TB, id uint32, flags uint8, params ...wire.Param) []byte {
	t.Helper()
	e := wire.Execute{Statement: id, Flags: flags, Iterations: 1, Params: params}
	return c.ask(t, e.Append(nil), wire.ExecuteReply(flags))
}

// rowsOf gives the values of all rows of a reply, of string columns in binary rows.
func rowsOf(t testing.TB, reply []byte, caps wire.Capabilities, kind wire.ReplyKind, types []wire.ColumnType) (rows []string, names []wire.Column) {
	t.Helper()
	r := new(wire.Reply)
	r.Start(wire.NewConn(struct {
		*bytes.Reader
		discard
	}{Reader: bytes.NewReader(reply)}, wire.BackendSide), nil, kind, caps)
	for {
		event, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if event == wire.EventDone {
			return rows, names
		}
		payload, err := r.Payload()
		if err != nil {
			t.Fatal(err)
		}
		switch event {
		case wire.EventERR:
			e, _ := wire.ParseERR(payload)
			rows = append(rows, fmt.Sprint("error ", e.Code))
		case wire.EventColumn:
			var d wire.Column
			if err := wire.ParseColumn(bytes.Clone(payload), caps, &d); err != nil {
				t.Fatal(err)
			}
			names, types = append(names, d), append(types, d.Type)
		case wire.EventRow:
			fields, err := wire.WalkBinary(nil, payload, types)
			if err != nil {
				t.Fatal(err)
			}
			var row []string
			for _, f := range fields {
				row = append(row, fmt.Sprintf("%q", f.Of(payload)))
			}
			rows = append(rows, strings.Join(row, " "))
		}
	}
}

// discard makes a reader a stream.
type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func wantReply(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

func TestPreparedProtocol(t *testing.T) {
	for name, caps := range map[string]wire.Capabilities{"EOF": rawCaps, "deprecated EOF": rawCaps | wire.CapDeprecateEOF} {
		t.Run(name, func(t *testing.T) { testPreparedProtocol(t, caps) })
	}
}

func testPreparedProtocol(t *testing.T, caps wire.Capabilities) {
	tw := newTwin(t, nil)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, caps)
	caps = c.caps
	c.query(t, "SET @latchkey = '"+testKey(t, 'A')+"'")
	insert := c.prepare(t, "INSERT INTO entries (user_id, title, body) VALUES (?, ?, ?)")
	if insert.Params != 3 || insert.Columns != 0 {
		t.Errorf("prepare: %+v, want 3 parameters", insert)
	}
	find := c.prepare(t, "SELECT title, body FROM entries WHERE title = ?")
	if find.Params != 1 || find.Columns != 2 {
		t.Errorf("prepare: %+v, want 1 parameter and 2 columns", find)
	}
	one := textParam("1")
	c.executeAll(t, insert.Statement, 0, one, textParam("a"), textParam("body a"))

	// Again, without types, then with NULL.
	again := wire.Execute{Statement: insert.Statement, Iterations: 1, Params: []wire.Param{one, textParam("b"), textParam("body b")}}
	c.ask(t, withoutTypes(again.Append(nil), 3), wire.ReplyExecute)
	again.Params[2] = nullParam
	c.ask(t, withoutTypes(again.Append(nil), 3), wire.ReplyExecute)

	// Long data, in pieces, for a sealed parameter.
	for _, piece := range []string{"long ", "body"} {
		if err := c.Send(wire.LongData{Statement: insert.Statement, Param: 2, Data: []byte(piece)}.Append(nil)); err != nil {
			t.Fatal(err)
		}
	}
	c.executeAll(t, insert.Statement, 0, one, textParam("c"), longParam)
	// The pieces are gone after it.
	c.executeAll(t, insert.Statement, 0, one, textParam("d"), nullParam)
	// COM_STMT_RESET drops them as well.
	if err := c.Send(wire.LongData{Statement: insert.Statement, Param: 2, Data: []byte("dropped")}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	reset := [5]byte{byte(wire.ComStmtReset)}
	wire.SetStatement(reset[:], insert.Statement)
	c.ask(t, reset[:], wire.ReplyStatus)
	c.executeAll(t, insert.Statement, 0, one, textParam("e"), textParam("kept"))

	for title, want := range map[string][]string{
		"a": {`"a" "body a"`}, "b": {`"b" "body b"`, `"b" ""`}, "c": {`"c" "long body"`}, "d": {`"d" ""`}, "e": {`"e" "kept"`}, "f": nil,
	} {
		rows, columns := rowsOf(t, c.executeAll(t, find.Statement, 0, textParam(title)), caps, wire.ReplyExecute, nil)
		wantReply(t, "find "+title, rows, want...)
		if len(columns) != 2 || columns[0].Type != wire.TypeVarString || columns[0].Charset != 45 || columns[1].Type != wire.TypeBlob {
			t.Errorf("columns %+v, want VARCHAR and TEXT", columns)
		}
	}
	rows, _ := rowsOf(t, c.executeAll(t, find.Statement, 0, nullParam), caps, wire.ReplyExecute, nil)
	wantReply(t, "find NULL", rows)

	// A cursor: rows come with COM_STMT_FETCH, and another statement in between does not mix them up.
	all := c.prepare(t, "SELECT title, body FROM entries WHERE user_id = ? ORDER BY id")
	_, columns := rowsOf(t, c.executeAll(t, all.Statement, wire.CursorReadOnly, one), caps, wire.ReplyCursor, nil)
	types := []wire.ColumnType{columns[0].Type, columns[1].Type}
	fetch := binary.LittleEndian.AppendUint32([]byte{byte(wire.ComStmtFetch), 0, 0, 0, 0}, 2)
	wire.SetStatement(fetch, all.Statement)
	rows, _ = rowsOf(t, c.ask(t, fetch, wire.ReplyFetch), caps, wire.ReplyFetch, types)
	wantReply(t, "first rows", rows, `"a" "body a"`, `"b" "body b"`)
	c.executeAll(t, find.Statement, 0, textParam("a"))
	rows, _ = rowsOf(t, c.ask(t, fetch, wire.ReplyFetch), caps, wire.ReplyFetch, types)
	wantReply(t, "next rows", rows, `"b" ""`, `"c" "long body"`)

	// Statement id -1, pipelined behind its COM_STMT_PREPARE.
	last := wire.Execute{Statement: wire.LastStatement, Iterations: 1, Params: []wire.Param{textParam("e")}}
	if err := c.Send(append([]byte{byte(wire.ComStmtPrepare)}, "SELECT body FROM entries WHERE title = ?"...)); err != nil {
		t.Fatal(err)
	}
	if err := c.Send(last.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.reply(wire.ReplyPrepare); err != nil {
		t.Fatal(err)
	}
	reply, _, err := c.reply(wire.ReplyExecute)
	if err != nil {
		t.Fatal(err)
	}
	rows, _ = rowsOf(t, reply, caps, wire.ReplyExecute, nil)
	wantReply(t, "last statement", rows, `"kept"`)

	// A closed statement is unknown.
	closing := [5]byte{byte(wire.ComStmtClose)}
	wire.SetStatement(closing[:], find.Statement)
	if err := c.Send(closing[:]); err != nil {
		t.Fatal(err)
	}
	rows, _ = rowsOf(t, c.executeAll(t, find.Statement, 0, textParam("a")), caps, wire.ReplyExecute, nil)
	wantReply(t, "closed statement", rows, "error 1243")

	c.ask(t, []byte{byte(wire.ComResetConnection)}, wire.ReplyStatus)
	rows, _ = rowsOf(t, c.executeAll(t, insert.Statement, 0, one, one, one), caps, wire.ReplyExecute, nil)
	wantReply(t, "after COM_RESET_CONNECTION", rows, "error 1243")
	checkStored(t, tw)
}

// TestBackendStatementsAreClosed: what the proxy prepares for itself goes with the client's statement.
func TestBackendStatementsAreClosed(t *testing.T) {
	tw := newTwin(t, nil)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps)
	open := func() string {
		return tw.server.Query(t, "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'")[0][1]
	}
	before := open()
	for i := range 10 {
		c.query(t, "SET @latchkey = '"+testKey(t, byte('A'+i))+"'")
		for range i {
			c.query(t, "CALL latchkey.add_key('"+testKey(t, byte('K'+i))+"')")
		}
		s := c.prepare(t, "UPDATE entries SET body = ? WHERE title = ?")
		for _, p := range []wire.Param{textParam("x"), nullParam, textParam("y")} {
			c.executeAll(t, s.Statement, 0, p, p)
		}
		closing := [5]byte{byte(wire.ComStmtClose)}
		wire.SetStatement(closing[:], s.Statement)
		if err := c.Send(closing[:]); err != nil {
			t.Fatal(err)
		}
	}
	c.ask(t, []byte{byte(wire.ComPing)}, wire.ReplyStatus)
	if after := open(); after != before {
		t.Errorf("prepared statements of the server: %s before, %s after", before, after)
	}
}

// TestProtectionArrivesUnderPreparedStatements: a column becomes protected after a statement over it was prepared.
func TestProtectionArrivesUnderPreparedStatements(t *testing.T) {
	tw := newTwin(t, nil)
	tables := twinPolicy(t)
	none := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: {"notes": tables["notes"]}}}
	all := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{tw.sealed: tables}}
	tw.loader.SetPolicy(none)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps)
	c.query(t, "SET @latchkey = '"+testKey(t, 'A')+"'")
	insert := c.prepare(t, "INSERT INTO entries (user_id, title) VALUES (1, ?)")
	find := c.prepare(t, "SELECT title FROM entries")
	c.executeAll(t, insert.Statement, 0, nullParam)
	tw.loader.SetPolicy(all)
	c.executeAll(t, insert.Statement, 0, textParam("now sealed"))
	rows, _ := rowsOf(t, c.executeAll(t, find.Statement, 0), c.caps, wire.ReplyExecute, nil)
	wantReply(t, "rows", rows, `""`, `"now sealed"`)
	checkStored(t, tw)
	tw.loader.SetPolicy(none)
	rows, _ = rowsOf(t, c.executeAll(t, find.Statement, 0), c.caps, wire.ReplyExecute, nil)
	if len(rows) != 2 || !strings.Contains(rows[1], `\xffLK`) {
		t.Errorf("without protection: %v, want the cell", rows)
	}
}
