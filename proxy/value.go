package proxy

import (
	"errors"
	"slices"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// values gives the values of one statement: its literals and, for a prepared statement, the parameters that the client
// bound.
type values struct {
	st *rewrite.Statement
	// charset is character_set_client as it was when the text was sent, where it has changed since: a prepared statement's
	// literals keep it. Empty means that of the session.
	charset string
	// params are what COM_STMT_EXECUTE bound, long data filled in; nil for a statement sent as text.
	params []wire.Param
	// buffer holds decoded literals; it is reused, so an operand is valid until the next call of operand.
	buffer []byte
	// markers is what paramMarkers gives; nil before its first use.
	markers []int32
}

// secretValues gives values of a statement that holds keys or passwords: its buffer has room for every literal, so that none
// is moved and leaves a copy behind. Whoever reads one wipes the buffer.
func secretValues(st *rewrite.Statement, charset string) *values {
	return &values{st: st, charset: charset, buffer: make([]byte, 0, len(st.SQL()))}
}

// paramMarkers gives the offsets of the statement's parameter markers, in order.
func (v *values) paramMarkers() []int32 {
	if v.markers == nil {
		v.markers = []int32{}
		for _, t := range v.st.Tokens() {
			if t.Kind == rewrite.TokParam {
				v.markers = append(v.markers, t.Start)
			}
		}
	}
	return v.markers
}

// operand is one value of a statement on its way to a column.
type operand struct {
	in logical.Input
	// null and dflt say that the value is NULL or the word DEFAULT; in is empty then.
	null, dflt bool
	// implicit says that the value is the implicit default of the type.
	implicit bool
}

// errOperand says that the plan names a token that holds no such value. It never happens with a plan of the same shape.
var errOperand = errors.New("internal error: plan and statement disagree about a value")

// operand reads the value v whose token is real token i.
func (v *values) operand(value *rewrite.Value, i int) (operand, error) {
	switch value.Kind {
	case rewrite.ValueNull:
		return operand{null: true}, nil
	case rewrite.ValueDefault:
		return operand{dflt: true}, nil
	case rewrite.ValueImplicit:
		return operand{implicit: true}, nil
	case rewrite.ValueTrue:
		return operand{in: logical.Input{Kind: logical.InputTrue, Negative: value.Negative}}, nil
	case rewrite.ValueFalse:
		return operand{in: logical.Input{Kind: logical.InputFalse, Negative: value.Negative}}, nil
	case rewrite.ValueParam:
		return v.param(value, i)
	case rewrite.ValueLiteral:
		return v.literal(value, i)
	}
	return operand{}, errOperand
}

// number gives the number of the parameter whose marker is real token i.
func (v *values) number(i int) int {
	n, _ := slices.BinarySearch(v.paramMarkers(), v.st.Token(i).Start)
	return n
}

// param reads the parameter whose marker is real token i.
func (v *values) param(value *rewrite.Value, i int) (operand, error) {
	if v.st.Token(i).Kind != rewrite.TokParam {
		return operand{}, errOperand
	}
	n := v.number(i)
	if n >= len(v.params) {
		return operand{}, errOperand
	}
	p := &v.params[n]
	if p.Null || p.Type == wire.TypeNull {
		return operand{null: true}, nil
	}
	in, err := logical.FromWire(byte(p.Type), p.Unsigned, p.Value)
	if err != nil {
		return operand{}, err
	}
	in.Negative = value.Negative
	return operand{in: in}, nil
}

// inputKinds says how each kind of literal converts.
var inputKinds = map[rewrite.TokenKind]logical.InputKind{
	rewrite.TokString:    logical.InputString,
	rewrite.TokNational:  logical.InputString,
	rewrite.TokHexString: logical.InputHexString,
	rewrite.TokHexNumber: logical.InputHexNumber,
	rewrite.TokBitString: logical.InputBit,
	rewrite.TokBitNumber: logical.InputBit,
	rewrite.TokInteger:   logical.InputInteger,
	rewrite.TokDecimal:   logical.InputDecimal,
	rewrite.TokFloat:     logical.InputFloat,
}

// temporalKinds are the literals with a type word: DATE '...'.
var temporalKinds = map[string]logical.InputKind{
	"DATE":      logical.InputDate,
	"TIME":      logical.InputTime,
	"TIMESTAMP": logical.InputTimestamp,
}

// literal reads the literal that starts at real token i.
func (v *values) literal(value *rewrite.Value, i int) (operand, error) {
	if !v.st.Token(i).Kind.IsLiteral() {
		return operand{}, errOperand
	}
	lit, err := v.st.AppendLiteral(v.buffer[:0], i)
	if err != nil {
		return operand{}, errOperand
	}
	v.buffer = lit.Bytes[:0]
	in := logical.Input{Kind: inputKinds[lit.Kind], Bytes: slices.Clip(lit.Bytes), Negative: value.Negative}
	switch introducer := value.Introducer; {
	case value.TypeWord != "":
		in.Kind = temporalKinds[value.TypeWord]
	case introducer == "binary":
		in.Kind = logical.InputHexString
	case introducer != "":
		in.Kind, in.Charset = logical.InputString, introducer
	case lit.National:
		in.Charset = "utf8mb3"
	case in.Kind == logical.InputString:
		in.Charset = v.charset
	}
	if in.Kind == 0 {
		return operand{}, errOperand
	}
	return operand{in: in}, nil
}
