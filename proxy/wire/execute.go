package wire

import "encoding/binary"

// Flags of COM_STMT_EXECUTE: the kind of cursor to open. MariaDB opens a read-only one for each.
const (
	CursorReadOnly   uint8 = 1
	CursorForUpdate  uint8 = 2
	CursorScrollable uint8 = 4
)

// ExecuteReply is the form of the reply to an execution with these flags.
func ExecuteReply(flags uint8) ReplyKind {
	if flags&(CursorReadOnly|CursorForUpdate|CursorScrollable) != 0 {
		return ReplyCursor
	}
	return ReplyExecute
}

// ParamType is the type of a parameter as the client binds it.
type ParamType struct {
	Type     ColumnType
	Unsigned bool
}

// Param is one parameter of an execution.
type Param struct {
	ParamType
	Null bool
	// Long means that the value came by COM_STMT_SEND_LONG_DATA: nothing stands here for it.
	Long bool
	// Encoded is the value as it stands in the packet, with its length prefix; empty for Null and Long.
	Encoded []byte
	// Value is Encoded without the prefix.
	Value []byte
}

// Execute is a COM_STMT_EXECUTE request. https://mariadb.com/kb/en/com_stmt_execute/
type Execute struct {
	Statement  uint32
	Flags      uint8
	Iterations uint32
	// NewTypes says that the request carried types. When it does not, the types are those of the last
	// request that did.
	NewTypes bool
	// Params belong to the packet and to the next ParseExecute into the same Execute.
	Params []Param
	// Trailing is the number of bytes behind the last parameter, which MariaDB ignores: mysql2 for Node sends a
	// byte of memory that it never wrote for each NULL. They can be anything and are not to be sent on.
	Trailing int
}

// executeFixed is the size of command, statement id, flags and iteration count.
const executeFixed = 10

// ParseExecuteHead parses the part of the request that does not depend on the statement.
func ParseExecuteHead(p []byte) (statement uint32, flags uint8, err error) {
	if len(p) < executeFixed || Command(p[0]) != ComStmtExecute {
		return 0, 0, malformed("COM_STMT_EXECUTE")
	}
	return binary.LittleEndian.Uint32(p[1:]), p[5], nil
}

// SetStatement writes a statement id into a request that starts with one behind the command byte:
// COM_STMT_EXECUTE, SEND_LONG_DATA, FETCH, RESET or CLOSE. It reports whether there is room for one.
func SetStatement(p []byte, statement uint32) bool {
	if len(p) < 5 {
		return false
	}
	binary.LittleEndian.PutUint32(p[1:], statement)
	return true
}

// ParseExecute parses the request, command byte included, into e.
//
// params is the number of parameters of the statement. types are the types cached from an earlier
// request, used when this one carries none; without any that is ErrMalformed. long says which
// parameters were sent by COM_STMT_SEND_LONG_DATA since the last execution; it may be shorter than
// params, down to nil for none.
func ParseExecute(p []byte, params int, types []ParamType, long []bool, e *Execute) error {
	c := cursor{p: p}
	if Command(c.uint8()) != ComStmtExecute {
		return malformed("COM_STMT_EXECUTE")
	}
	*e = Execute{Params: e.Params[:0]}
	e.Statement = c.uint32()
	e.Flags = c.uint8()
	e.Iterations = c.uint32()
	if c.failed {
		return malformed("COM_STMT_EXECUTE")
	}
	if params == 0 {
		e.Trailing = c.left()
		return nil
	}
	bitmap := c.take(bitmapSize(params, 0))
	e.NewTypes = c.uint8() != 0
	if c.failed || (!e.NewTypes && len(types) != params) {
		return malformed("COM_STMT_EXECUTE")
	}
	var bound []byte
	if e.NewTypes {
		if bound = c.take(2 * params); bound == nil {
			return malformed("COM_STMT_EXECUTE")
		}
	}
	for i := range params {
		var q Param
		if e.NewTypes {
			q.Type, q.Unsigned = ColumnType(bound[2*i]), bound[2*i+1]&0x80 != 0
		} else {
			q.ParamType = types[i]
		}
		switch {
		case i < len(long) && long[i]:
			q.Long = true
		case bitmapHas(bitmap, i, 0):
			q.Null = true
		default:
			f, ok := binaryField(p, c.pos, q.Type)
			if !ok {
				return malformed("COM_STMT_EXECUTE")
			}
			q.Encoded = p[f.Start:f.End:f.End]
			q.Value = p[f.Value:f.End:f.End]
			c.pos = f.End
		}
		e.Params = append(e.Params, q)
	}
	e.Trailing = c.left()
	return nil
}

// Append appends the request, command byte included and always with types, so that a request
// rebuilt with other parameters never relies on types that the backend remembers.
// Of each parameter the type, Null, Long and Encoded count; Value is ignored.
func (e *Execute) Append(dst []byte) []byte {
	dst = append(dst, byte(ComStmtExecute))
	dst = binary.LittleEndian.AppendUint32(dst, e.Statement)
	dst = append(dst, e.Flags)
	dst = binary.LittleEndian.AppendUint32(dst, e.Iterations)
	if len(e.Params) == 0 {
		return dst
	}
	at := len(dst)
	dst = append(dst, make([]byte, bitmapSize(len(e.Params), 0))...)
	dst = append(dst, 1)
	for i, q := range e.Params {
		unsigned := byte(0)
		if q.Unsigned {
			unsigned = 0x80
		}
		dst = append(dst, byte(q.Type), unsigned)
		if q.Null {
			bitmapSet(dst[at:], i, 0, true)
		}
	}
	for _, q := range e.Params {
		if !q.Null && !q.Long {
			dst = append(dst, q.Encoded...)
		}
	}
	return dst
}

// BytesParam appends to buf the encoding of a value and returns it as a parameter of type BLOB.
func BytesParam(buf, value []byte) (Param, []byte) {
	start := len(buf)
	buf = AppendLenencString(buf, value)
	encoded := buf[start:len(buf):len(buf)]
	return Param{
		ParamType: ParamType{Type: TypeBlob},
		Encoded:   encoded,
		Value:     encoded[len(encoded)-len(value):],
	}, buf
}
