package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/pires/go-proxyproto"

	"latchkey/proxy/wire"
)

// keyAttribute is the connection attribute that carries a key. The backend never sees it.
const keyAttribute = "latchkey"

// passedCaps are the capabilities that a session may have. Compression, bulk execution and cached
// metadata are left out, and clients then do without; so are flags that MariaDB does not offer and
// all that nobody knows yet, since they could change what a packet looks like.
const passedCaps = wire.CapMySQL | wire.CapFoundRows | wire.CapLongFlag | wire.CapConnectWithDB | wire.CapNoSchema |
	wire.CapODBC | wire.CapLocalFiles | wire.CapIgnoreSpace | wire.CapProtocol41 | wire.CapInteractive |
	wire.CapIgnoreSigpipe | wire.CapTransactions | wire.CapReserved | wire.CapSecureConnection |
	wire.CapMultiStatements | wire.CapMultiResults | wire.CapPSMultiResults | wire.CapPluginAuth |
	wire.CapConnectAttrs | wire.CapLenencAuth | wire.CapExpiredPasswords | wire.CapSessionTrack |
	wire.CapDeprecateEOF | wire.CapSSLVerify | wire.CapRememberOptions | wire.CapProgress | wire.CapExtendedMetadata

// maxGreeting and maxAuth bound the packets of a login, in bytes.
const (
	maxGreeting = 64 << 10
	maxAuth     = 1 << 20
)

var (
	errLoginFailed = errors.New("the backend refused the login")
	errGreeting    = errors.New("the backend turned the connection away")
	errClientTLS   = errors.New("TLS handshake with the client")
)

// handshake is the state of one login: a list of steps over both connections. The backend greets and
// decides; the proxy passes the packets on, and holds no password.
// https://mariadb.com/kb/en/connection/
type handshake struct {
	*session
	greeting wire.Greeting
	login    wire.Login
	// offset is what the backend's sequence ids are ahead of the client's: one hop may have had an
	// SSLRequest that the other had not.
	offset uint8
}

// login connects to the backend and relays the handshake until the client is logged in.
func (s *session) login() (endCause, error) {
	deadline := time.Now().Add(s.server.config.Limits.Handshake)
	_ = s.clientSocket.SetDeadline(deadline)
	if s.server.mayProxy(s.clientSocket.RemoteAddr()) {
		// The header, if there is one, comes before the client's first packet and is read with it.
		s.clientStream = proxyproto.NewConn(s.clientSocket, proxyproto.WithPolicy(proxyproto.USE))
		s.client.Upgrade(s.clientStream)
	}
	s.setClientAddr(s.clientSocket.RemoteAddr())
	h := handshake{session: s}
	for _, step := range []func() error{
		func() error { return h.dial(deadline) },
		h.greet,
		h.readLogin,
		h.takeAttribute,
		h.sendLogin,
		h.authenticate,
	} {
		if err := step(); err != nil {
			return s.loginCause(err), err
		}
	}
	if err := errors.Join(s.clientSocket.SetDeadline(time.Time{}), s.backendSocket.SetDeadline(time.Time{})); err != nil {
		return causeClientClosed, err
	}
	return 0, nil
}

// loginCause tells why a login failed, and tells the client if it does not know yet.
func (s *session) loginCause(err error) endCause {
	var io *wire.IOError
	switch {
	case errors.Is(err, errLoginFailed), errors.Is(err, errGreeting):
		return causeLoginFailed
	case errors.Is(err, errBackendUnreachable):
		_ = s.refuse(err)
		return causeBackendDown
	case s.server.closing.Load():
		return causeShutdown
	case timedOut(err):
		return causeLoginTimeout
	case errors.Is(err, errClientTLS):
		return causeClientProtocol
	case errors.As(err, &io):
		cause := s.cause(err)
		if cause == causeClientProtocol {
			_ = s.refuse(err)
		}
		return cause
	}
	_ = s.refuse(err)
	if errors.Is(err, wire.ErrMalformed) {
		return causeClientProtocol
	}
	return causeLoginRefused
}

func (h *handshake) dial(deadline time.Time) error {
	ctx, cancel := context.WithTimeout(h.server.base, h.server.config.Limits.Dial)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", h.server.config.Backend.Address)
	if err != nil {
		h.log.Warn("backend not reached", "address", h.server.config.Backend.Address, "error", err)
		return errBackendUnreachable
	}
	if !h.setBackend(conn) {
		return ErrServerClosed
	}
	return conn.SetDeadline(deadline)
}

// greet reads the backend's greeting and passes it on with the capabilities that a session may have.
func (h *handshake) greet() error {
	p, err := h.backend.Read(maxGreeting)
	if err != nil {
		return err
	}
	if e, err := wire.ParseERR(p.Payload); err == nil {
		// Too many connections, or a blocked host.
		h.log.Warn("backend turns connections away", "code", e.Code)
		if err := h.client.Forward(p); err != nil {
			return err
		}
		return errGreeting
	}
	if h.greeting, err = wire.ParseGreeting(p.Payload); err != nil {
		return h.backendSent(err)
	}
	if h.server.backendTLS != nil && !h.greeting.Caps.Has(wire.CapSSL) {
		h.log.Warn("backend offers no TLS, which backend.tls requires", "address", h.server.config.Backend.Address)
		return errBackendUnreachable
	}
	h.threadID, h.version = h.greeting.ThreadID, h.greeting.Version
	h.status = h.greeting.Status
	offered := h.greeting.Caps & passedCaps
	if h.server.clientTLS != nil {
		offered |= wire.CapSSL
	}
	h.greeting.SetCaps(p.Payload, offered)
	return h.client.Forward(p)
}

// backendSent marks an error as the backend's fault.
func (h *handshake) backendSent(err error) error {
	return &wire.IOError{Side: wire.BackendSide, Op: "read", Err: err}
}

// readLogin reads the client's handshake response, with TLS in between if the client asks for it.
func (h *handshake) readLogin() error {
	p, err := h.client.ReadExpected(1, wire.MaxLogin)
	if err != nil {
		return err
	}
	h.setClientAddr(h.clientStream.RemoteAddr())
	if wire.IsSSLRequest(p.Payload) {
		if h.server.clientTLS == nil {
			return errTLSNotOffered
		}
		if err := h.startClientTLS(); err != nil {
			return err
		}
		if p, err = h.client.ReadExpected(2, wire.MaxLogin); err != nil {
			return err
		}
	} else if h.server.config.Listen.TLS.Require {
		return errTLSRequired
	}
	// Most clients ask only for what was offered. PHP's mysqlnd does not look, and would wait for ever for
	// compressed packets.
	if wire.AsksCompression(p.Payload) {
		return errCompression
	}
	// The packet's bytes are gone with the next read from the client, but not what they say: a key may be among the attributes.
	own := bytes.Clone(p.Payload)
	clear(p.Payload)
	if h.login, err = wire.ParseLogin(own, h.greeting.Caps); err != nil {
		return err
	}
	if h.login.User == nil {
		return wire.ErrMalformed // a second SSLRequest
	}
	if mentionsKey(h.login.User) || mentionsKey(h.login.Database) {
		return errKeyLiteral
	}
	h.caps = h.login.Caps &^ wire.CapSSL
	h.multiStatements = h.caps.Has(wire.CapMultiStatements)
	h.user = string(h.login.User)
	h.database = string(h.login.Database)
	h.collation = uint16(h.login.Charset)
	return nil
}

// startClientTLS does the TLS handshake with the client. Bytes that came right behind the SSLRequest
// belong to it: were they taken for packets, whoever is between could put packets before the
// encrypted ones.
func (h *handshake) startClientTLS() error {
	early := h.client.TakeBuffered()
	h.records = &recordConn{Conn: &earlyConn{h.clientStream, early}}
	conn := tls.Server(h.records, h.server.clientTLS)
	if err := conn.HandshakeContext(h.server.base); err != nil {
		return fmt.Errorf("%w: %w", errClientTLS, err)
	}
	h.clientStream, h.clientTLS = conn, true
	h.client.Upgrade(conn)
	return nil
}

// earlyConn is a connection of which some bytes have been read already.
type earlyConn struct {
	net.Conn
	early []byte
}

func (c *earlyConn) Read(b []byte) (int, error) {
	if len(c.early) > 0 {
		n := copy(b, c.early)
		c.early = c.early[n:]
		return n, nil
	}
	return c.Conn.Read(b)
}

// takeAttribute takes the key out of the connection attributes.
func (h *handshake) takeAttribute() error {
	value, rest, found, err := wire.TakeAttribute(h.login.Attributes, keyAttribute)
	if err != nil {
		return errMalformed
	}
	if found {
		clear(h.login.Attributes)
		h.attribute, h.login.Attributes = value, rest
	}
	return nil
}

// sendLogin sends the handshake response on, with TLS in between if the backend connection uses it.
func (h *handshake) sendLogin() error {
	if err := h.checkPlugin(h.login.Plugin); err != nil {
		return err
	}
	clientSeq := h.client.Seq - 1
	login := h.login
	login.Caps = h.caps
	h.backend.Seq = 1
	if h.server.backendTLS != nil {
		login.Caps |= wire.CapSSL
		if err := h.backend.Packet(login.AppendSSLRequest(nil)); err != nil {
			return err
		}
		if err := h.backend.Flush(); err != nil {
			return err
		}
		if err := h.startBackendTLS(); err != nil {
			return err
		}
	}
	h.offset = h.backend.Seq - clientSeq
	if err := h.backend.Packet(login.Append(nil)); err != nil {
		return err
	}
	return h.backend.Flush()
}

func (h *handshake) startBackendTLS() error {
	if len(h.backend.TakeBuffered()) > 0 {
		return h.backendSent(wire.ErrMalformed)
	}
	conn := tls.Client(h.backendSocket, h.server.backendTLS)
	if err := conn.HandshakeContext(h.server.base); err != nil {
		h.log.Warn("TLS with the backend failed", "address", h.server.config.Backend.Address, "error", err)
		return errBackendUnreachable
	}
	h.backendStream = conn
	h.backend.Upgrade(conn)
	return nil
}

// authenticate relays the authentication of a login.
func (h *handshake) authenticate() error {
	plugin := h.login.Plugin
	if plugin == nil {
		plugin = []byte(h.greeting.AuthPlugin)
	}
	return h.relayAuth(h.offset, string(plugin), h.started)
}

// relayAuth relays packets between an authentication plugin of the backend and the client until the
// backend says OK or ERR, which is passed on too. offset is what the backend's sequence ids are ahead
// of the client's. accept is called before the OK packet is passed on; its error keeps the packet
// back, and the next packet for the client takes its place. After an ERR packet the error is
// errLoginFailed.
func (s *session) relayAuth(offset uint8, plugin string, accept func() error) error {
	for {
		p, err := s.backend.Read(maxAuth)
		if err != nil {
			return err
		}
		s.client.Seq = p.Seq - offset
		turn, err := s.authPacket(p, &plugin)
		if err == nil && turn == authDone {
			// Side queries may follow: the packet's bytes have to last.
			p.Payload = bytes.Clone(p.Payload)
			err = accept()
		}
		if err != nil {
			return err
		}
		if err := s.pass(s.client, p.Payload); err != nil {
			return err
		}
		switch turn {
		case authDone:
			return nil
		case authFailed:
			return errLoginFailed
		case authBackend:
			continue
		}
		answer, err := s.client.Read(maxAuth)
		if err != nil {
			return err
		}
		s.backend.Seq = answer.Seq + offset
		if err := s.pass(s.backend, answer.Payload); err != nil {
			return err
		}
		s.client.Seq = answer.Seq + 1
	}
}

func (s *session) pass(to *wire.Conn, payload []byte) error {
	if err := to.Packet(payload); err != nil {
		return err
	}
	return to.Flush()
}

// authTurn is whose turn it is behind a packet of the backend's.
type authTurn uint8

const (
	authClient authTurn = iota
	authBackend
	authDone
	authFailed
)

// authPacket looks at a packet of the backend's during authentication and keeps *plugin at the name of
// the plugin that is talking.
func (s *session) authPacket(p wire.Packet, plugin *string) (authTurn, error) {
	b := p.Payload
	if len(b) == 0 {
		return authClient, nil
	}
	switch b[0] {
	case mysql.OK_HEADER:
		// Only 01, FE and FF are escaped when a plugin's data begins with them: what does not parse
		// as an OK packet is such data.
		ok, err := wire.ParseOK(b, s.caps)
		if err != nil {
			return authClient, nil
		}
		s.observeOK(ok)
		return authDone, nil
	case mysql.ERR_HEADER:
		return authFailed, nil
	case mysql.EOF_HEADER:
		name, _, found := bytes.Cut(b[1:], []byte{0})
		if !found && len(name) == 0 {
			return 0, errOldPassword
		}
		*plugin = string(name)
		return authClient, s.checkPlugin(name)
	case mysql.MORE_DATE_HEADER:
		if *plugin != mysql.AUTH_CACHING_SHA2_PASSWORD || len(b) != 2 {
			break
		}
		switch b[1] {
		case mysql.CACHE_SHA2_FAST_AUTH:
			return authBackend, nil
		case mysql.CACHE_SHA2_FULL_AUTH:
			if s.mixedTLS() {
				return 0, errMixedSha2
			}
		}
	}
	return authClient, nil
}

// mixedTLS says whether exactly one of the two connections uses TLS.
func (s *session) mixedTLS() bool { return s.clientTLS != (s.server.backendTLS != nil) }

// checkPlugin refuses plugins that send the password in clear, or encrypt it only where the client
// sees no TLS, unless both connections look alike: what the client sends is fit for its own.
func (s *session) checkPlugin(name []byte) error {
	if !s.mixedTLS() {
		return nil
	}
	switch string(name) {
	case mysql.AUTH_CLEAR_PASSWORD, mysql.AUTH_SHA256_PASSWORD, "dialog":
		return errMixedTLS
	}
	return nil
}

// setClientAddr records where the client is. A client counts as being on this machine only if
// whoever connected is as well: a header is no proof of the way the bytes took.
func (s *session) setClientAddr(addr net.Addr) {
	if tcp, ok := addr.(*net.TCPAddr); ok {
		s.clientAddr = tcp.AddrPort()
	}
	s.loopback = addrIP(addr).IsLoopback() && addrIP(s.clientSocket.RemoteAddr()).IsLoopback()
}
