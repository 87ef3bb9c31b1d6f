package logical

// InputKind says how a value was written in a statement or sent as a parameter.
type InputKind byte

// Kinds of input. Those named Wire are parameters of COM_STMT_EXECUTE as [FromWire] returns them.
const (
	InputString        InputKind = iota + 1 // '...': Bytes is the value, unescaped, in Charset
	InputInteger                            // 12: Bytes is the digits
	InputDecimal                            // 12.5: Bytes is the digits and the point
	InputFloat                              // 1.25e1: Bytes is the text
	InputHexString                          // x'4142', always a binary string: Bytes is the decoded value
	InputHexNumber                          // 0x4142, a string or a number by context: Bytes is the decoded value
	InputBit                                // b'101' or 0b101: Bytes is the decoded value, right aligned
	InputTrue                               // TRUE
	InputFalse                              // FALSE
	InputDate                               // DATE'...': Bytes is the text between the quotes
	InputTime                               // TIME'...'
	InputTimestamp                          // TIMESTAMP'...'
	InputWireSigned                         // TINY, SHORT, YEAR, LONG, LONGLONG: Bytes is 1, 2, 4 or 8 bytes, little endian
	InputWireUnsigned                       // the same with the unsigned flag
	InputWireFloat                          // FLOAT: 4 bytes
	InputWireDouble                         // DOUBLE: 8 bytes
	InputWireDecimal                        // NEWDECIMAL: text
	InputWireBytes                          // a BLOB type: a binary string, not converted from the client's charset
	InputWireDate                           // DATE: 0, 4, 7 or 11 bytes
	InputWireDateTime                       // DATETIME: 0, 4, 7 or 11 bytes
	InputWireTimestamp                      // TIMESTAMP: the same; the server takes it through UTC and back
	InputWireTime                           // TIME: 0, 8 or 12 bytes
)

// Input is one value of a statement. NULL and DEFAULT are the caller's: they have no canonical text.
type Input struct {
	Kind     InputKind
	Bytes    []byte // see the kinds; borrowed, never kept and never written to
	Charset  string // of an InputString with an introducer (_utf8mb4'...'); "" means the session's client charset
	Negative bool   // an odd number of unary minus signs stands before the literal
}

// signed says that a minus sign before the kind gives another number of the kind; before anything else it makes an expression
// of another type.
func (in Input) signed() bool {
	switch in.Kind {
	case InputInteger, InputDecimal, InputFloat, InputTrue, InputFalse:
		return true
	}
	return false
}

// The types a parameter can have: https://mariadb.com/kb/en/com_stmt_execute/ and result-set-packets/#field-types.
const (
	wireDecimal    = 0
	wireTiny       = 1
	wireShort      = 2
	wireLong       = 3
	wireFloat      = 4
	wireDouble     = 5
	wireNull       = 6
	wireTimestamp  = 7
	wireLongLong   = 8
	wireInt24      = 9
	wireDate       = 10
	wireTime       = 11
	wireDateTime   = 12
	wireYear       = 13
	wireVarchar    = 15
	wireBit        = 16
	wireNewDecimal = 246
	wireTinyBlob   = 249
	wireMediumBlob = 250
	wireLongBlob   = 251
	wireBlob       = 252
	wireVarString  = 253
	wireString     = 254
)

// FromWire returns the Input of a COM_STMT_EXECUTE parameter. wireType is the type's byte, unsigned its 0x8000 flag, raw the
// value without its length prefix (strings, decimals and temporal types) or of fixed width. The Input borrows raw. A type that
// MariaDB's server does not convert in one certain way is ErrNotPlain (it reads INT24 parameters as empty), as is a width that
// does not fit the type.
func FromWire(wireType byte, unsigned bool, raw []byte) (Input, error) {
	in := Input{Bytes: raw}
	width := -1
	switch wireType {
	case wireTiny:
		width = 1
	case wireShort, wireYear:
		width = 2
	case wireLong:
		width = 4
	case wireLongLong:
		width = 8
	case wireFloat:
		in.Kind, width = InputWireFloat, 4
	case wireDouble:
		in.Kind, width = InputWireDouble, 8
	case wireDecimal, wireNewDecimal:
		in.Kind = InputWireDecimal
	case wireVarchar, wireVarString, wireString:
		in.Kind = InputString
	case wireTinyBlob, wireMediumBlob, wireLongBlob, wireBlob:
		in.Kind = InputWireBytes
	case wireDate:
		in.Kind = InputWireDate
	case wireDateTime:
		in.Kind = InputWireDateTime
	case wireTimestamp:
		in.Kind = InputWireTimestamp
	case wireTime:
		in.Kind = InputWireTime
	default:
		return Input{}, ErrNotPlain
	}
	if width >= 0 && len(raw) != width {
		return Input{}, ErrNotPlain
	}
	if in.Kind == 0 {
		in.Kind = InputWireSigned
		if unsigned {
			in.Kind = InputWireUnsigned
		}
	}
	return in, nil
}
