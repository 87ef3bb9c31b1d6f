package proxy

import (
	"encoding/hex"
	"errors"

	"latchkey/rewrite"
)

// errNoSchemaMAC is for DDL that declares a protected column on a proxy that cannot authenticate it.
var errNoSchemaMAC = newFault(codeNotPossible, "a protected column cannot be declared: annotations are authenticated under the fleet secret; set keystore.secret_file")

// errPreparedDefinition is for a change of a protected column that SQL-level PREPARE would run later.
var errPreparedDefinition = newFault(codeNotPossible, "this change of a protected column depends on the rows of its table and cannot be prepared by SQL; send it as it is")

// annotation renders the body of an annotation with its MAC. Bodies have no backslash, so the literal reads the same in
// every sql_mode.
func (r *renderer) annotation(body string) error {
	if r.mac == nil {
		return errNoSchemaMAC
	}
	r.out = append(r.out, '\'')
	for i := range len(body) {
		if body[i] == '\'' {
			r.out = append(r.out, '\'')
		}
		r.out = append(r.out, body[i])
	}
	r.out = append(r.out, " mac="...)
	r.out = hex.AppendEncode(r.out, r.mac([]byte(body)))
	r.out = append(r.out, '\'')
	return nil
}

// meets asks the backend, with the rights of the client, what a definition requires of the rows of its table.
func (x *executor) meets(st *rewrite.Statement, plan *rewrite.Plan) error {
	for i := range plan.Requires {
		required := &plan.Requires[i]
		r := x.newRenderer(renderText, st, plan, nil)
		err := r.pieces(required.Pieces)
		found := false
		if err == nil {
			err = x.side(r.out, nil, func([][]byte) error {
				found = true
				return nil
			})
		}
		x.keep(r)
		var backend *backendError
		if errors.As(err, &backend) && (backend.Code == codeNoSuchTable || backend.Code == codeNoSuchColumn) {
			continue // the definition itself is told so
		}
		if err != nil {
			return err
		}
		if found {
			return required.Refusal
		}
	}
	return nil
}

const (
	codeNoSuchColumn uint16 = 1054 // ER_BAD_FIELD_ERROR
	codeNoSuchTable  uint16 = 1146 // ER_NO_SUCH_TABLE
)
