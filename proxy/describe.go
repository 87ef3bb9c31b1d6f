package proxy

import (
	"bytes"

	"latchkey/proxy/wire"
)

// notPreparable is MariaDB's error for a statement that it runs but does not prepare.
const notPreparable uint16 = 1295

// describe asks the backend for the column definitions of a statement as the client wrote it, by preparing it: the statement
// that runs in its place gives the same columns under other names and origins. The result is nil for a statement that cannot
// be prepared; any other error of the backend is what the client is told.
func (x *executor) describe(text []byte) ([][]byte, error) {
	x.scratch.request = append(append(x.scratch.request[:0], byte(wire.ComStmtPrepare)), text...)
	if err := x.send(x.scratch.request); err != nil {
		return nil, err
	}
	r := &x.sideReply
	r.Start(x.backend, nil, wire.ReplyPrepare, x.caps)
	var d description
	for {
		event, err := r.Next()
		if err != nil {
			return nil, err
		}
		if event == wire.EventDone {
			break
		}
		payload, err := r.Payload()
		if err != nil {
			return nil, err
		}
		if err := d.event(event, payload, r); err != nil {
			return nil, err
		}
	}
	if err := r.Close(); err != nil {
		return nil, err
	}
	if d.statement != 0 {
		x.closeVariant(&variant{id: d.statement})
	}
	if d.failed != nil && d.failed.Code == notPreparable {
		return nil, nil
	}
	if d.failed != nil {
		return nil, d.failed
	}
	return d.columns, nil
}

// description collects the reply to COM_STMT_PREPARE.
type description struct {
	statement uint32
	columns   [][]byte
	failed    *backendError
}

func (d *description) event(event wire.Event, payload []byte, r *wire.Reply) error {
	switch event {
	case wire.EventERR:
		e, err := wire.ParseERR(payload)
		if err != nil {
			return err
		}
		d.failed = &backendError{ERR: scrubError(e)}
	case wire.EventPrepareOK:
		d.statement = r.Prepared.Statement
	case wire.EventColumn:
		d.columns = append(d.columns, bytes.Clone(payload))
	}
	return nil
}

// describeJob describes the statement of a job whose plan asks for it.
func (x *executor) describeJob(j *job) error {
	x.described = nil
	if !j.plan.Describe {
		return nil
	}
	var err error
	x.described, err = x.describe(j.st.SQL()[j.from:j.to])
	return err
}

// redefine appends to dst the definition of column i, which o has parsed, as the statement of the client's own text has it: as
// it was asked for. How a computed column is described is decided when the statement runs: only its name, its length and whether it can be
// NULL are those that were asked for.
func (o *opener) redefine(dst []byte, i int) ([]byte, error) {
	d := &o.definition
	var asked wire.Column
	if err := wire.ParseColumn(o.described[i], o.caps, &asked); err != nil {
		return dst, err
	}
	if o.binary && !wire.SameEncoding(d.Type, asked.Type) {
		return dst, errOrigin
	}
	if len(asked.OrgName) > 0 || o.preparing {
		return append(dst, o.described[i]...), nil
	}
	d.Name, d.Length = asked.Name, asked.Length
	d.Flags = d.Flags&^wire.FlagNotNull | asked.Flags&wire.FlagNotNull
	return d.Append(dst, o.caps), nil
}
