package wire

import "encoding/binary"

// LongData is COM_STMT_SEND_LONG_DATA: a piece of one parameter. Data belongs to the packet.
// https://mariadb.com/kb/en/com_stmt_send_long_data/
type LongData struct {
	Statement uint32
	Param     uint16
	Data      []byte
}

// ParseLongData parses the request, command byte included.
func ParseLongData(p []byte) (LongData, error) {
	c := cursor{p: p}
	c.uint8()
	l := LongData{Statement: c.uint32(), Param: c.uint16()}
	l.Data = c.take(c.left())
	if c.failed {
		return LongData{}, malformed("COM_STMT_SEND_LONG_DATA")
	}
	return l, nil
}

// Append appends the request, command byte included.
func (l LongData) Append(dst []byte) []byte {
	dst = append(dst, byte(ComStmtSendLong))
	dst = binary.LittleEndian.AppendUint32(dst, l.Statement)
	dst = binary.LittleEndian.AppendUint16(dst, l.Param)
	return append(dst, l.Data...)
}

// Fetch is COM_STMT_FETCH. https://mariadb.com/kb/en/com_stmt_fetch/
type Fetch struct {
	Statement uint32
	Rows      uint32
}

// ParseFetch parses the request, command byte included.
func ParseFetch(p []byte) (Fetch, error) {
	c := cursor{p: p}
	c.uint8()
	f := Fetch{c.uint32(), c.uint32()}
	if c.failed {
		return Fetch{}, malformed("COM_STMT_FETCH")
	}
	return f, nil
}

// ParseStatement parses COM_STMT_CLOSE or COM_STMT_RESET, command byte included.
func ParseStatement(p []byte) (uint32, error) {
	c := cursor{p: p}
	c.uint8()
	id := c.uint32()
	if c.failed {
		return 0, malformed("statement id")
	}
	return id, nil
}

// FieldList is COM_FIELD_LIST. Its slices belong to the packet.
// https://mariadb.com/kb/en/com_field_list/
type FieldList struct {
	Table []byte
	// Pattern is a LIKE pattern for column names; empty for all.
	Pattern []byte
}

// ParseFieldList parses the request, command byte included.
func ParseFieldList(p []byte) (FieldList, error) {
	c := cursor{p: p}
	c.uint8()
	f := FieldList{Table: c.nulString()}
	f.Pattern = c.take(c.left())
	if c.failed {
		return FieldList{}, malformed("COM_FIELD_LIST")
	}
	return f, nil
}

// SetOption is the argument of COM_SET_OPTION.
type SetOption uint16

// Options of COM_SET_OPTION. https://mariadb.com/kb/en/com_set_option/
const (
	OptionMultiStatementsOn  SetOption = 0
	OptionMultiStatementsOff SetOption = 1
)

// ParseSetOption parses the request, command byte included.
func ParseSetOption(p []byte) (SetOption, error) {
	c := cursor{p: p}
	c.uint8()
	o := SetOption(c.uint16())
	if c.failed {
		return 0, malformed("COM_SET_OPTION")
	}
	return o, nil
}
