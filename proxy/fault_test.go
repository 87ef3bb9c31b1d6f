package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// shortConversation logs in and runs a few requests of every kind, within limit.
func shortConversation(addr string, limit time.Duration) error {
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer socket.Close()
	_ = socket.SetDeadline(time.Now().Add(limit))
	c := &rawClient{Conn: wire.NewConn(socket, wire.ClientSide), socket: socket}
	if err := c.login("root", "", "conversation", rawCaps); err != nil {
		return err
	}
	for _, e := range []exchangeCase{
		{request: com(wire.ComQuery, "SELECT * FROM t; DO 1"), kind: wire.ReplyQuery},
		{request: com(wire.ComStmtPrepare, "SELECT id, b, d FROM t WHERE id >= ?"), kind: wire.ReplyPrepare},
		{request: executeRequest(1, wire.CursorReadOnly, "\x01\x08\x00", "\x01\x00\x00\x00\x00\x00\x00\x00"), kind: wire.ReplyCursor},
		{request: com(wire.ComStmtFetch, le32(1)+le32(2)), kind: wire.ReplyFetch},
		{request: com(wire.ComStmtClose, le32(1)), kind: wire.ReplyNone},
		{request: com(wire.ComFieldList, "t\x00"), kind: wire.ReplyFields},
	} {
		if _, err := hold(c, e); err != nil {
			return err
		}
	}
	return nil
}

// TestFaultAtEveryByte cuts, resets and corrupts the connections of a session at every byte of either
// direction. Whatever happens, the session ends and the proxy goes on.
func TestFaultAtEveryByte(t *testing.T) {
	backend := conversationServer(t)
	for _, side := range []string{"client", "backend"} {
		for _, direction := range []string{"read", "write"} {
			for _, kind := range []faultconn.Kind{faultconn.Cut, faultconn.Corrupt} {
				t.Run(fmt.Sprintf("%s %s, kind %d", side, direction, kind), func(t *testing.T) {
					t.Parallel()
					plan := func(n int) faultconn.Faults {
						fault := []faultconn.Fault{{Kind: kind, At: faultByte(n)}}
						if direction == "read" {
							return faultconn.Faults{Read: fault}
						}
						return faultconn.Faults{Write: fault}
					}
					var addr string
					var p *testProxy
					short := func(c *Config) { c.Limits.Handshake = 100 * time.Millisecond }
					if side == "client" {
						p = startProxy(t, backend.Addr(), short)
						addr = faultconn.NewRelay(t, p.addr, plan).Addr()
					} else {
						p = startProxy(t, faultconn.NewRelay(t, backend.Addr(), plan).Addr(), short)
						addr = p.addr
					}
					// A flipped bit may go unnoticed. A cut goes unnoticed only behind the last byte.
					limit, least := waitLimit, 50
					if kind == faultconn.Corrupt {
						limit, least = 100*time.Millisecond, 15 // a flipped length leaves everybody waiting
					}
					failed, survived := 0, 0
					for n := 0; n < 400 && (kind == faultconn.Corrupt || survived < 3); n++ {
						if kind == faultconn.Corrupt && faultByte(n) > 250 {
							break
						}
						if err := shortConversation(addr, limit); err == nil {
							survived++
						} else {
							failed++
							survived = 0
						}
					}
					if failed < least {
						t.Errorf("only %d conversations met their fault", failed)
					}
					loginRaw(t, p.addr, "", rawCaps)
					eventually(t, "the broken sessions end", func() bool { return p.sessionsOpen() <= 1 })
				})
			}
		}
	}
}

// faultByte spreads the faults: every byte of the login, then every third.
func faultByte(n int) int64 {
	if n < 150 {
		return int64(n)
	}
	return int64(150 + 3*(n-150))
}

// TestHostileLogins sends what is no login: every truncation of one, lengths that lie, and noise.
func TestHostileLogins(t *testing.T) {
	backend := mariadbtest.Shared(t)
	p := startProxy(t, backend.Addr(), func(c *Config) { c.Limits.Handshake = 500 * time.Millisecond })
	login := wire.Login{Caps: rawCaps | wire.CapConnectAttrs, User: []byte("root"), Auth: make([]byte, 20), Plugin: []byte("mysql_native_password"),
		Attributes: []byte("\x04name\x05value")}.Append(nil)
	framed := func(payload []byte) []byte {
		n := len(payload)
		return append([]byte{byte(n), byte(n >> 8), byte(n >> 16), 1}, payload...)
	}
	var attempts [][]byte
	for n := range len(login) {
		attempts = append(attempts, framed(login[:n]))
	}
	for i := range login {
		lie := bytes.Clone(login)
		lie[i] = 0xff
		attempts = append(attempts, framed(lie))
	}
	attempts = append(attempts,
		nil, []byte{0, 0, 0, 1}, []byte{0xff, 0xff, 0xff, 1}, append([]byte{0xff, 0xff, 0xff, 1}, make([]byte, 2<<20)...),
		framed(make([]byte, wire.MaxLogin+1)), []byte("GET / HTTP/1.1\r\n\r\n"), []byte("PROXY TCP4 1.2.3.4 1.2.3.4 1 1\r\n"))
	random := rand.New(rand.NewPCG(1, 2))
	for range 100 {
		noise := make([]byte, random.IntN(200))
		for i := range noise {
			noise[i] = byte(random.Uint32())
		}
		attempts = append(attempts, noise, framed(noise))
	}
	limit := make(chan struct{}, 64)
	for _, attempt := range attempts {
		limit <- struct{}{}
		go func() {
			defer func() { <-limit }()
			socket, err := net.Dial("tcp", p.addr)
			if err != nil {
				t.Error(err)
				return
			}
			defer socket.Close()
			_, _ = socket.Write(attempt)
			_ = socket.(*net.TCPConn).CloseWrite()
			_ = socket.SetReadDeadline(time.Now().Add(waitLimit))
			if _, err := io.Copy(io.Discard, socket); timedOut(err) {
				t.Errorf("a login of %d bytes is still waiting", len(attempt))
			}
		}()
	}
	for range cap(limit) {
		limit <- struct{}{}
	}
	backend.Exec(t, "FLUSH HOSTS")
	loginRaw(t, p.addr, "", rawCaps).query(t, "DO 1")
	eventually(t, "the sessions end", func() bool { return p.sessionsOpen() <= 1 })
}

// TestHostileRequests sends every command with no, short and random contents to a backend that only
// closes: what the proxy parses itself must not fail.
func TestHostileRequests(t *testing.T) {
	backend := mariadbtest.Shared(t)
	p := startProxy(t, backend.Addr(), nil)
	random := rand.New(rand.NewPCG(3, 4))
	for command := range 256 {
		switch wire.Command(command) {
		case wire.ComQuit, wire.ComShutdown, wire.ComProcessKill, wire.ComStmtSendLong, wire.ComStmtClose:
			continue // ends the server, or has no reply
		}
		c := loginRaw(t, p.addr, "", rawCaps)
		for n := range 12 {
			body := make([]byte, n)
			for i := range body {
				body[i] = byte(random.Uint32())
			}
			if err := c.Send(append([]byte{byte(command)}, body...)); err != nil {
				break
			}
			if wire.Command(command) == wire.ComChangeUser {
				_ = c.finishAuth("")
				break
			}
			kind := wire.ReplyQuery
			switch wire.Command(command) {
			case wire.ComStmtPrepare:
				kind = wire.ReplyPrepare
			case wire.ComStmtExecute, wire.ComStmtFetch:
				kind = wire.ReplyExecute
			case wire.ComFieldList:
				kind = wire.ReplyFields
			case wire.ComStatistics:
				kind = wire.ReplyString
			case wire.ComDebug, wire.ComSetOption:
				kind = wire.ReplyStatus
			}
			c.Seq = 1
			if _, _, err := c.reply(kind); err != nil {
				if timedOut(err) {
					t.Fatalf("command %x with %d bytes is not answered", command, n)
				}
				break
			}
		}
		_ = c.socket.Close()
	}
	loginRaw(t, p.addr, "", rawCaps).query(t, "DO 1")
}

// TestHostileBackend has a backend that sends noise in place of greetings, logins and replies.
func TestHostileBackend(t *testing.T) {
	random := rand.New(rand.NewPCG(5, 6))
	for stage := range 3 {
		for range 30 {
			noise := make([]byte, 1+random.IntN(100))
			for i := range noise {
				noise[i] = byte(random.Uint32())
			}
			if random.IntN(2) == 0 {
				noise = append([]byte{byte(len(noise)), 0, 0, byte(stage)}, noise...)
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			go func() {
				socket, err := l.Accept()
				if err != nil {
					return
				}
				defer socket.Close()
				c := wire.NewConn(socket, wire.BackendSide)
				if stage > 0 {
					if say(c, fakeGreeting("mysql_native_password")) != nil {
						return
					}
					_, _ = c.Read(1 << 16)
				}
				if stage > 1 {
					c.Seq = 2
					_ = say(c, fakeOK())
					_, _ = c.Read(1 << 16)
				}
				_, _ = socket.Write(noise)
			}()
			p := startProxy(t, l.Addr().String(), nil)
			c := dialRaw(t, p.addr)
			if err := c.login("root", "", "", rawCaps); err == nil {
				_ = c.Send(com(wire.ComQuery, "SELECT 1"))
				_, _, _ = c.reply(wire.ReplyQuery)
			}
			_ = c.socket.Close()
			eventually(t, "the session ends", func() bool { return p.sessionsOpen() == 0 })
			_ = l.Close()
		}
	}
}
