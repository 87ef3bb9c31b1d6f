package proxy

import (
	"bytes"
	"fmt"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// magics are the forms in which the beginning of a cell appears in the texts of the backend: as bytes, as MariaDB escapes
// bytes that are not text, and in hexadecimal as the proxy writes it.
var magics = [][]byte{{0xff, 'L', 'K'}, []byte(`\xFFLK`), []byte("ff4c4b"), []byte("FF4C4B")}

// rewritten are pieces of the text that the proxy puts into statements and no client writes.
var rewritten = [][]byte{[]byte(">= x'"), []byte(">= ?"), []byte("=x'74'"), []byte("exp(9702"), []byte("EXP(9702")}

// quotesCell tells whether a text of the backend quotes a cell.
func quotesCell(text []byte) bool { return containsAny(text, magics) }

func containsAny(text []byte, pieces [][]byte) bool {
	for _, piece := range pieces {
		if bytes.Contains(text, piece) {
			return true
		}
	}
	return false
}

// raised tells whether an error is the one that raiseLocked raises: the statement met a cell whose key is not here.
func raised(e wire.ERR) bool {
	return e.Code == codeOutOfRange && strings.Contains(strings.ToLower(e.Message), "exp(9702 + ")
}

// raisedOwner tells whether an error is the one that raiseOwner raises: the statement met a row of another owner.
func raisedOwner(e wire.ERR) bool {
	return e.Code == codeOutOfRange && strings.Contains(strings.ToLower(e.Message), "exp(97020 + ")
}

// scrubError gives an error of the backend to a sealed statement without the cells and the rewritten text that it quotes.
// Number and SQLSTATE stay.
func scrubError(e wire.ERR) wire.ERR {
	if raised(e) {
		f := newFault(codeLocked, "the statement would overwrite a cell sealed under a key that is not on this connection; "+
			"push that key, or set overwrite: allow")
		return wire.ERR{Code: f.code, State: f.state, Message: f.message}
	}
	if raisedOwner(e) {
		f := newFault(codeLocked, "the statement meets a row of another owner than it was made for, and would give its cells to the wrong one; "+
			"update the row by its key")
		return wire.ERR{Code: f.code, State: f.state, Message: f.message}
	}
	if message := []byte(e.Message); !quotesCell(message) && !containsAny(message, rewritten) {
		return e
	}
	if name, ok := keyName(e.Message); ok && e.Code == codeDuplicate {
		e.Message = fmt.Sprintf("Duplicate entry '(sealed)' for key '%s'", name)
		return e
	}
	e.Message = fmt.Sprintf("Latchkey: MariaDB refused the statement with error %d; its text quotes stored cells and is withheld", e.Code)
	return e
}

// codeDuplicate is ER_DUP_ENTRY.
const codeDuplicate uint16 = 1062

// keyName finds the name of the key in `Duplicate entry '...' for key 'name'`.
func keyName(message string) (string, bool) {
	const before = "' for key '"
	i := strings.LastIndex(message, before)
	if i < 0 || !strings.HasSuffix(message, "'") {
		return "", false
	}
	name := message[i+len(before) : len(message)-1]
	return name, !quotesCell([]byte(name))
}

// relayError relays an ERR packet. An error to a statement that was rewritten is scrubbed.
func (x *executor) relayError(plan *rewrite.Plan, sealed bool) error {
	payload, err := x.reply.Payload()
	if err != nil {
		return err
	}
	e, err := wire.ParseERR(payload)
	if err != nil {
		return err
	}
	touches := sealed || plan != nil && plan.Touches
	if touches {
		switch e.Code {
		case 1054, 1136, 1146:
			// ER_BAD_FIELD_ERROR, ER_WRONG_VALUE_COUNT_ON_ROW, ER_NO_SUCH_TABLE: the schema may have changed.
			x.env.Schema.Invalidate()
		}
	}
	if !touches || !sealed && !quotesCell([]byte(e.Message)) {
		return nil
	}
	scrubbed := scrubError(e)
	if scrubbed == e {
		return nil
	}
	if scrubbed.Code != e.Code {
		x.server.metrics.refused(scrubbed.Code)
	}
	x.failed(scrubbed)
	return x.reply.Replace(scrubbed.Append(nil))
}

// scrubsRows tells whether the rows of a statement may quote cells: SHOW WARNINGS after a sealed statement.
func (x *executor) scrubsRows(plan *rewrite.Plan) bool {
	return x.sealing && plan != nil && plan.Kind == "SHOW" && plan.Effects&rewrite.Diagnostics != 0
}

// scrubRow replaces the texts of the current row that quote cells.
func (x *executor) scrubRow() error {
	row, err := x.reply.Payload()
	if err != nil || !quotesCell(row) {
		return err
	}
	if x.binary {
		return x.reply.Abort(x.errorPacket(newFault(codeNotPossible, "the warnings quote stored cells; read them with SHOW WARNINGS as text")))
	}
	fields, err := wire.WalkText(x.scratch.fields[:0], row, x.reply.Count)
	if err != nil {
		return x.reply.Abort(x.errorPacket(err))
	}
	x.scratch.fields = fields[:0]
	var edits []wire.Edit
	for i, f := range fields {
		if quotesCell(f.Of(row)) {
			edits = append(edits, wire.Edit{Column: i, Value: []byte("Latchkey: the text quotes stored cells and is withheld")})
		}
	}
	return x.reply.Replace(wire.AppendTextRow(nil, row, fields, edits))
}
