package proxy

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	sqldriver "github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
	"latchkey/internal/testcert"
	"latchkey/proxy/wire"
)

// clientTLS lets a proxy offer TLS, and returns the name under which go-sql-driver trusts it.
func clientTLS(t *testing.T, certs *testcert.Authority, c *Config) string {
	t.Helper()
	pair, err := certs.Issue("proxy", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	c.Listen.TLS.Cert, c.Listen.TLS.Key = pair.CertFile, pair.KeyFile
	name := strings.ReplaceAll(t.Name(), "/", "_")
	if err := sqldriver.RegisterTLSConfig(name, &tls.Config{RootCAs: certs.Pool(), ServerName: "127.0.0.1"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sqldriver.DeregisterTLSConfig(name) })
	return name
}

func TestAuthenticationWithTLSOnEachHop(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithTLS(), mariadbtest.WithArgs("--plugin-load-add=auth_ed25519"))
	backend.Exec(t,
		"CREATE USER native@'%' IDENTIFIED BY 'secret one'",
		"CREATE USER ed@'%' IDENTIFIED VIA ed25519 USING PASSWORD('secret two')",
		"CREATE USER either@'%' IDENTIFIED VIA ed25519 USING PASSWORD('another') OR mysql_native_password USING PASSWORD('secret one')",
		"CREATE USER tls@'%' IDENTIFIED BY 'secret one' REQUIRE SSL",
		"CREATE USER nobody@'%'")
	for _, hops := range []struct{ client, backend bool }{{false, false}, {true, false}, {false, true}, {true, true}} {
		t.Run(fmt.Sprintf("client %v, backend %v", hops.client, hops.backend), func(t *testing.T) {
			params := ""
			p := startProxy(t, backend.Addr(), func(c *Config) {
				if hops.client {
					params = "tls=" + clientTLS(t, backend.Certs, c)
				}
				if hops.backend {
					c.Backend.TLS = BackendTLS{Mode: BackendTLSVerify, CA: backend.Certs.CertFile}
				}
			})
			for _, test := range []struct {
				login, user string
				code        uint16
			}{
				{"native:secret one", "native", 0},
				{"ed:secret two", "ed", 0},
				{"nobody", "nobody", 0},
				{"tls:secret one", "tls", map[bool]uint16{false: 1045}[hops.backend]},
				{"native:wrong", "", 1045},
				{"ed:wrong", "", 1045},
			} {
				var user, cipher string
				var id, connection int
				db := p.open(t, test.login, "", params)
				err := db.QueryRow("SELECT USER(), CONNECTION_ID(), (SELECT VARIABLE_VALUE FROM information_schema.SESSION_STATUS WHERE VARIABLE_NAME='SSL_CIPHER')").
					Scan(&user, &connection, &cipher)
				if test.code != 0 {
					var e *sqldriver.MySQLError
					if !errors.As(err, &e) || e.Number != test.code {
						t.Errorf("%s: %v, want error %d", test.login, err, test.code)
					}
					continue
				}
				if err != nil {
					t.Errorf("%s: %v", test.login, err)
					continue
				}
				if !strings.HasPrefix(user, test.user+"@") {
					t.Errorf("%s: logged in as %s", test.login, user)
				}
				if (cipher != "") != hops.backend {
					t.Errorf("%s: cipher %q towards the backend, want TLS %v", test.login, cipher, hops.backend)
				}
				s := p.appendSessions(nil)
				for _, session := range s {
					if settled(t, session); int(session.threadID) == connection {
						id = connection
						if session.clientTLS != hops.client || session.user != test.user || session.version == "" {
							t.Errorf("%s: session has client TLS %v, user %q", test.login, session.clientTLS, session.user)
						}
					}
				}
				if id == 0 {
					t.Errorf("%s: no session has the backend's connection id %d", test.login, connection)
				}
				_ = db.Close()
			}
			// go-sql-driver gives up at the second switch of the plugin, Connector/C does not.
			ssl := "--skip-ssl"
			if hops.client {
				ssl = "--ssl"
			}
			if out, err := runClient(t, p.addr, "SELECT USER()", "-ueither", "-psecret one", ssl); err != nil || !strings.HasPrefix(out, "USER()\neither@") {
				t.Errorf("either: %v\n%s", err, out)
			}
		})
	}
}

// proxyWithBackendTLS starts a proxy that may fail to reach its backend.
func proxyWithBackendTLS(t *testing.T, backend *mariadbtest.Server, tls BackendTLS) error {
	t.Helper()
	p := startProxy(t, backend.Addr(), func(c *Config) { c.Backend.TLS = tls })
	return dialRaw(t, p.addr).login("root", "", "", rawCaps)
}

func TestBackendCertificateIsChecked(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithTLS())
	stranger := testcert.New(t)
	own, err := backend.Certs.Issue("latchkey", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	backend.Exec(t, "CREATE USER x509@'%' REQUIRE SUBJECT '/CN=latchkey'")
	fingerprint := backendFingerprint(t, backend.Addr())
	for _, test := range []struct {
		name string
		tls  BackendTLS
		ok   bool
	}{
		{"its authority", BackendTLS{Mode: BackendTLSVerify, CA: backend.Certs.CertFile}, true},
		{"another authority", BackendTLS{Mode: BackendTLSVerify, CA: stranger.CertFile}, false},
		{"the system's authorities", BackendTLS{Mode: BackendTLSVerify}, false},
		{"its fingerprint", BackendTLS{Mode: BackendTLSFingerprint, Fingerprint: fingerprint}, true},
		{"its fingerprint with colons", BackendTLS{Mode: BackendTLSFingerprint, Fingerprint: colons(fingerprint)}, true},
		{"another fingerprint", BackendTLS{Mode: BackendTLSFingerprint, Fingerprint: strings.Repeat("00", 32)}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := proxyWithBackendTLS(t, backend, test.tls)
			var e *mysql.MyError
			switch {
			case test.ok && err != nil:
				t.Error(err)
			case !test.ok && (!errors.As(err, &e) || e.Code != codeBackendGone):
				t.Errorf("%v, want error %d", err, codeBackendGone)
			}
		})
	}
	t.Run("the proxy's own certificate", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), func(c *Config) {
			c.Backend.TLS = BackendTLS{Mode: BackendTLSVerify, CA: backend.Certs.CertFile, Cert: own.CertFile, Key: own.KeyFile}
		})
		if err := dialRaw(t, p.addr).login("x509", "", "", rawCaps); err != nil {
			t.Error(err)
		}
	})
	t.Run("a backend without TLS", func(t *testing.T) {
		plain := mariadbtest.Start(t, mariadbtest.WithArgs("--skip-ssl"))
		err := proxyWithBackendTLS(t, plain, BackendTLS{Mode: BackendTLSVerify, CA: backend.Certs.CertFile})
		var e *mysql.MyError
		if !errors.As(err, &e) || e.Code != codeBackendGone {
			t.Errorf("%v, want error %d", err, codeBackendGone)
		}
	})
}

func colons(s string) string {
	var parts []string
	for ; s != ""; s = s[2:] {
		parts = append(parts, s[:2])
	}
	return strings.ToUpper(strings.Join(parts, ":"))
}

// backendFingerprint asks a MariaDB for its certificate.
func backendFingerprint(t *testing.T, addr string) string {
	t.Helper()
	c := dialRaw(t, addr)
	if _, err := c.Read(1 << 16); err != nil {
		t.Fatal(err)
	}
	c.Seq = 1
	if err := errors.Join(c.Packet(wire.Login{Caps: rawCaps}.AppendSSLRequest(nil)), c.Flush()); err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(c.socket, &tls.Config{InsecureSkipVerify: true})
	if err := conn.Handshake(); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(conn.ConnectionState().PeerCertificates[0].Raw)
	return hex.EncodeToString(sum[:])
}

func TestClientTLSPolicy(t *testing.T) {
	certs := testcert.New(t)
	backend := mariadbtest.Shared(t)
	t.Run("required", func(t *testing.T) {
		var name string
		p := startProxy(t, backend.Addr(), func(c *Config) {
			name = clientTLS(t, certs, c)
			c.Listen.TLS.Require = true
		})
		var e *mysql.MyError
		if err := dialRaw(t, p.addr).login("root", "", "", rawCaps); !errors.As(err, &e) || !strings.Contains(e.Message, "TLS") {
			t.Errorf("without TLS: %v, want a refusal that says so", err)
		}
		if err := p.open(t, "root", "", "tls="+name).Ping(); err != nil {
			t.Errorf("with TLS: %v", err)
		}
	})
	t.Run("not offered", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), nil)
		c := dialRaw(t, p.addr)
		if _, err := c.Read(1 << 16); err != nil {
			t.Fatal(err)
		}
		c.Seq = 1
		if err := errors.Join(c.Packet(wire.Login{Caps: rawCaps}.AppendSSLRequest(nil)), c.Flush()); err != nil {
			t.Fatal(err)
		}
		c.wantERR(t, codeHandshake)
	})
	t.Run("compression not offered", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), nil)
		c := dialRaw(t, p.addr)
		if _, err := c.Read(1 << 16); err != nil {
			t.Fatal(err)
		}
		c.Seq = 1
		login := wire.Login{Caps: rawCaps | wire.CapCompress, User: []byte("root"), Plugin: []byte("mysql_native_password")}
		if err := errors.Join(c.Packet(login.Append(nil)), c.Flush()); err != nil {
			t.Fatal(err)
		}
		c.wantERR(t, codeHandshake)
	})
	t.Run("client certificates", func(t *testing.T) {
		p := startProxy(t, backend.Addr(), func(c *Config) {
			clientTLS(t, certs, c)
			c.Listen.TLS.ClientCA = certs.CertFile
		})
		stranger, err := testcert.New(t).Issue("client")
		if err != nil {
			t.Fatal(err)
		}
		known, err := certs.Issue("client")
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			name  string
			certs []tls.Certificate
			ok    bool
		}{{"none", nil, true}, {"known", []tls.Certificate{known.TLS}, true}, {"unknown", []tls.Certificate{stranger.TLS}, false}} {
			key := "cert-" + test.name
			// Without GetClientCertificate the client would not present one the server did not ask for.
			config := &tls.Config{RootCAs: certs.Pool(), ServerName: "127.0.0.1", GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
				if test.certs == nil {
					return new(tls.Certificate), nil
				}
				return &test.certs[0], nil
			}}
			if err := sqldriver.RegisterTLSConfig(key, config); err != nil {
				t.Fatal(err)
			}
			if err := p.open(t, "root", "", "tls="+key).Ping(); (err == nil) != test.ok {
				t.Errorf("certificate %s: %v, want success %v", test.name, err, test.ok)
			}
			sqldriver.DeregisterTLSConfig(key)
		}
	})
}

// TestPacketsBeforeTLSAreNotTaken sends a whole login in clear right behind the SSLRequest: it must be
// taken for a broken TLS handshake, not for what follows it.
func TestPacketsBeforeTLSAreNotTaken(t *testing.T) {
	p := startProxy(t, mariadbtest.Shared(t).Addr(), func(c *Config) { clientTLS(t, testcert.New(t), c) })
	c := dialRaw(t, p.addr)
	first, err := c.Read(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	if c.greeting, err = wire.ParseGreeting(first.Payload); err != nil {
		t.Fatal(err)
	}
	login := wire.Login{Caps: rawCaps, User: []byte("root"), Plugin: []byte("mysql_native_password")}
	c.Seq = 1
	if err := errors.Join(c.Packet(login.AppendSSLRequest(nil)), c.Packet(login.Append(nil)), c.Flush()); err != nil {
		t.Fatal(err)
	}
	all, _ := io.ReadAll(c.socket)
	if bytes.Contains(all, []byte{7, 0, 0, 3, 0, 0, 0, 2, 0}) {
		t.Error("a login in clear was taken behind an SSLRequest")
	}
	eventually(t, "the session ends", func() bool { return p.sessionsOpen() == 0 })
}

func TestKeyAttributeIsStripped(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithArgs("--performance-schema=ON"))
	p := startProxy(t, backend.Addr(), nil)
	const marker = "MARKER-OF-A-KEY"
	attrs := func(pairs ...string) []byte {
		var b []byte
		for _, s := range pairs {
			b = wire.AppendLenencString(b, s)
		}
		return b
	}
	seen := func(c *rawClient) string {
		t.Helper()
		return fmt.Sprint(backend.Query(t, fmt.Sprintf("SELECT ATTR_NAME, ATTR_VALUE FROM performance_schema.session_connect_attrs WHERE PROCESSLIST_ID = %d ORDER BY 1", c.greeting.ThreadID)))
	}
	c := dialRaw(t, p.addr)
	first, err := c.Read(1 << 16)
	if err != nil {
		t.Fatal(err)
	}
	if c.greeting, err = wire.ParseGreeting(first.Payload); err != nil {
		t.Fatal(err)
	}
	c.caps = rawCaps | wire.CapConnectAttrs
	c.Seq = 1
	login := wire.Login{Caps: c.caps, User: []byte("root"), Plugin: []byte("mysql_native_password"), Attributes: attrs("a", "first", "latchkey", marker, "z", "last")}
	if err := errors.Join(c.Packet(login.Append(nil)), c.Flush(), c.finishAuth("")); err != nil {
		t.Fatal(err)
	}
	if got := seen(c); got != "[[a first] [z last]]" {
		t.Errorf("the backend has the attributes %s", got)
	}
	change := wire.ChangeUser{User: []byte("root"), Charset: []byte{45, 0}, Plugin: []byte("mysql_native_password"), Attributes: attrs("latchkey", marker, "b", "second")}
	if err := errors.Join(c.Send(change.Append(nil, c.caps)), c.finishAuth("")); err != nil {
		t.Fatal(err)
	}
	if got := seen(c); strings.Contains(got, "latchkey") || strings.Contains(got, marker) {
		t.Errorf("after COM_CHANGE_USER the backend has the attributes %s", got)
	}
	c.query(t, "DO 1")
	twice := dialRaw(t, p.addr)
	if _, err := twice.Read(1 << 16); err != nil {
		t.Fatal(err)
	}
	twice.Seq = 1
	login.Attributes = attrs("latchkey", marker, "latchkey", "x")
	if err := errors.Join(twice.Packet(login.Append(nil)), twice.Flush()); err != nil {
		t.Fatal(err)
	}
	twice.wantERR(t, codeMalformed)
	if strings.Contains(p.logs.String(), marker) {
		t.Error("the attribute is in the log")
	}
}

func TestCapabilitiesAreMasked(t *testing.T) {
	backend := mariadbtest.Shared(t)
	p := startProxy(t, backend.Addr(), nil)
	direct, proxied := loginRaw(t, backend.Addr(), "", rawCaps), loginRaw(t, p.addr, "", rawCaps)
	const hidden = wire.CapCompress | wire.CapSSL | wire.CapBulkOperations | wire.CapCacheMetadata | wire.CapComMulti
	if got := proxied.greeting.Caps & hidden; got != 0 {
		t.Errorf("offered %x, which nobody relays", got)
	}
	if got, want := proxied.greeting.Caps, direct.greeting.Caps&passedCaps; got != want {
		t.Errorf("offered %x, want %x", got, want)
	}
	if proxied.greeting.Version != direct.greeting.Version {
		t.Errorf("version %q, want %q", proxied.greeting.Version, direct.greeting.Version)
	}
	if !proxied.greeting.Caps.Has(wire.CapProgress | wire.CapExtendedMetadata | wire.CapDeprecateEOF | wire.CapSessionTrack) {
		t.Errorf("offered %x lacks flags that are relayed", proxied.greeting.Caps)
	}
}

func TestMariaDBClient(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithTLS())
	p := startProxy(t, backend.Addr(), func(c *Config) { clientTLS(t, backend.Certs, c) })
	for _, ssl := range [][]string{{"--skip-ssl"}, {"--ssl", "--ssl-verify-server-cert", "--ssl-ca=" + backend.Certs.CertFile}} {
		out, err := runClient(t, p.addr, "CREATE DATABASE IF NOT EXISTS cli; USE cli; CREATE OR REPLACE TABLE t (a INT, b TEXT);\n"+
			"INSERT INTO t VALUES (1, 'one'), (2, NULL);\nSELECT * FROM t ORDER BY a;\nSELECT DATABASE() d;\n\\s\n", append(ssl, "-uroot")...)
		if err != nil {
			t.Fatalf("%v: %v\n%s", ssl, err, out)
		}
		if !strings.Contains(out, "a\tb\n1\tone\n2\tNULL\nd\ncli\n") {
			t.Errorf("%v: got\n%s", ssl, out)
		}
	}
}

// runClient runs statements through the mariadb command line client.
func runClient(t *testing.T, addr, text string, args ...string) (string, error) {
	t.Helper()
	client, err := exec.LookPath("mariadb")
	if err != nil {
		t.Fatal("the mariadb client is not installed (Debian: apt-get install mariadb-client)")
	}
	host, port, _ := net.SplitHostPort(addr)
	cmd := exec.Command(client, append([]string{"--no-defaults", "--batch", "--comments", "-h" + host, "-P" + port}, args...)...)
	cmd.Stdin = strings.NewReader(text)
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// fakeBackend accepts one connection, greets with a plugin and then does what script says. It gives
// the client's login to script.
func fakeBackend(t *testing.T, plugin string, script func(c *wire.Conn, login wire.Login) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	done := make(chan error, 1)
	t.Cleanup(func() {
		if err := <-done; err != nil {
			t.Errorf("fake backend: %v", err)
		}
	})
	go func() {
		done <- func() error {
			socket, err := l.Accept()
			if err != nil {
				return err
			}
			defer socket.Close()
			_ = socket.SetDeadline(time.Now().Add(waitLimit))
			c := wire.NewConn(socket, wire.BackendSide)
			if err := errors.Join(c.Packet(fakeGreeting(plugin)), c.Flush()); err != nil {
				return err
			}
			p, err := c.Read(1 << 20)
			if err != nil {
				return err
			}
			login, err := wire.ParseLogin(bytes.Clone(p.Payload), ^wire.CapMySQL)
			if err != nil {
				return err
			}
			c.Seq = p.Seq + 1
			return script(c, login)
		}()
	}()
	return l.Addr().String()
}

// fakeGreeting is the greeting of a MariaDB without TLS.
func fakeGreeting(plugin string) []byte {
	caps := rawCaps
	p := append([]byte{10}, "5.5.5-10.11.0-MariaDB\x00\x07\x00\x00\x00abcdefgh\x00"...)
	p = append(p, byte(caps), byte(caps>>8), 45, 2, 0, byte(caps>>16), byte(caps>>24), 21)
	p = append(p, make([]byte, 10)...)
	p = append(p, "ijklmnopqrst\x00"...)
	return append(append(p, plugin...), 0)
}

func say(c *wire.Conn, payloads ...[]byte) error {
	for _, p := range payloads {
		if err := c.Packet(p); err != nil {
			return err
		}
	}
	return c.Flush()
}

func fakeOK() []byte { return wire.OK{Status: wire.StatusAutocommit}.Append(nil, rawCaps) }

func TestCachingSha2(t *testing.T) {
	const plugin = mysql.AUTH_CACHING_SHA2_PASSWORD
	send := func(c *rawClient) error {
		if _, err := c.Read(1 << 16); err != nil {
			return err
		}
		c.caps = rawCaps
		c.Seq = 1
		return say(c.Conn, wire.Login{Caps: rawCaps, User: []byte("u"), Auth: []byte("hashed"), Plugin: []byte(plugin)}.Append(nil))
	}
	t.Run("fast path", func(t *testing.T) {
		// The backend says 03 and then OK without a packet of the client's in between.
		p := startProxy(t, fakeBackend(t, plugin, func(c *wire.Conn, _ wire.Login) error {
			return say(c, []byte{1, 3}, fakeOK())
		}), nil)
		c := dialRaw(t, p.addr)
		if err := send(c); err != nil {
			t.Fatal(err)
		}
		for _, want := range [][]byte{{1, 3}, fakeOK()} {
			if got, err := c.Read(100); err != nil || !bytes.Equal(got.Payload, want) {
				t.Fatalf("got %x, %v; want %x", got.Payload, err, want)
			}
		}
	})
	t.Run("full authentication, both plain", func(t *testing.T) {
		p := startProxy(t, fakeBackend(t, plugin, func(c *wire.Conn, _ wire.Login) error {
			if err := say(c, []byte{1, 4}); err != nil {
				return err
			}
			if p, err := c.Read(100); err != nil || !bytes.Equal(p.Payload, []byte{2}) {
				return fmt.Errorf("got %x, %v; want the request for the key", p.Payload, err)
			}
			c.Seq = 4
			return say(c, []byte("\x01-----BEGIN"), fakeOK())
		}), nil)
		c := dialRaw(t, p.addr)
		if err := send(c); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(100); err != nil || !bytes.Equal(got.Payload, []byte{1, 4}) {
			t.Fatalf("got %x, %v", got.Payload, err)
		}
		c.Seq = 3
		if err := say(c.Conn, []byte{2}); err != nil {
			t.Fatal(err)
		}
		if got, err := c.Read(100); err != nil || got.Seq != 4 {
			t.Fatalf("got %x with sequence id %d, %v", got.Payload, got.Seq, err)
		}
	})
	t.Run("full authentication, mixed", func(t *testing.T) {
		certs := testcert.New(t)
		var name string
		p := startProxy(t, fakeBackend(t, plugin, func(c *wire.Conn, _ wire.Login) error {
			if err := say(c, []byte{1, 4}); err != nil {
				return err
			}
			if p, err := c.Read(100); err == nil {
				return fmt.Errorf("a packet of %d bytes reached the plain backend connection", len(p.Payload))
			}
			return nil
		}), func(c *Config) { name = clientTLS(t, certs, c) })
		err := p.open(t, "u:the password", "", "tls="+name).Ping()
		var e *sqldriver.MySQLError
		if !errors.As(err, &e) || e.Number != codeAccessDenied || !strings.Contains(e.Message, "caching_sha2") {
			t.Errorf("%v, want a refusal that names the plugin", err)
		}
	})
}

func TestPasswordsInClearNeedAlikeHops(t *testing.T) {
	certs := testcert.New(t)
	for _, mixed := range []bool{false, true} {
		reached := make(chan bool, 1)
		params := "allowCleartextPasswords=1"
		p := startProxy(t, fakeBackend(t, "mysql_native_password", func(c *wire.Conn, _ wire.Login) error {
			if err := say(c, []byte("\xfemysql_clear_password\x00")); err != nil {
				return err
			}
			p, err := c.Read(100)
			reached <- err == nil && bytes.Contains(p.Payload, []byte("the password"))
			if err != nil {
				return nil
			}
			c.Seq = p.Seq + 1
			return say(c, fakeOK())
		}), func(c *Config) {
			if mixed {
				params += "&tls=" + clientTLS(t, certs, c)
			}
		})
		_ = p.open(t, "u:the password", "", params).Ping()
		if got := <-reached; got == mixed {
			t.Errorf("TLS on one connection only %v: password reached the backend %v", mixed, got)
		}
	}
}

// TestChangeUserThatIsRefusedEndsTheSession has a backend that asks for a password in clear when the
// login changes. It waits for an answer that the proxy does not let through, so nothing else may follow.
func TestChangeUserThatIsRefusedEndsTheSession(t *testing.T) {
	p := startProxy(t, fakeBackend(t, "mysql_native_password", func(c *wire.Conn, _ wire.Login) error {
		if err := say(c, fakeOK()); err != nil {
			return err
		}
		if _, err := c.Read(1 << 16); err != nil {
			return err
		}
		c.Seq = 1
		if err := say(c, []byte("\xfemysql_clear_password\x00")); err != nil {
			return err
		}
		if p, err := c.Read(1 << 16); err == nil {
			return fmt.Errorf("a packet of %d bytes reached the backend", len(p.Payload))
		}
		return nil
	}), func(c *Config) { clientTLS(t, testcert.New(t), c) })
	c := dialRaw(t, p.addr)
	if _, err := c.Read(1 << 16); err != nil {
		t.Fatal(err)
	}
	c.Seq = 1
	if err := say(c.Conn, wire.Login{Caps: rawCaps}.AppendSSLRequest(nil)); err != nil {
		t.Fatal(err)
	}
	conn := tls.Client(c.socket, &tls.Config{InsecureSkipVerify: true})
	c.Upgrade(conn)
	c.Seq = 2
	if err := say(c.Conn, wire.Login{Caps: rawCaps, User: []byte("u"), Plugin: []byte("mysql_native_password")}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	if err := c.finishAuth(""); err != nil {
		t.Fatal(err)
	}
	change := wire.ChangeUser{User: []byte("other"), Charset: []byte{45, 0}, Plugin: []byte("mysql_native_password")}
	ping := append([]byte{1, 0, 0, 0}, byte(wire.ComPing))
	request := change.Append(nil, rawCaps)
	if _, err := conn.Write(append(append([]byte{byte(len(request)), 0, 0, 0}, request...), ping...)); err != nil {
		t.Fatal(err)
	}
	c.wantERR(t, codeAccessDenied)
	c.wantClosed(t)
	eventually(t, "the session is counted", func() bool { return counterValue(p.metrics.ended[causeLoginRefused]) == 1 })
}

// TestPluginData relays what plugins other than the usual ones send: empty packets, and data that
// begins like an OK packet.
func TestPluginData(t *testing.T) {
	p := startProxy(t, fakeBackend(t, "parsec", func(c *wire.Conn, login wire.Login) error {
		if len(login.Auth) != 0 {
			return fmt.Errorf("authentication data of %d bytes, want none", len(login.Auth))
		}
		for i, packet := range [][]byte{[]byte("\xfeparsec\x00salt"), {0}, nil, []byte("\x01more")} {
			if err := say(c, packet); err != nil {
				return err
			}
			p, err := c.Read(100)
			if err != nil || len(p.Payload) != i {
				return fmt.Errorf("turn %d: %d bytes, %v", i, len(p.Payload), err)
			}
			c.Seq = p.Seq + 1
		}
		return say(c, fakeOK())
	}), nil)
	c := dialRaw(t, p.addr)
	if _, err := c.Read(1 << 16); err != nil {
		t.Fatal(err)
	}
	c.Seq = 1
	if err := say(c.Conn, wire.Login{Caps: rawCaps, User: []byte("u"), Plugin: []byte("parsec")}.Append(nil)); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		got, err := c.Read(100)
		if err != nil {
			t.Fatalf("turn %d: %v", i, err)
		}
		c.Seq = got.Seq + 1
		if err := say(c.Conn, make([]byte, i)); err != nil {
			t.Fatal(err)
		}
	}
	if got, err := c.Read(100); err != nil || !bytes.Equal(got.Payload, fakeOK()) {
		t.Fatalf("got %x, %v; want OK", got.Payload, err)
	}
}

func TestBackendThatTurnsAway(t *testing.T) {
	backend := mariadbtest.Start(t, mariadbtest.WithArgs("--max-connections=10", "--extra-max-connections=1"))
	p := startProxy(t, backend.Addr(), nil)
	var last error
	for range 12 {
		if last = dialRaw(t, p.addr).login("root", "", "", rawCaps); last != nil {
			break
		}
	}
	var e *mysql.MyError
	if !errors.As(last, &e) || e.Code != codeTooManyConnections {
		t.Errorf("%v, want the backend's error %d", last, codeTooManyConnections)
	}
}
