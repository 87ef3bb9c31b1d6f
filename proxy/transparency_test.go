package proxy

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// exchangeCase is one request of a recorded conversation.
type exchangeCase struct {
	name    string
	request []byte
	kind    wire.ReplyKind
	// volatile replies differ from run to run: only their form is compared.
	volatile bool
}

func com(c wire.Command, rest string) []byte { return append([]byte{byte(c)}, rest...) }

func le32(n uint32) string { return string(binary.LittleEndian.AppendUint32(nil, n)) }

func le16(n uint16) string { return string(binary.LittleEndian.AppendUint16(nil, n)) }

// executeRequest is COM_STMT_EXECUTE with one LONGLONG parameter, or none if types is "".
func executeRequest(id uint32, flags byte, types, value string) []byte {
	p := com(wire.ComStmtExecute, le32(id)+string(flags)+le32(1))
	if types == "none" {
		return p
	}
	return append(p, "\x00"+types+value...)
}

// conversation has every command that MariaDB answers, in an order in which the statement ids are
// known: MariaDB counts them per connection from 1.
func conversation() []exchangeCase {
	query := func(text string) exchangeCase {
		return exchangeCase{name: text[:min(len(text), 60)], request: com(wire.ComQuery, text), kind: wire.ReplyQuery}
	}
	const noTypes, longlong = "\x00", "\x01\x08\x00"
	one := "\x01\x00\x00\x00\x00\x00\x00\x00"
	two := "\x02\x00\x00\x00\x00\x00\x00\x00"
	var wide []string
	for i := range 300 {
		wide = append(wide, fmt.Sprintf("%d AS c%d", i, i))
	}
	return []exchangeCase{
		{name: "COM_PING", request: com(wire.ComPing, ""), kind: wire.ReplyStatus},
		{name: "COM_INIT_DB", request: com(wire.ComInitDB, "conversation"), kind: wire.ReplyStatus},
		{name: "COM_INIT_DB of nothing", request: com(wire.ComInitDB, "no_such_database"), kind: wire.ReplyStatus},
		query("SET NAMES utf8mb4"),
		query("SELECT * FROM t ORDER BY id"),
		query("SELECT id, b AS alias FROM t WHERE id = 2"),
		query("SELECT * FROM t WHERE 0"),
		query("SELECT '\xfe', REPEAT('x', 70000), NULL, '', 1.5e0, NOW() IS NULL"),
		query("SELECT " + strings.Join(wide, ",")),
		query("SELECT seq FROM seq_1_to_20000"),
		query("INSERT INTO t (b) VALUES ('four'), ('five')"),
		query("UPDATE t SET b = 'x' WHERE id > 3"),
		query("INSERT INTO t (id, b) VALUES (9, 'nine') RETURNING id, b"),
		query("DELETE FROM t WHERE id > 3"),
		query("SELECT syntax error"),
		query("SELECT 1; SELECT 2, 3; DO 1; SELECT 4"),
		query("SELECT 1; SELECT * FROM nothing; SELECT 4"),
		query("CALL results()"),
		query("START TRANSACTION"), query("SELECT 1"), query("COMMIT"),
		query("SET autocommit = 0"), query("SELECT 1"), query("SET autocommit = 1"),
		query("USE mysql"), query("USE conversation"),
		query("SET NAMES latin1"), query("SELECT 'caf\xe9'"), query("SET NAMES utf8mb4"),
		query("SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'"), query("SELECT \"id\" FROM t"), query("SET sql_mode = ''"),
		query("SELECT 1/0"), query("SHOW WARNINGS"), query("SELECT FOUND_ROWS(), ROW_COUNT(), LAST_INSERT_ID()"),
		query(""),
		query("CREATE TABLE conversation.u (j JSON, u UUID, i INET6, g GEOMETRY)"), query("SELECT * FROM u"), query("DROP TABLE u"),
		{name: "COM_FIELD_LIST", request: com(wire.ComFieldList, "t\x00"), kind: wire.ReplyFields},
		{name: "COM_FIELD_LIST with a pattern", request: com(wire.ComFieldList, "t\x00b%"), kind: wire.ReplyFields},
		{name: "COM_FIELD_LIST of nothing", request: com(wire.ComFieldList, "nothing\x00"), kind: wire.ReplyFields},
		{name: "COM_STATISTICS", request: com(wire.ComStatistics, ""), kind: wire.ReplyString, volatile: true},
		{name: "COM_PROCESS_INFO", request: com(wire.ComProcessInfo, ""), kind: wire.ReplyQuery, volatile: true},
		{name: "COM_DEBUG", request: com(wire.ComDebug, ""), kind: wire.ReplyStatus},
		{name: "COM_REFRESH", request: com(wire.ComRefresh, "\x40"), kind: wire.ReplyStatus},
		{name: "COM_PROCESS_KILL of nobody", request: com(wire.ComProcessKill, le32(0x7ffffff0)), kind: wire.ReplyStatus},
		{name: "COM_SET_OPTION off", request: com(wire.ComSetOption, le16(1)), kind: wire.ReplyStatus},
		query("SELECT 1; SELECT 2"),
		{name: "COM_SET_OPTION on", request: com(wire.ComSetOption, le16(0)), kind: wire.ReplyStatus},
		query("SELECT 1; SELECT 2"),
		{name: "COM_SET_OPTION of nothing", request: com(wire.ComSetOption, le16(77)), kind: wire.ReplyStatus},

		// Statement 1.
		{name: "COM_STMT_PREPARE", request: com(wire.ComStmtPrepare, "SELECT id, b, d FROM t WHERE id >= ?"), kind: wire.ReplyPrepare},
		{name: "COM_STMT_EXECUTE", request: executeRequest(1, 0, longlong, one), kind: wire.ReplyExecute},
		{name: "COM_STMT_EXECUTE without types", request: executeRequest(1, 0, noTypes, two), kind: wire.ReplyExecute},
		{name: "COM_STMT_EXECUTE of the last statement", request: executeRequest(wire.LastStatement, 0, noTypes, one), kind: wire.ReplyExecute},
		{name: "COM_STMT_EXECUTE with a cursor", request: executeRequest(1, wire.CursorReadOnly, longlong, one), kind: wire.ReplyCursor},
		{name: "COM_STMT_FETCH", request: com(wire.ComStmtFetch, le32(1)+le32(2)), kind: wire.ReplyFetch},
		{name: "COM_STMT_FETCH of the rest", request: com(wire.ComStmtFetch, le32(1)+le32(100)), kind: wire.ReplyFetch},
		{name: "COM_STMT_FETCH behind the end", request: com(wire.ComStmtFetch, le32(1)+le32(100)), kind: wire.ReplyFetch},
		{name: "COM_STMT_RESET", request: com(wire.ComStmtReset, le32(1)), kind: wire.ReplyStatus},
		{name: "COM_STMT_EXECUTE of nothing", request: executeRequest(99, 0, longlong, one), kind: wire.ReplyExecute},
		// Statement 2.
		{name: "prepare without parameters", request: com(wire.ComStmtPrepare, "DO 1"), kind: wire.ReplyPrepare},
		{name: "execute without parameters", request: executeRequest(2, 0, "none", ""), kind: wire.ReplyExecute},
		{name: "cursor for a statement without rows", request: executeRequest(2, wire.CursorReadOnly, "none", ""), kind: wire.ReplyCursor},
		// Statement 3.
		{name: "prepare with parameters only", request: com(wire.ComStmtPrepare, "INSERT INTO t (b) VALUES (?)"), kind: wire.ReplyPrepare},
		{name: "long data", request: wire.LongData{Statement: 3, Param: 0, Data: []byte("piece ")}.Append(nil), kind: wire.ReplyNone},
		{name: "more long data", request: wire.LongData{Statement: 3, Param: 0, Data: []byte("piece")}.Append(nil), kind: wire.ReplyNone},
		{name: "execute with long data", request: executeRequest(3, 0, "\x01\xfc\x00", ""), kind: wire.ReplyExecute},
		query("SELECT b FROM t WHERE id > 3"), query("DELETE FROM t WHERE id > 3"),
		// Statement 4.
		{name: "prepare CALL", request: com(wire.ComStmtPrepare, "CALL results()"), kind: wire.ReplyPrepare},
		{name: "execute CALL", request: executeRequest(4, 0, "none", ""), kind: wire.ReplyExecute},
		// Statement 5.
		{name: "prepare CALL with an output parameter", request: com(wire.ComStmtPrepare, "CALL output(?)"), kind: wire.ReplyPrepare},
		{name: "execute CALL with an output parameter", request: executeRequest(5, 0, longlong, one), kind: wire.ReplyExecute},
		{name: "prepare a syntax error", request: com(wire.ComStmtPrepare, "SELECT ? FROM"), kind: wire.ReplyPrepare},
		{name: "COM_STMT_CLOSE", request: com(wire.ComStmtClose, le32(1)), kind: wire.ReplyNone},
		{name: "COM_STMT_EXECUTE of a closed statement", request: executeRequest(1, 0, longlong, one), kind: wire.ReplyExecute},
		query("PREPARE p FROM 'SELECT ? + 1'"), query("EXECUTE p USING 41"), query("DEALLOCATE PREPARE p"),

		{name: "COM_RESET_CONNECTION", request: com(wire.ComResetConnection, ""), kind: wire.ReplyStatus},
		query("SELECT DATABASE(), @@autocommit"),
		{name: "COM_SLEEP", request: com(wire.ComSleep, ""), kind: wire.ReplyStatus},
		{name: "COM_CREATE_DB", request: com(wire.ComCreateDB, "x"), kind: wire.ReplyStatus},
		{name: "COM_CONNECT_OUT", request: com(wire.ComConnectOut, ""), kind: wire.ReplyStatus},
		{name: "an unknown command", request: com(0x77, ""), kind: wire.ReplyStatus},
		query("SELECT 'still here'"),
	}
}

// conversationCaps are the capabilities under which the conversation is compared: everything that
// changes the form of a packet.
func conversationCaps() map[string]wire.Capabilities {
	m := make(map[string]wire.Capabilities)
	for i := range 8 {
		caps, name := rawCaps, "plain"
		for bit, f := range []struct {
			name string
			cap  wire.Capabilities
		}{{"DEPRECATE_EOF", wire.CapDeprecateEOF}, {"EXTENDED_METADATA", wire.CapExtendedMetadata}, {"SESSION_TRACK", wire.CapSessionTrack}} {
			if i>>bit&1 != 0 {
				caps |= f.cap
				name += " " + f.name
			}
		}
		m[name] = caps
	}
	return m
}

func conversationServer(t *testing.T) *mariadbtest.Server {
	t.Helper()
	s := mariadbtest.Start(t)
	s.Exec(t,
		"CREATE DATABASE conversation",
		"CREATE TABLE conversation.t (id INT PRIMARY KEY AUTO_INCREMENT, b TEXT, d DATETIME(6) DEFAULT '2026-01-02 03:04:05.678901', e ENUM('a','b') DEFAULT 'b', f DECIMAL(10,2))",
		"INSERT INTO conversation.t (b) VALUES ('one'), ('two'), (NULL)",
		"CREATE PROCEDURE conversation.results() BEGIN SELECT 1 AS a; SELECT * FROM t; SELECT 'last' AS z; END",
		"CREATE PROCEDURE conversation.output(OUT n BIGINT) BEGIN SELECT 5 AS five; SET n = 42; END")
	return s
}

func resetConversation(t *testing.T, s *mariadbtest.Server) {
	s.Exec(t, "TRUNCATE conversation.t", "INSERT INTO conversation.t (b) VALUES ('one'), ('two'), (NULL)", "DROP TABLE IF EXISTS conversation.u")
}

// TestConversationsAreTheSameByteForByte holds the same conversation with MariaDB and through the proxy.
func TestConversationsAreTheSameByteForByte(t *testing.T) {
	backend := conversationServer(t)
	p := startProxy(t, backend.Addr(), nil)
	for name, caps := range conversationCaps() {
		t.Run(name, func(t *testing.T) {
			var direct [][]byte
			for _, addr := range []string{backend.Addr(), p.addr} {
				resetConversation(t, backend)
				c := loginRaw(t, addr, "conversation", caps)
				if c.caps != caps {
					t.Fatalf("capabilities %x, want %x", c.caps, caps)
				}
				var replies [][]byte
				for _, e := range conversation() {
					b, err := hold(c, e)
					if err != nil {
						t.Fatalf("%s: %v", e.name, err)
					}
					replies = append(replies, b)
				}
				if addr == backend.Addr() {
					direct = replies
					continue
				}
				for i, e := range conversation() {
					if !bytes.Equal(replies[i], direct[i]) && !e.volatile {
						t.Errorf("%s: through the proxy\n%.300q\ndirect\n%.300q", e.name, replies[i], direct[i])
					}
				}
			}
		})
	}
}

func hold(c *rawClient, e exchangeCase) ([]byte, error) {
	if err := c.Send(e.request); err != nil {
		return nil, err
	}
	b, _, err := c.reply(e.kind)
	return b, err
}

// TestPipelinedConversation sends the whole conversation before it reads the first reply.
func TestPipelinedConversation(t *testing.T) {
	backend := conversationServer(t)
	p := startProxy(t, backend.Addr(), nil)
	for _, caps := range []wire.Capabilities{rawCaps, rawCaps | wire.CapDeprecateEOF} {
		var direct [][]byte
		for _, addr := range []string{backend.Addr(), p.addr} {
			resetConversation(t, backend)
			c := loginRaw(t, addr, "conversation", caps)
			sent := make(chan error, 1)
			go func() {
				var all []byte
				for _, e := range conversation() {
					n := len(e.request)
					all = append(append(all, byte(n), byte(n>>8), byte(n>>16), 0), e.request...)
				}
				_, err := c.socket.Write(all)
				sent <- err
			}()
			for i, e := range conversation() {
				c.Seq = 1
				b, _, err := c.reply(e.kind)
				if err != nil {
					t.Fatalf("%s: %v", e.name, err)
				}
				if addr == backend.Addr() {
					direct = append(direct, b)
				} else if !bytes.Equal(b, direct[i]) && !e.volatile {
					t.Errorf("%s: through the proxy\n%.300q\ndirect\n%.300q", e.name, b, direct[i])
				}
			}
			if err := <-sent; err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestRequestsByteByByte sends requests in pieces of one byte.
func TestRequestsByteByByte(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), nil)
	c := loginRaw(t, p.addr, "", rawCaps)
	request := com(wire.ComQuery, "SELECT 'in pieces'")
	n := len(request)
	for _, b := range append([]byte{byte(n), 0, 0, 0}, request...) {
		if _, err := c.socket.Write([]byte{b}); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond / 4)
	}
	c.Seq = 1
	if b, _, err := c.reply(wire.ReplyQuery); err != nil || !bytes.Contains(b, []byte("in pieces")) {
		t.Errorf("got %q, %v", b, err)
	}
}

func TestChangeUser(t *testing.T) {
	backend := mariadbtest.Start(t)
	backend.Exec(t, "CREATE USER other@'%' IDENTIFIED BY 'secret'", "GRANT ALL ON *.* TO other@'%'", "CREATE DATABASE one", "CREATE DATABASE two")
	p := startProxy(t, backend.Addr(), nil)
	caps := rawCaps | wire.CapConnectAttrs
	change := func(c *rawClient, user, password, db string) error {
		u := wire.ChangeUser{User: []byte(user), Database: []byte(db), Charset: []byte{33, 0}, Plugin: []byte("mysql_native_password"), Attributes: []byte{}}
		if err := c.Send(u.Append(nil, c.caps)); err != nil {
			return err
		}
		return c.finishAuth(password)
	}
	c := loginRaw(t, p.addr, "one", caps)
	s := p.only(t)
	c.query(t, "SET @x = 1")
	if err := change(c, "other", "secret", "two"); err != nil {
		t.Fatal(err)
	}
	if b := c.query(t, "SELECT CURRENT_USER(), DATABASE(), @x IS NULL"); !bytes.Contains(b, []byte("\x07other@%\x03two\x011")) {
		t.Errorf("got %q", b)
	}
	if settled(t, s).user != "other" || s.database != "two" || s.collation != 33 {
		t.Errorf("session has user %q, database %q, collation %d", s.user, s.database, s.collation)
	}
	if err := change(c, "other", "wrong", ""); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	direct := loginRaw(t, backend.Addr(), "one", caps)
	if err := change(direct, "other", "wrong", ""); err == nil {
		t.Fatal("a wrong password was accepted")
	}
	// MariaDB goes on with the first user.
	for name, c := range map[string]*rawClient{"direct": direct, "proxied": c} {
		want := map[string]string{"direct": "\x0eroot@127.0.0.1\x03one", "proxied": "\x07other@%\x03two"}[name]
		if b := c.query(t, "SELECT CURRENT_USER(), DATABASE()"); !bytes.Contains(b, []byte(want)) {
			t.Errorf("%s, after a failure: got %q, want %q in it", name, b, want)
		}
	}
	if settled(t, s).user != "other" || s.database != "two" {
		t.Errorf("after a failure the session has user %q, database %q", s.user, s.database)
	}
}

func TestSessionFacts(t *testing.T) {
	backend := mariadbtest.Shared(t)
	db := backend.NewDatabase(t)
	for _, caps := range []wire.Capabilities{rawCaps, rawCaps | wire.CapDeprecateEOF | wire.CapSessionTrack} {
		p := startProxy(t, backend.Addr(), nil)
		c := loginRaw(t, p.addr, db, caps)
		s := p.only(t)
		if settled(t, s).database != db || s.user != "root" || s.collation != 45 || s.threadID != c.greeting.ThreadID || !s.multiStatements {
			t.Errorf("after login: database %q, user %q, collation %d, thread %d", s.database, s.user, s.collation, s.threadID)
		}
		if !settled(t, s).status.Has(wire.StatusAutocommit) {
			t.Errorf("after login: status %x lacks autocommit", s.status)
		}
		c.query(t, "SET autocommit = 0")
		if settled(t, s).status.Has(wire.StatusAutocommit) {
			t.Errorf("after SET autocommit = 0: status %x", s.status)
		}
		c.query(t, "SET autocommit = 1")
		c.query(t, "START TRANSACTION")
		if !settled(t, s).status.Has(wire.StatusInTransaction) {
			t.Errorf("in a transaction: status %x", s.status)
		}
		c.query(t, "COMMIT")
		c.query(t, "SELECT * FROM information_schema.ENGINES")
		if settled(t, s).status.Has(wire.StatusInTransaction) || !s.status.Has(wire.StatusAutocommit) {
			t.Errorf("after COMMIT and a SELECT: status %x", s.status)
		}
		c.query(t, "SET sql_mode = 'ANSI_QUOTES,NO_BACKSLASH_ESCAPES'")
		if !settled(t, s).status.Has(wire.StatusNoBackslashEscapes) {
			t.Errorf("status %x lacks NO_BACKSLASH_ESCAPES", s.status)
		}
		c.ask(t, com(wire.ComInitDB, "mysql"), wire.ReplyStatus)
		if settled(t, s).database != "mysql" {
			t.Errorf("after COM_INIT_DB: database %q", s.database)
		}
		c.ask(t, com(wire.ComInitDB, "no_such_database"), wire.ReplyStatus)
		if settled(t, s).database != "mysql" {
			t.Errorf("after a failed COM_INIT_DB: database %q", s.database)
		}
		c.query(t, "USE "+db)
		if want := map[bool]string{true: db, false: "mysql"}[caps.Has(wire.CapSessionTrack)]; settled(t, s).database != want {
			t.Errorf("after USE: database %q, want %q", s.database, want)
		}
		c.ask(t, com(wire.ComSetOption, le16(1)), wire.ReplyStatus)
		if settled(t, s).multiStatements {
			t.Error("COM_SET_OPTION was not noticed")
		}
	}
}

func TestProgressReports(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithArgs("--progress-report-time=1"))
	backend.Exec(t, "CREATE DATABASE p", "CREATE TABLE p.t (a INT, b CHAR(200), c CHAR(200)) ENGINE=Aria",
		"INSERT INTO p.t SELECT seq, RAND(), RAND() FROM mysql.seq_1_to_100000")
	p := startProxy(t, backend.Addr(), nil)
	c := loginRaw(t, p.addr, "p", rawCaps|wire.CapProgress)
	reports := 0
	for range 10 {
		// Whether a report comes depends on how long the statement takes.
		b := c.query(t, "ALTER TABLE t ADD INDEX (b), ADD INDEX (c), FORCE")
		for len(b) > 0 {
			n := int(b[0]) | int(b[1])<<8 | int(b[2])<<16
			if wire.IsProgress(b[wire.HeaderSize : wire.HeaderSize+n]) {
				reports++
			}
			b = b[wire.HeaderSize+n:]
		}
		if reports > 0 {
			break
		}
	}
	if b := c.query(t, "SELECT 'in step'"); !bytes.Contains(b, []byte("in step")) {
		t.Errorf("got %q", b)
	}
	t.Logf("%d progress reports", reports)
}

func TestRefusedCommands(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), nil)
	c := loginRaw(t, p.addr, "", rawCaps)
	for _, command := range []wire.Command{wire.ComSleep, wire.ComCreateDB, wire.ComDropDB, wire.ComConnect, wire.ComTime, wire.ComDelayedInsert, wire.ComBinlogDump,
		wire.ComTableDump, wire.ComConnectOut, wire.ComRegisterSlave, wire.ComDaemon, wire.ComBinlogDumpGTID, 0x20, 0x21, wire.ComStmtBulkExecute, 0xfb, 0xfc, 0xfd, 0xfe, 0xff} {
		if err := c.Send(com(command, "x")); err != nil {
			t.Fatal(err)
		}
		c.wantERR(t, codeUnknownCommand)
	}
	if err := errors.Join(c.Send(nil)); err != nil {
		t.Fatal(err)
	}
	c.wantERR(t, codeUnknownCommand)
	c.query(t, "DO 1")
}
