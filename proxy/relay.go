package proxy

import (
	"errors"
	"time"

	"latchkey/proxy/wire"
)

var (
	// errQuit ends a session whose client said goodbye.
	errQuit = errors.New("COM_QUIT")
	// errRefusedLogin ends a session in the middle of an authentication that the proxy refused.
	errRefusedLogin = errors.New("authentication refused")
)

// command answers one request. The error is nil when the client has got a whole reply; what is not
// fatal is given to the client as the reply.
func (s *session) command(p wire.Packet) error {
	if s.executor != nil {
		if handled, err := s.executor.command(p); handled {
			return err
		}
	}
	switch p.Command() {
	case wire.ComQuit:
		if err := s.forward(p); err != nil {
			return err
		}
		return errQuit
	case wire.ComQuery:
		return s.query(p)
	case wire.ComStmtPrepare:
		return s.prepare(p)
	case wire.ComStmtExecute:
		return s.execute(p)
	case wire.ComStmtSendLong:
		return s.longData(p)
	case wire.ComStmtFetch:
		return s.fetch(p)
	case wire.ComStmtClose:
		return s.closeStatement(p)
	case wire.ComStmtReset:
		return s.resetStatement(p)
	case wire.ComInitDB:
		return s.initDB(p)
	case wire.ComFieldList:
		return s.fieldList(p)
	case wire.ComChangeUser:
		return s.changeUser(p)
	case wire.ComResetConnection:
		return s.resetConnection(p)
	case wire.ComSetOption:
		return s.setOption(p)
	case wire.ComPing, wire.ComRefresh, wire.ComShutdown, wire.ComDebug, wire.ComProcessKill:
		return s.exchange(p, wire.ReplyStatus)
	case wire.ComStatistics:
		return s.exchange(p, wire.ReplyString)
	case wire.ComProcessInfo:
		return s.exchange(p, wire.ReplyQuery)
	}
	// What is left is internal to servers, an endless stream of the binary log, bulk execution, which
	// was not offered, or unknown: the form of its reply is unknown too.
	return errUnknownCommand
}

// exchange sends a request on and relays the reply.
func (s *session) exchange(p wire.Packet, kind wire.ReplyKind) error {
	if err := s.forward(p); err != nil {
		return err
	}
	return s.relay(kind)
}

// forward sends a request on as it is.
func (s *session) forward(p wire.Packet) error {
	err := s.backend.Forward(p)
	s.sent()
	return s.lastWords(err)
}

// queue sends a request on that has no reply. When the client has sent more, they leave together.
func (s *session) queue(p wire.Packet) error {
	if !s.client.HasPacket() {
		return s.forward(p)
	}
	return s.backend.Queue(p)
}

// send sends a request of the proxy's making.
func (s *session) send(payload []byte) error {
	err := s.backend.Send(payload)
	s.sent()
	return s.lastWords(err)
}

// lastWordsWait is how long an ERR packet may take from a backend that no longer reads.
const lastWordsWait = time.Second

// lastWords is for a request that could not be written: the backend may have said why before it
// closed the connection, for example that the request was too large, and the client wants to know.
func (s *session) lastWords(err error) error {
	if err == nil {
		return nil
	}
	_ = s.backendSocket.SetReadDeadline(time.Now().Add(lastWordsWait))
	p, readErr := s.backend.Read(maxAuth)
	if readErr != nil {
		return err
	}
	if _, parseErr := wire.ParseERR(p.Payload); parseErr == nil {
		_ = s.pass(s.client, p.Payload)
	}
	return err
}

// relay relays the reply to the request that was just sent, and keeps the facts that it tells.
func (s *session) relay(kind wire.ReplyKind) error {
	r := &s.reply
	r.Start(s.backend, s.client, kind, s.caps)
	for {
		event, err := r.PassRows()
		if err != nil {
			return err
		}
		switch event {
		case wire.EventDone:
			return r.Close()
		case wire.EventOK, wire.EventResultEnd:
			err = s.observe(r)
		case wire.EventInfile:
			err = s.infile(r)
		}
		if err != nil {
			return err
		}
	}
}

// observe keeps the facts of the OK or EOF packet that r is at.
func (s *session) observe(r *wire.Reply) error {
	s.status = r.Status
	if !r.Status.Has(wire.StatusSessionChanged) || !s.caps.Has(wire.CapSessionTrack) {
		return nil
	}
	p, err := r.Payload()
	if err != nil {
		return err
	}
	if len(p) == 5 && p[0] == 0xfe {
		return nil // an EOF packet has no room for session state
	}
	ok, err := wire.ParseOK(p, s.caps)
	if err != nil {
		return &wire.IOError{Side: wire.BackendSide, Op: "read", Err: err}
	}
	s.observeOK(ok)
	return nil
}

// observeOK keeps the facts of an OK packet. Session state that cannot be read says nothing.
func (s *session) observeOK(ok wire.OK) {
	s.status = ok.Status
	for t := (wire.Tracks{Rest: ok.Track}); t.Next(); {
		if t.Type == wire.TrackSchema {
			s.database = string(t.Value)
		}
	}
}

// infile lets the client send the file that the backend asks for, if the running statement is one
// that may ask.
func (s *session) infile(r *wire.Reply) error {
	if s.infileAllowed && s.caps.Has(wire.CapLocalFiles) {
		return r.RelayInfile()
	}
	s.server.metrics.refused(errInfile.code)
	return r.RefuseInfile(errPacket(errInfile))
}

func (s *session) initDB(p wire.Packet) error {
	name := string(p.Payload[1:])
	if err := s.exchange(p, wire.ReplyStatus); err != nil || s.reply.Failed {
		return err
	}
	s.database = name
	return nil
}

func (s *session) setOption(p wire.Packet) error {
	option, parseErr := wire.ParseSetOption(p.Payload)
	if err := s.exchange(p, wire.ReplyStatus); err != nil || s.reply.Failed || parseErr != nil {
		return err
	}
	s.multiStatements = option == wire.OptionMultiStatementsOn
	return nil
}

// changeUser logs another user in on the same connections. Everything that belonged to the first is
// forgotten before the backend is asked, and stays forgotten if that fails.
func (s *session) changeUser(p wire.Packet) error {
	s.forget()
	user, err := s.parseChangeUser(p)
	if err != nil {
		return errors.Join(err, s.started())
	}
	value, rest, found, err := wire.TakeAttribute(user.Attributes, keyAttribute)
	if err != nil {
		return errors.Join(errMalformed, s.started())
	}
	name, database, plugin := string(user.User), string(user.Database), string(user.Plugin)
	collation := s.collation
	if len(user.Charset) == 2 {
		collation = uint16(user.Charset[0]) | uint16(user.Charset[1])<<8
	}
	if found {
		defer clear(value)
		user.Attributes = rest
		err = s.send(user.Append(nil, s.caps))
		clear(p.Payload)
	} else {
		err = s.forward(p)
	}
	if err != nil {
		return err
	}
	err = s.relayAuth(0, plugin, func() error {
		s.user, s.database, s.collation, s.attribute = name, database, collation, value
		return s.started()
	})
	switch {
	case err == nil || fatal(err):
		return err
	case errors.Is(err, errLoginFailed):
		// After its ERR packet, which the client has got, MariaDB goes on with the user of before.
		return s.startedAgain()
	}
	// The backend waits for an answer that it will not get, or is logged in where the client is not.
	return errors.Join(errRefusedLogin, s.refuse(err))
}

// parseChangeUser parses COM_CHANGE_USER and checks what it asks for.
func (s *session) parseChangeUser(p wire.Packet) (wire.ChangeUser, error) {
	if len(p.Payload) > wire.MaxLogin {
		return wire.ChangeUser{}, errMalformed
	}
	user, err := wire.ParseChangeUser(p.Payload, s.caps)
	if err != nil {
		return wire.ChangeUser{}, errMalformed
	}
	return user, s.checkPlugin(user.Plugin)
}

func (s *session) resetConnection(p wire.Packet) error {
	s.forget()
	if err := s.exchange(p, wire.ReplyStatus); err != nil {
		return err
	}
	return s.startedAgain()
}

// startedAgain is started for a login of before, when the client has got its reply already: an error
// can only end the session.
func (s *session) startedAgain() error {
	if err := s.started(); err != nil {
		return errors.Join(errRefusedLogin, err)
	}
	return nil
}

// query answers COM_QUERY where nothing is protected, and so do the methods below.
func (s *session) query(p wire.Packet) error {
	s.infileAllowed = true
	defer func() { s.infileAllowed = false }()
	return s.exchange(p, wire.ReplyQuery)
}

// prepare answers COM_STMT_PREPARE.
func (s *session) prepare(p wire.Packet) error { return s.exchange(p, wire.ReplyPrepare) }

// execute answers COM_STMT_EXECUTE.
func (s *session) execute(p wire.Packet) error {
	_, flags, err := wire.ParseExecuteHead(p.Payload)
	if err != nil {
		return err
	}
	return s.exchange(p, wire.ExecuteReply(flags))
}

// longData takes a piece of a parameter, which has no reply.
func (s *session) longData(p wire.Packet) error { return s.queue(p) }

// fetch answers COM_STMT_FETCH.
func (s *session) fetch(p wire.Packet) error { return s.exchange(p, wire.ReplyFetch) }

// closeStatement forgets a prepared statement, which has no reply.
func (s *session) closeStatement(p wire.Packet) error { return s.queue(p) }

// resetStatement answers COM_STMT_RESET.
func (s *session) resetStatement(p wire.Packet) error { return s.exchange(p, wire.ReplyStatus) }

// fieldList answers COM_FIELD_LIST.
func (s *session) fieldList(p wire.Packet) error { return s.exchange(p, wire.ReplyFields) }

// started is called when the backend has accepted a login, also by COM_CHANGE_USER, and before the
// client is told. An error refuses the login.
func (s *session) started() error {
	defer func() {
		clear(s.attribute)
		s.attribute = nil
	}()
	if s.server.config.Protection == nil {
		return nil
	}
	if s.executor == nil {
		s.executor = newExecutor(s, s.server.config.Protection)
	}
	return s.executor.loggedIn(s.attribute)
}

// forget drops everything that belongs to the user who is logged in.
func (s *session) forget() {
	if s.executor != nil {
		s.executor.stopBackground()
		s.executor.loggedOut()
	}
}

// ended is called once, when both connections are closed.
func (s *session) ended() {
	if s.executor != nil {
		s.executor.loggedOut()
	}
}
