package proxy

import (
	"errors"

	"latchkey/proxy/wire"
)

// backendError is an error of the backend to a request of the proxy's own, or of the evaluator, as the client may see it.
type backendError struct {
	wire.ERR
	// private says that it is the evaluator's: its text may quote what the backend must not see.
	private bool
}

// Error implements error.
func (e *backendError) Error() string { return e.Message }

// side runs one statement of the proxy's own on the client's backend connection and reads its one resultset. define is
// told of the column definitions and may be nil; row gets the values of each row, nil for NULL, which belong to the packet.
// An error of row ends the calls, not the reading. The error is a *backendError, row's own, or the connection's.
func (x *executor) side(sql []byte, define func(i int, d *wire.Column), row func(values [][]byte) error) error {
	if err := x.sendQuery(sql); err != nil {
		return err
	}
	return x.readSide(wire.ReplyQuery, define, row)
}

// sideExec runs a statement of the proxy's own whose result does not matter.
func (x *executor) sideExec(sql []byte) error {
	return x.side(sql, nil, func([][]byte) error { return nil })
}

// certainTries is how often sideCertain runs a statement: a KILL and a time limit hit one of them.
const certainTries = 3

// sideCertain runs a statement that ends or takes back what the proxy began in the client's session. A KILL of the client's own
// statement, or a time limit, can meet it: it is run again then. Its errors end the session, whose transaction must not go on.
func (x *executor) sideCertain(sql string) error {
	for tries := 1; ; tries++ {
		err := x.sideExec([]byte(sql))
		var backend *backendError
		switch {
		case !errors.As(err, &backend):
			return err
		case backend.Code == 1305: // ER_SP_DOES_NOT_EXIST, also of a savepoint
			return nil
		case tries == certainTries:
			return &wire.IOError{Side: wire.BackendSide, Op: "end the statement", Err: backend}
		}
	}
}

// readSide reads the reply to a request of the proxy's own.
func (x *executor) readSide(kind wire.ReplyKind, define func(i int, d *wire.Column), row func(values [][]byte) error) error {
	r := &x.sideReply
	r.Start(x.backend, nil, kind, x.caps)
	reader := sideReader{kind: kind, caps: x.caps, define: define, row: row, fields: x.scratch.fields}
	defer func() { x.scratch.fields = reader.fields[:0] }()
	var failed error
	for {
		event, err := r.Next()
		if err != nil {
			return err
		}
		if event == wire.EventDone {
			if err := r.Close(); err != nil {
				return err
			}
			return failed
		}
		payload, err := r.Payload()
		if err != nil {
			return err
		}
		switch event {
		case wire.EventOK, wire.EventResultEnd, wire.EventColumnsEnd:
			x.session.status = r.Status
			if event == wire.EventResultEnd {
				var end wire.OK
				end, err = parseEnd(payload, x.caps)
				x.sideWarnings = end.Warnings
			}
		case wire.EventInfile:
			err = r.RefuseInfile(errPacket(errInfile))
		default:
			if failed == nil {
				failed = reader.event(event, payload)
			}
		}
		if err != nil {
			return err
		}
	}
}

// sideReader takes the packets of one reply apart.
type sideReader struct {
	kind   wire.ReplyKind
	caps   wire.Capabilities
	define func(i int, d *wire.Column)
	row    func(values [][]byte) error
	types  []wire.ColumnType
	fields []wire.Field
	values [][]byte
}

func (s *sideReader) event(event wire.Event, payload []byte) error {
	switch event {
	case wire.EventERR:
		e, err := wire.ParseERR(payload)
		if err != nil {
			return err
		}
		return &backendError{ERR: scrubError(e)}
	case wire.EventColumn:
		var d wire.Column
		if err := wire.ParseColumn(payload, s.caps, &d); err != nil {
			return err
		}
		if s.define != nil {
			s.define(len(s.types), &d)
		}
		s.types = append(s.types, d.Type)
	case wire.EventRow:
		return s.readRow(payload)
	}
	return nil
}

func (s *sideReader) readRow(payload []byte) error {
	var err error
	if s.kind == wire.ReplyQuery {
		s.fields, err = wire.WalkText(s.fields[:0], payload, len(s.types))
	} else {
		s.fields, err = wire.WalkBinary(s.fields[:0], payload, s.types)
	}
	if err != nil {
		return err
	}
	s.values = s.values[:0]
	for _, f := range s.fields {
		s.values = append(s.values, f.Of(payload))
	}
	return s.row(s.values)
}
