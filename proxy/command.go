package proxy

import (
	"slices"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// command answers the requests that carry statements, values or rows. handled is false for those that the session relays.
func (x *executor) command(p wire.Packet) (handled bool, err error) {
	if x.raw {
		return x.rawCommand(p)
	}
	switch p.Command() {
	case wire.ComQuery:
		return true, x.query(p)
	case wire.ComStmtPrepare:
		return true, x.prepare(p)
	case wire.ComStmtExecute:
		return true, x.execute(p)
	case wire.ComStmtSendLong:
		return true, x.longData(p)
	case wire.ComStmtFetch:
		return true, x.fetch(p)
	case wire.ComStmtClose:
		return true, x.closeStatement(p)
	case wire.ComStmtReset:
		return true, x.resetStatement(p)
	case wire.ComInitDB:
		return x.initDB(p)
	case wire.ComFieldList:
		return true, x.fieldList(p)
	}
	return false, nil
}

// rawCommand answers the requests of a raw account that carry text, values or the name of a database.
// COM_STMT_SEND_LONG_DATA has no answer and passes.
func (x *executor) rawCommand(p wire.Packet) (handled bool, err error) {
	switch p.Command() {
	case wire.ComQuery:
		return true, x.queryRaw(p)
	case wire.ComStmtPrepare:
		if err := x.checkRaw(p.Payload[1:]); err != nil {
			return true, x.refuse(err)
		}
	case wire.ComStmtExecute:
		if holdsKey(p.Payload) {
			return true, x.refuse(errKeyLiteral)
		}
	case wire.ComInitDB:
		return x.initDB(p)
	}
	return false, nil
}

// initDB refuses the databases that are not reachable. The session does the rest.
func (x *executor) initDB(p wire.Packet) (handled bool, err error) {
	if err := x.reachable(string(p.Payload[1:])); err != nil {
		return true, x.refuse(err)
	}
	return false, nil
}

// reachable refuses to make the schema latchkey or the keystore database the current one: statements would then reach it
// without naming it.
func (x *executor) reachable(database string) error {
	keystore := x.env.Schema.cfg.KeystoreDatabase
	if strings.EqualFold(database, "latchkey") || keystore != "" && strings.EqualFold(database, keystore) {
		return errReserved
	}
	if mentionsKey([]byte(database)) {
		return errKeyLiteral
	}
	return nil
}

// fieldList answers COM_FIELD_LIST: protected columns are shown as declared.
func (x *executor) fieldList(p wire.Packet) error {
	x.begin()
	snapshot, err := x.snapshot()
	if err != nil {
		return x.refuse(err)
	}
	f, err := wire.ParseFieldList(p.Payload)
	if err != nil {
		return x.refuse(err)
	}
	table := snapshot.Schema.Table(x.database, string(f.Table))
	if x.raw || table == nil {
		return x.exchange(p, wire.ReplyFields)
	}
	columns, err := snapshot.Planner.ProtectedColumns(table)
	if err != nil {
		return x.refuse(err)
	}
	if columns == nil {
		return x.exchange(p, wire.ReplyFields)
	}
	if x.facts.stale {
		if err := x.refresh(); err != nil {
			return x.refuse(err)
		}
	}
	if err := x.forward(p); err != nil {
		return err
	}
	return x.relayFields(table, columns)
}

// relayFields relays the column definitions of a table or view with protected columns. columns has an entry for each of its
// columns, nil for those that are not protected.
func (x *executor) relayFields(table *rewrite.Table, columns []*rewrite.Protected) error {
	r := &x.reply
	r.Start(x.backend, x.client, wire.ReplyFields, x.caps)
	for {
		event, err := r.Next()
		if err != nil {
			return err
		}
		switch event {
		case wire.EventDone:
			return r.Close()
		case wire.EventColumn:
			err = x.relayField(table, columns)
		case wire.EventResultEnd:
			err = x.sawEnd(event)
		}
		if err == nil {
			continue
		}
		if err := x.abort(err); err != nil {
			return err
		}
	}
}

func (x *executor) relayField(table *rewrite.Table, columns []*rewrite.Protected) error {
	payload, err := x.reply.Payload()
	if err != nil || x.reply.Aborted() {
		return err
	}
	var d wire.Column
	if err := wire.ParseColumn(payload, x.caps, &d); err != nil {
		return err
	}
	at := slices.Index(table.Columns, table.Column(string(d.Name)))
	if at < 0 || at >= len(columns) {
		return errOrigin
	}
	column := columns[at]
	if column == nil {
		return nil
	}
	declare(&d, column, &x.facts.conv, x.caps)
	if table.Kind == rewrite.View {
		asViewField(&d, column.Type.Kind)
	}
	// An empty physical default stands for the declared one.
	if t := column.Type; t.HasDefault && len(d.Default) == 1 && d.Default[0] == 0 {
		text, err := t.AppendText(nil, t.Default, &x.facts.conv)
		if err != nil {
			return errNotPossible(column, "the declared default cannot be shown in this session's character set or time zone")
		}
		d.Default = wire.AppendTextValue(nil, text, false)
	}
	return x.reply.Replace(d.Append(nil, x.caps))
}

// asViewField gives the definition of a column of a table the form that the column of a view has in the reply to
// COM_FIELD_LIST: text has 39 decimals, the type of a TEXT or BLOB says how long it is, and no extended metadata follows.
func asViewField(d *wire.Column, kind logical.Kind) {
	d.Extended = nil
	switch kind {
	case logical.KindTinyText, logical.KindTinyBlob:
		d.Type = wire.TypeTinyBlob
	case logical.KindMediumText, logical.KindMediumBlob:
		d.Type = wire.TypeMediumBlob
	case logical.KindLongText, logical.KindLongBlob, logical.KindJSON:
		d.Type = wire.TypeLongBlob
	case logical.KindText, logical.KindBlob, logical.KindChar, logical.KindVarchar, logical.KindBinary, logical.KindVarbinary:
	default:
		return
	}
	d.Decimals = 39
}
