package wire

import "encoding/binary"

// LastStatement is the statement id that means the one prepared last on this connection.
// https://mariadb.com/kb/en/com_stmt_execute/#direct-execution
const LastStatement uint32 = 0xffffffff

// PrepareOK begins the reply to COM_STMT_PREPARE.
// https://mariadb.com/kb/en/com_stmt_prepare/#com_stmt_prepare_ok
type PrepareOK struct {
	Statement uint32
	Columns   uint16
	Params    uint16
	Warnings  uint16
}

// prepareOKSize is the size of the payload.
const prepareOKSize = 12

// ParsePrepareOK parses the first packet of the reply.
func ParsePrepareOK(p []byte) (PrepareOK, error) {
	c := cursor{p: p}
	if c.uint8() != headerOK {
		return PrepareOK{}, malformed("COM_STMT_PREPARE reply")
	}
	o := PrepareOK{Statement: c.uint32(), Columns: c.uint16(), Params: c.uint16()}
	c.take(1)
	o.Warnings = c.uint16()
	if c.failed {
		return PrepareOK{}, malformed("COM_STMT_PREPARE reply")
	}
	return o, nil
}

// Append appends the payload.
func (o PrepareOK) Append(dst []byte) []byte {
	dst = append(dst, headerOK)
	dst = binary.LittleEndian.AppendUint32(dst, o.Statement)
	dst = binary.LittleEndian.AppendUint16(dst, o.Columns)
	dst = binary.LittleEndian.AppendUint16(dst, o.Params)
	dst = append(dst, 0)
	return binary.LittleEndian.AppendUint16(dst, o.Warnings)
}

// ParamDefinition appends the column definition that MariaDB sends for every parameter of a
// statement: it says nothing, since the type comes with the value.
func ParamDefinition(dst []byte, caps Capabilities) []byte {
	c := Column{Catalog: []byte("def"), Name: []byte("?"), Charset: CharsetBinary, Type: TypeVarString, Flags: FlagBinary}
	return c.Append(dst, caps)
}
