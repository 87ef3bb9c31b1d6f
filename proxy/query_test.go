package proxy

import (
	"fmt"
	"strings"
	"testing"

	"latchkey/proxy/wire"
)

// textReplies gives every result of a reply to COM_QUERY: the rows of resultsets, and affected rows.
func textReplies(t testing.TB, reply []byte, caps wire.Capabilities) (results []string) {
	t.Helper()
	r := new(wire.Reply)
	r.Start(wire.NewConn(struct {
		*strings.Reader
		discard
	}{Reader: strings.NewReader(string(reply))}, wire.BackendSide), nil, wire.ReplyQuery, caps)
	var rows []string
	for {
		event, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if event == wire.EventDone {
			return results
		}
		payload, err := r.Payload()
		if err != nil {
			t.Fatal(err)
		}
		switch event {
		case wire.EventERR:
			e, _ := wire.ParseERR(payload)
			results = append(results, fmt.Sprint("error ", e.Code))
		case wire.EventOK:
			ok, err := wire.ParseOK(payload, caps)
			if err != nil {
				t.Fatal(err)
			}
			results = append(results, fmt.Sprint("OK ", ok.AffectedRows))
		case wire.EventRow:
			fields, err := wire.WalkText(nil, payload, r.Count)
			if err != nil {
				t.Fatal(err)
			}
			var row []string
			for _, f := range fields {
				row = append(row, string(f.Of(payload)))
			}
			rows = append(rows, strings.Join(row, ","))
		case wire.EventResultEnd:
			results, rows = append(results, fmt.Sprint(rows)), nil
		}
	}
}

// sequential checks that the packets of a reply are numbered one after the other.
func sequential(t testing.TB, reply []byte) {
	t.Helper()
	seq := byte(1)
	for at := 0; at < len(reply); seq++ {
		if reply[at+3] != seq {
			t.Fatalf("packet at byte %d has sequence id %d, want %d", at, reply[at+3], seq)
		}
		at += wire.HeaderSize + int(reply[at]) + int(reply[at+1])<<8 + int(reply[at+2])<<16
	}
}

func TestMultiStatements(t *testing.T) {
	for name, caps := range map[string]wire.Capabilities{"EOF": rawCaps, "deprecated EOF": rawCaps | wire.CapDeprecateEOF} {
		t.Run(name, func(t *testing.T) {
			tw := newTwin(t, nil)
			c := loginRaw(t, tw.proxy.addr, tw.sealed, caps)
			for _, s := range []struct {
				text string
				want []string
			}{
				{"SET @latchkey = '" + testKey(t, 'A') + "'; INSERT INTO entries (user_id, title) VALUES (1, 'a;b'), (1, 'c'); SELECT title FROM entries ORDER BY id;",
					[]string{"OK 0", "OK 2", "[a;b c]"}},
				{"SELECT 1; SELECT title FROM entries WHERE title = 'c'; SELECT 2", []string{"[1]", "[c]", "[2]"}},
				{"SET sql_mode = 'ANSI_QUOTES'; SELECT \"title\" FROM \"entries\" WHERE title = 'c'; SET sql_mode = ''; SELECT \"title\"",
					[]string{"OK 0", "[c]", "OK 0", "[title]"}},
				{"SET sql_mode = 'NO_BACKSLASH_ESCAPES'; INSERT INTO entries (user_id, title) VALUES (2, 'x\\\\'); SET sql_mode = ''; SELECT title FROM entries WHERE user_id = 2",
					[]string{"OK 0", "OK 1", "OK 0", `[x\\]`}},
				{"SELECT 1; SELECT no_such_column; SELECT 2", []string{"[1]", "error 1054"}},
				{"SELECT 1; SELECT UPPER(title) FROM entries; SELECT 2", []string{"[1]", "error 9705"}},
				{"CALL latchkey.lock(); SELECT title FROM entries; SELECT 2", []string{"[0]", "error 9701"}},
				{"SELECT 'ends with semicolon';", []string{"[ends with semicolon]"}},
			} {
				reply := c.query(t, s.text)
				sequential(t, reply)
				got := textReplies(t, reply, c.caps)
				if fmt.Sprint(got) != fmt.Sprint(s.want) {
					t.Errorf("%s\n got  %q\n want %q", s.text, got, s.want)
				}
			}
			if strings.Contains(tw.proxy.logs.String(), "LK1-") {
				t.Error("the log holds a key")
			}
		})
	}
}

func TestSQLPreparedStatements(t *testing.T) {
	tw := newTwin(t, nil)
	alice, bob := tw.session(t, 'A', ""), tw.session(t, 'B', "")
	mustExec(t, alice, "PREPARE ins FROM 'INSERT INTO entries (user_id, title) VALUES (1, ''it''''s'')'")
	mustExec(t, alice, "EXECUTE ins")
	mustExec(t, alice, "PREPARE sel FROM 'SELECT title FROM entries WHERE user_id = ?'")
	mustExec(t, alice, "SET @u = 1")
	wantRows(t, "EXECUTE USING", run(t, alice, "EXECUTE sel USING @u"), "it's")
	mustExec(t, alice, "PREPARE find FROM 'SELECT title FROM entries WHERE title = ''it''''s'''")
	wantRows(t, "EXECUTE of a search", run(t, alice, "EXECUTE find"), "it's")
	wantRows(t, "EXECUTE IMMEDIATE", run(t, alice, "EXECUTE IMMEDIATE 'SELECT title FROM entries WHERE title = ''it''''s'''"), "it's")
	wantRows(t, "EXECUTE IMMEDIATE USING", run(t, alice, "EXECUTE IMMEDIATE 'SELECT title FROM entries WHERE user_id = ?' USING 1"), "it's")
	if o := run(t, alice, "PREPARE bad FROM 'INSERT INTO entries (user_id, title) VALUES (1, ?)'"); o.code != 9705 {
		t.Errorf("a sealed parameter: %v, want error 9705", o)
	}
	if o := run(t, alice, "EXECUTE IMMEDIATE 'INSERT INTO entries (user_id, title) VALUES (1, ?)' USING 'x'"); o.code != 9705 {
		t.Errorf("a sealed parameter: %v, want error 9705", o)
	}
	wantCode(t, "text from a variable", run(t, alice, "PREPARE bad FROM @text"), 9704)
	mustExec(t, alice, "PREPARE plain FROM 'SELECT v FROM other WHERE id > ?'")
	mustExec(t, alice, "SET @id = 0")
	if o := run(t, alice, "EXECUTE plain USING @id"); o.code != 0 {
		t.Errorf("a statement that touches nothing: %v", o)
	}
	// The key of now seals and searches, not the one of PREPARE.
	mustExec(t, alice, "SET @latchkey = '"+testKey(t, 'B')+"'")
	mustExec(t, alice, "EXECUTE ins")
	wantRows(t, "bob's row", run(t, bob, "SELECT title FROM entries WHERE title = 'it''s'"), "it's")
	wantRows(t, "searching with bob's key", run(t, alice, "EXECUTE find"), "it's")
	wantRows(t, "the search with a parameter", run(t, alice, "SELECT COUNT(*) FROM entries WHERE title = 'it''s'"), "1")
	mustExec(t, alice, "DEALLOCATE PREPARE ins")
	if o := run(t, alice, "EXECUTE ins"); o.code != 1243 {
		t.Errorf("EXECUTE after DEALLOCATE: %v", o)
	}
	checkStored(t, tw)
}

func TestErrorsQuoteNoCells(t *testing.T) {
	tw := newTwin(t, nil)
	conn := tw.session(t, 'A', "")
	tw.server.Exec(t, "CREATE TABLE "+tw.sealed+".small (id INT PRIMARY KEY)")
	mustExec(t, conn, "INSERT INTO notes (id, text, mail) VALUES (1, 'first', 'a@b')")
	for _, query := range []string{
		"INSERT INTO notes (id, text, mail) VALUES (2, 'first', 'a@b')",
		"INSERT INTO notes (id, text, mail) VALUES (2, 'first', 'a@b'), (2, 'x'",
		"INSERT INTO notes (id, text, mail) VALUES (1, 'first', 'c')",
	} {
		o := run(t, conn, query)
		if o.code == 0 {
			t.Errorf("%s: no error", query)
		}
		wantCode(t, query, o, o.code)
	}
	if o := run(t, conn, "INSERT INTO notes (id, text, mail) VALUES (2, 'first', 'a@b')"); o.code != 1062 || !strings.Contains(o.message, "'mail'") {
		t.Errorf("duplicate: %v, want error 1062 that names the key", o)
	}
	mustExec(t, conn, "INSERT IGNORE INTO notes (id, text, mail) VALUES (2, 'first', 'a@b')")
	o := run(t, conn, "SHOW WARNINGS")
	if len(o.rows) != 1 || !strings.Contains(o.rows[0], "1062") || strings.Contains(strings.ToLower(o.rows[0]), `\xff`) {
		t.Errorf("SHOW WARNINGS: %v", o)
	}
	o = run(t, conn, "INSERT INTO entries (user_id, body) VALUES (1, '"+strings.Repeat("x", 70000)+"')")
	wantCode(t, "value longer than its type", o, 1406)
	o = run(t, conn, "INSERT IGNORE INTO notes (id, text) VALUES (5, '"+strings.Repeat("x", 201)+"')")
	if o.code != 1406 && o.code != 9705 {
		t.Errorf("IGNORE, too long: %v, want an error", o)
	}
}

func TestFieldList(t *testing.T) {
	tw := newTwin(t, nil)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps)
	reply := c.ask(t, append([]byte{byte(wire.ComFieldList)}, "entries\x00"...), wire.ReplyFields)
	_, columns := rowsOf(t, reply, c.caps, wire.ReplyFields, nil)
	types := map[string]wire.ColumnType{}
	for _, d := range columns {
		types[string(d.Name)] = d.Type
	}
	for name, want := range map[string]wire.ColumnType{"id": wire.TypeLong, "title": wire.TypeVarString, "body": wire.TypeBlob, "amount": wire.TypeNewDecimal, "born": wire.TypeDate} {
		if types[name] != want {
			t.Errorf("%s has type %d, want %d", name, types[name], want)
		}
	}
}

func TestBigStatements(t *testing.T) {
	tw := newTwin(t, nil)
	plain, sealed := tw.direct(t, "maxAllowedPacket=0"), tw.session(t, 'A', "maxAllowedPacket=0")
	var rows []string
	for i := range 1000 {
		rows = append(rows, fmt.Sprintf("(%d, 1, 'title %d', NULL)", i+1, i%7))
	}
	insert := "INSERT INTO entries (id, user_id, title, body) VALUES " + strings.Join(rows, ", ")
	same(t, plain, sealed, insert)
	same(t, plain, sealed, insert+" ON DUPLICATE KEY UPDATE title = VALUES(title)")
	same(t, plain, sealed, strings.Replace(insert, "title 3", "title x", 3)+" ON DUPLICATE KEY UPDATE title = VALUES(title)")
	same(t, plain, sealed, "SELECT id, title FROM entries WHERE title IN ('title x', 'title 6', 'title 5') ORDER BY id")
	same(t, plain, sealed, "UPDATE entries SET title = 'title 1' WHERE id < 500")
	// Rows and statements of more than 16 MB.
	big := strings.Repeat("0123456789abcdef", 1<<20+10)
	tw.server.Exec(t, "ALTER TABLE "+tw.plain+".other MODIFY v LONGTEXT", "ALTER TABLE "+tw.sealed+".other MODIFY v LONGTEXT")
	same(t, plain, sealed, "INSERT INTO other (v) VALUES ('"+big+"')")
	if o := run(t, sealed, "SELECT v FROM other"); o.code != 0 || len(o.rows) != 1 || o.rows[0] != big {
		t.Error("a row of 16 MB does not come back")
	}
	if o := run(t, sealed, "SELECT MD5(v), LENGTH(v) FROM other WHERE v = ?", big); o.code != 0 || len(o.rows) != 1 {
		t.Error("a parameter of 16 MB does not arrive")
	}
}

// TestLoadDataLocalAmongStatements sends files into a table that nothing protects; the statement behind the file must not be read from
// the buffer that the file went through.
func TestLoadDataLocalAmongStatements(t *testing.T) {
	tw := newTwin(t, nil)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps)
	c.query(t, "SET @latchkey = '"+testKey(t, 'A')+"'")
	for _, text := range []string{
		"LOAD DATA LOCAL INFILE 'f' INTO TABLE other FIELDS TERMINATED BY ',' (v)",
		"LOAD DATA LOCAL INFILE 'f' INTO TABLE other FIELDS TERMINATED BY ',' (v); INSERT INTO entries (user_id, title) VALUES (1, 'behind'); SELECT COUNT(*) FROM other",
	} {
		if err := c.Send(append([]byte{byte(wire.ComQuery)}, text...)); err != nil {
			t.Fatal(err)
		}
		p, err := c.Read(1 << 16)
		if err != nil || p.Payload[0] != 0xfb {
			t.Fatalf("%q, %v; want a request for the file", p.Payload, err)
		}
		c.Seq = p.Seq + 1
		file := strings.Repeat("INSERT INTO other (v) VALUES (1)\n", 3000)
		for _, piece := range []string{file, ""} {
			if err := c.Packet([]byte(piece)); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.Flush(); err != nil {
			t.Fatal(err)
		}
		reply, _, err := c.reply(wire.ReplyQuery)
		if err != nil {
			t.Fatal(err)
		}
		got, want := textReplies(t, reply, c.caps), []string{"OK 3000"}
		if strings.Contains(text, ";") {
			want = append(want, "OK 1", "[6000]")
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %v, want %v", text, got, want)
		}
	}
	if got := textReplies(t, c.query(t, "LOAD DATA LOCAL INFILE 'f' INTO TABLE entries (title)"), c.caps); got[0] != "error 9704" && got[0] != "error 9705" {
		t.Errorf("into a protected table: %v, want a refusal", got)
	}
}
