package proxy

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	sqldriver "github.com/go-sql-driver/mysql"
	"github.com/pires/go-proxyproto"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// waitLimit bounds waiting for what must happen; no test asserts how long it takes.
const waitLimit = 30 * time.Second

// testProxy is a Server in front of a backend, for one test.
type testProxy struct {
	*Server
	addr string
	logs *lockedBuffer
}

// lockedBuffer collects the log of a server.
type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// startProxy starts a proxy in front of a backend address. It is closed at the end of the test, which
// fails if a session panicked.
func startProxy(t testing.TB, backend string, change func(*Config)) *testProxy {
	t.Helper()
	logs := new(lockedBuffer)
	config := Config{
		Backend: BackendConfig{Address: backend},
		Limits:  Limits{Sweep: 20 * time.Millisecond},
		Logger:  slog.New(slog.NewTextHandler(logs, nil)),
	}
	if change != nil {
		change(&config)
	}
	server, err := NewServer(config)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		if err := server.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
		if err := <-done; !errors.Is(err, ErrServerClosed) {
			t.Errorf("serve: %v, want %v", err, ErrServerClosed)
		}
		if n := counterValue(server.metrics.ended[causePanic]); n != 0 {
			t.Errorf("%v sessions panicked:\n%s", n, logs)
		}
	})
	return &testProxy{server, l.Addr().String(), logs}
}

// open opens a pool of root's connections through the proxy. params are those of a DSN.
func (p *testProxy) open(t testing.TB, user, db, params string) *sql.DB {
	t.Helper()
	pool, err := sql.Open("mysql", fmt.Sprintf("%s@tcp(%s)/%s?%s", user, p.addr, db, params))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = pool.Close() })
	return pool
}

// counterValue reads a counter.
func counterValue(c prometheus.Counter) float64 { return testutil.ToFloat64(c) }

// eventually waits until what holds.
func eventually(t testing.TB, what string, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(waitLimit); !holds(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited in vain for: %s", what)
		}
	}
}

// settled waits until the session waits for its client: only then may others look at its facts.
func settled(t testing.TB, s *session) *session {
	t.Helper()
	eventually(t, "the session is idle", func() bool { return s.phase.Load() == phaseIdle })
	return s
}

// only returns the one session of the proxy, settled.
func (p *testProxy) only(t testing.TB) *session {
	t.Helper()
	all := p.appendSessions(nil)
	if len(all) != 1 {
		t.Fatalf("%d sessions, want 1", len(all))
	}
	return settled(t, all[0])
}

func (p *testProxy) sessionsOpen() int { return len(p.appendSessions(nil)) }

// rawClient speaks the protocol itself, so that tests see every byte.
type rawClient struct {
	*wire.Conn
	socket   net.Conn
	caps     wire.Capabilities
	greeting wire.Greeting
}

// rawCaps is what a raw client asks for unless a test says otherwise.
const rawCaps = wire.CapProtocol41 | wire.CapSecureConnection | wire.CapPluginAuth | wire.CapLenencAuth | wire.CapTransactions |
	wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapLocalFiles | wire.CapConnectWithDB | wire.CapLongFlag

// dialRaw connects without logging in.
func dialRaw(t testing.TB, addr string) *rawClient {
	t.Helper()
	socket, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	_ = socket.SetDeadline(time.Now().Add(waitLimit))
	return &rawClient{Conn: wire.NewConn(socket, wire.ClientSide), socket: socket}
}

// login reads the greeting and logs in with mysql_native_password.
func (c *rawClient) login(user, password, db string, caps wire.Capabilities) error {
	p, err := c.Read(1 << 16)
	if err != nil {
		return err
	}
	if e, err := wire.ParseERR(p.Payload); err == nil {
		return &mysql.MyError{Code: e.Code, State: e.State, Message: e.Message}
	}
	if c.greeting, err = wire.ParseGreeting(p.Payload); err != nil {
		return err
	}
	c.caps = caps & c.greeting.Caps
	login := wire.Login{Caps: c.caps, MaxPacket: 1 << 30, Charset: 45, User: []byte(user), Database: []byte(db),
		Auth: mysql.CalcNativePassword(c.greeting.Scramble, []byte(password)), Plugin: []byte("mysql_native_password")}
	c.Seq = 1
	if err := errors.Join(c.Packet(login.Append(nil)), c.Flush()); err != nil {
		return err
	}
	return c.finishAuth(password)
}

// finishAuth answers authentication switches until OK or ERR.
func (c *rawClient) finishAuth(password string) error {
	for {
		p, err := c.Read(1 << 16)
		if err != nil {
			return err
		}
		switch p.Payload[0] {
		case 0x00:
			return nil
		case 0xff:
			e, err := wire.ParseERR(p.Payload)
			if err != nil {
				return err
			}
			return &mysql.MyError{Code: e.Code, State: e.State, Message: e.Message}
		case 0xfe:
			_, data, _ := bytes.Cut(p.Payload[1:], []byte{0})
			scramble := bytes.TrimRight(data, "\x00")
			c.Seq = p.Seq + 1
			if err := errors.Join(c.Packet(mysql.CalcNativePassword(scramble, []byte(password))), c.Flush()); err != nil {
				return err
			}
		default:
			return fmt.Errorf("authentication packet of kind %x", p.Payload[0])
		}
	}
}

// loginRaw connects and logs root in.
func loginRaw(t testing.TB, addr, db string, caps wire.Capabilities) *rawClient {
	t.Helper()
	c := dialRaw(t, addr)
	if err := c.login("root", "", db, caps); err != nil {
		t.Fatalf("log in: %v", err)
	}
	return c
}

// reply reads one reply and returns its bytes, headers included, and its state.
func (c *rawClient) reply(kind wire.ReplyKind) ([]byte, *wire.Reply, error) {
	var all bytes.Buffer
	r := new(wire.Reply)
	sink := wire.NewConn(struct {
		io.Reader
		io.Writer
	}{nil, &all}, wire.ClientSide)
	sink.Seq = c.Seq
	r.Start(c.Conn, sink, kind, c.caps)
	err := r.End(wire.ERR{})
	return all.Bytes(), r, err
}

// ask sends a request and reads its reply.
func (c *rawClient) ask(t testing.TB, payload []byte, kind wire.ReplyKind) []byte {
	t.Helper()
	if err := c.Send(payload); err != nil {
		t.Fatalf("send %v: %v", wire.Command(payload[0]), err)
	}
	b, _, err := c.reply(kind)
	if err != nil {
		t.Fatalf("reply to %v: %v", wire.Command(payload[0]), err)
	}
	return b
}

func (c *rawClient) query(t testing.TB, text string) []byte {
	t.Helper()
	return c.ask(t, append([]byte{byte(wire.ComQuery)}, text...), wire.ReplyQuery)
}

// wantERR reads an ERR packet with this number.
func (c *rawClient) wantERR(t testing.TB, code uint16) wire.ERR {
	t.Helper()
	p, err := c.Read(1 << 16)
	if err != nil {
		t.Fatalf("read: %v, want error %d", err, code)
	}
	e, err := wire.ParseERR(p.Payload)
	if err != nil || e.Code != code {
		t.Fatalf("got %+v (%v) from a packet of %d bytes, want error %d", e, err, len(p.Payload), code)
	}
	return e
}

// wantClosed reads until the connection is closed.
func (c *rawClient) wantClosed(t testing.TB) {
	t.Helper()
	if p, err := c.Read(1 << 24); err == nil {
		t.Fatalf("read a packet of %d bytes, want a closed connection", len(p.Payload))
	} else if timedOut(err) {
		t.Fatal("the connection stays open")
	}
}

func TestShutdownLetsStatementsFinish(t *testing.T) {
	backend := mariadbtest.Shared(t)
	p := startProxy(t, backend.Addr(), nil)
	idle := loginRaw(t, p.addr, "", rawCaps)
	busy := loginRaw(t, p.addr, "", rawCaps)
	if err := busy.Send([]byte("\x03SELECT 'finished' FROM (SELECT SLEEP(0.5)) t")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the statement runs", func() bool { return p.status().SessionsActive == 1 })
	if p.ready(t.Context()) != "" {
		t.Error("not ready before shutdown")
	}
	done := make(chan error, 1)
	go func() { done <- p.Shutdown(context.Background()) }()
	idle.wantClosed(t)
	b, _, err := busy.reply(wire.ReplyQuery)
	if err != nil || !bytes.Contains(b, []byte("finished")) {
		t.Errorf("reply %q, %v; want the statement's result", b, err)
	}
	busy.wantClosed(t)
	if err := <-done; err != nil {
		t.Errorf("shutdown: %v", err)
	}
	if p.ready(t.Context()) == "" {
		t.Error("ready after shutdown")
	}
	if _, err := net.Dial("tcp", p.addr); err == nil {
		t.Error("the listener is still open")
	}
	if got := counterValue(p.metrics.ended[causeShutdown]); got != 2 {
		t.Errorf("%v sessions ended by the shutdown, want 2", got)
	}
}

func TestShutdownGivesUpWithItsContext(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), nil)
	busy := loginRaw(t, p.addr, "", rawCaps)
	if err := busy.Send([]byte("\x03SELECT SLEEP(1000)")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the statement runs", func() bool { return p.status().SessionsActive == 1 })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := p.Shutdown(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("shutdown: %v, want %v", err, context.Canceled)
	}
	busy.wantClosed(t)
}

func TestTooManySessions(t *testing.T) {
	backend := mariadbtest.Shared(t)
	t.Run("logging in", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), func(c *Config) { c.Limits.PreAuth = 1 })
		first := dialRaw(t, p.addr)
		if _, err := first.Read(1 << 16); err != nil {
			t.Fatal(err)
		}
		dialRaw(t, p.addr).wantERR(t, codeTooManyConnections)
		_ = first.socket.Close()
		// The place is given back when a session has ended, and when its client is logged in.
		for range 3 {
			eventually(t, "the place is free", func() bool { return len(p.preAuth) == 0 })
			loginRaw(t, p.addr, "", rawCaps)
		}
	})
	t.Run("in all", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), func(c *Config) { c.Limits.Sessions = 1 })
		loginRaw(t, p.addr, "", rawCaps)
		dialRaw(t, p.addr).wantERR(t, codeTooManyConnections)
	})
}

func TestLoginDeadline(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), func(c *Config) { c.Limits.Handshake = 50 * time.Millisecond })
	c := dialRaw(t, p.addr)
	if _, err := c.Read(1 << 16); err != nil {
		t.Fatal(err)
	}
	c.wantClosed(t)
	eventually(t, "the session is counted", func() bool { return counterValue(p.metrics.ended[causeLoginTimeout]) == 1 })
}

func TestBackendThatIsDown(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	p := startProxy(t, l.Addr().String(), nil)
	dialRaw(t, p.addr).wantERR(t, codeBackendGone)
}

// failingListener fails a few times before it accepts.
type failingListener struct {
	net.Listener
	failures int
}

type shortage struct{}

func (shortage) Error() string   { return "too many open files" }
func (shortage) Temporary() bool { return true }
func (shortage) Timeout() bool   { return false }

func (l *failingListener) Accept() (net.Conn, error) {
	if l.failures--; l.failures >= 0 {
		return nil, shortage{}
	}
	return l.Listener.Accept()
}

func TestAcceptGoesOnAfterAShortage(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), nil)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Serve(&failingListener{l, 3}) }()
	loginRaw(t, l.Addr().String(), "", rawCaps)
	_ = l.Close()
	if err := <-done; err == nil || errors.Is(err, ErrServerClosed) {
		t.Errorf("serve ended with %v when its listener broke, want its error", err)
	}
}

func TestProxyProtocol(t *testing.T) {
	backend := mariadbtest.Shared(t)
	local := []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
	header := func(version byte) *proxyproto.Header {
		return proxyproto.HeaderProxyFromAddrs(version,
			&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 4711}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 3306})
	}
	for _, test := range []struct {
		name     string
		networks []netip.Prefix
		header   *proxyproto.Header
		addr     string
		loopback bool
		refused  bool
	}{
		{"version 1", local, header(1), "192.0.2.7:4711", false, false},
		{"version 2", local, header(2), "192.0.2.7:4711", false, false},
		{"no header", local, nil, "127.0.0.1", true, false},
		{"no header and nobody listed", nil, nil, "127.0.0.1", true, false},
		{"from somebody not listed", []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, header(1), "", false, true},
		{"from somebody not listed, version 2", nil, header(2), "", false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := startProxy(t, backend.Addr(), func(c *Config) { c.Listen.ProxyNetworks = test.networks })
			c := dialRaw(t, p.addr)
			if test.header != nil {
				if _, err := test.header.WriteTo(c.socket); err != nil {
					t.Fatal(err)
				}
			}
			err := c.login("root", "", "", rawCaps)
			if test.refused {
				if err == nil {
					t.Fatal("logged in with a header from a stranger")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.query(t, "DO 1")
			s := p.only(t)
			if got := s.clientAddr.String(); !strings.HasPrefix(got, test.addr) {
				t.Errorf("client address %s, want %s", got, test.addr)
			}
			if s.loopback != test.loopback || s.secure() != test.loopback {
				t.Errorf("loopback %v, secure %v; want %v", s.loopback, s.secure(), test.loopback)
			}
		})
	}
}

func TestAdminEndpoint(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), func(c *Config) { c.Version = "1.2.3" })
	c := loginRaw(t, p.addr, "", rawCaps)
	c.query(t, "SELECT 1")
	c.ask(t, []byte{byte(wire.ComBinlogDump)}, wire.ReplyStatus)
	admin := httptest.NewServer(p.AdminHandler())
	defer admin.Close()
	get := func(path string) (int, string) {
		t.Helper()
		r, err := http.Get(admin.URL + path)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Body.Close()
		b, err := io.ReadAll(r.Body)
		if err != nil {
			t.Fatal(err)
		}
		return r.StatusCode, string(b)
	}
	eventually(t, "the request is counted", func() bool {
		_, metrics := get("/metrics")
		return strings.Contains(metrics, "latchkey_request_delay_seconds_count 1")
	})
	_, metrics := get("/metrics")
	for _, want := range []string{
		"latchkey_sessions 1\n",
		`latchkey_refusals_total{code="1047"} 1`,
		`latchkey_bytes_total{connection="client",direction="sent"} `,
		`latchkey_sessions_ended_total{cause="quit"} 0`,
		`latchkey_statements_total{class="sealed"} 0`,
		`latchkey_cells_total{result="failed"} 0`,
	} {
		if !strings.Contains(metrics, want) {
			t.Errorf("/metrics lacks %q", want)
		}
	}
	if code, body := get("/healthz"); code != 200 || body != "ok\n" {
		t.Errorf("/healthz: %d %q", code, body)
	}
	if code, body := get("/readyz"); code != 200 {
		t.Errorf("/readyz: %d %q", code, body)
	}
	p.AddReadyCheck("schema", func(context.Context) error { return errors.New("secret detail") })
	if code, body := get("/readyz"); code != 503 || body != "not ready: schema\n" {
		t.Errorf("/readyz with a failing check: %d %q", code, body)
	}
	var st status
	_, body := get("/status")
	if err := json.Unmarshal([]byte(body), &st); err != nil {
		t.Fatal(err)
	}
	if st.Version != "1.2.3" || !st.Serving || st.Sessions != 1 || st.SessionsLogin != 0 || st.ClientTLS {
		t.Errorf("/status: %s", body)
	}
}

func TestConfigProblemsAreFoundAtOnce(t *testing.T) {
	ok := BackendConfig{Address: "127.0.0.1:3306"}
	for name, config := range map[string]Config{
		"no backend":                 {},
		"a unix socket":              {Backend: BackendConfig{Address: "/run/mysqld/mysqld.sock"}},
		"an unknown mode":            {Backend: BackendConfig{Address: "h:1", TLS: BackendTLS{Mode: "prefer"}}},
		"a short fingerprint":        {Backend: BackendConfig{Address: "h:1", TLS: BackendTLS{Mode: BackendTLSFingerprint, Fingerprint: "00ff"}}},
		"a missing CA":               {Backend: BackendConfig{Address: "h:1", TLS: BackendTLS{Mode: BackendTLSVerify, CA: "/does/not/exist"}}},
		"required TLS without cert":  {Backend: ok, Listen: ListenConfig{TLS: ListenTLS{Require: true}}},
		"a certificate without key":  {Backend: ok, Listen: ListenConfig{TLS: ListenTLS{Cert: "/does/not/exist"}}},
		"a missing own certificate ": {Backend: BackendConfig{Address: "h:1", TLS: BackendTLS{Mode: BackendTLSVerify, Cert: "/does/not/exist"}}},
	} {
		if _, err := NewServer(config); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func init() { _ = sqldriver.SetLogger(noLog{}) }

// noLog keeps the driver from writing about the connections that tests break.
type noLog struct{}

func (noLog) Print(...any) {}
