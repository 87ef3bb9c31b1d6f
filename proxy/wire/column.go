package wire

import "encoding/binary"

// Column is a column definition. Its slices belong to the packet it was parsed from, and may be
// replaced. https://mariadb.com/kb/en/result-set-packets/#column-definition-packet
type Column struct {
	Catalog  []byte // always "def"
	Schema   []byte
	Table    []byte // the alias
	OrgTable []byte
	Name     []byte // the alias
	OrgName  []byte
	// Extended is the raw extended metadata, without its length. It exists when CapExtendedMetadata
	// was negotiated and may be empty then. See ExtendedMetadata.
	Extended []byte
	Charset  uint16
	// Length is the longest value in bytes, as declared.
	Length   uint32
	Type     ColumnType
	Flags    ColumnFlags
	Decimals uint8
	// Default is what follows in the reply to COM_FIELD_LIST: the default value as a length-encoded
	// string or the byte FB for none, as received. It is nil elsewhere.
	Default []byte
}

// columnFixed is the length of the fixed-size fields, sent before them.
const columnFixed = 12

// ParseColumn parses the payload of a column definition into c.
func ParseColumn(p []byte, caps Capabilities, c *Column) error {
	d := cursor{p: p}
	*c = Column{}
	c.Catalog = d.lenencString()
	c.Schema = d.lenencString()
	c.Table = d.lenencString()
	c.OrgTable = d.lenencString()
	c.Name = d.lenencString()
	c.OrgName = d.lenencString()
	if caps.Has(CapExtendedMetadata) {
		c.Extended = d.lenencString()
	}
	if d.lenenc() != columnFixed {
		return malformed("column definition")
	}
	c.Charset = d.uint16()
	c.Length = d.uint32()
	c.Type = ColumnType(d.uint8())
	c.Flags = ColumnFlags(d.uint16())
	c.Decimals = d.uint8()
	d.take(2)
	if d.left() > 0 {
		c.Default = d.take(d.left())
	}
	if d.failed {
		return malformed("column definition")
	}
	return nil
}

// Append appends the column definition's payload.
func (c *Column) Append(dst []byte, caps Capabilities) []byte {
	dst = AppendLenencString(dst, c.Catalog)
	dst = AppendLenencString(dst, c.Schema)
	dst = AppendLenencString(dst, c.Table)
	dst = AppendLenencString(dst, c.OrgTable)
	dst = AppendLenencString(dst, c.Name)
	dst = AppendLenencString(dst, c.OrgName)
	if caps.Has(CapExtendedMetadata) {
		dst = AppendLenencString(dst, c.Extended)
	}
	dst = append(dst, columnFixed)
	dst = binary.LittleEndian.AppendUint16(dst, c.Charset)
	dst = binary.LittleEndian.AppendUint32(dst, c.Length)
	dst = append(dst, byte(c.Type))
	dst = binary.LittleEndian.AppendUint16(dst, uint16(c.Flags))
	dst = append(dst, c.Decimals, 0, 0)
	return append(dst, c.Default...)
}

// Kinds of extended metadata.
const (
	extendedType   = 0 // name of the data type, such as uuid or inet6
	extendedFormat = 1 // format of the values, such as json
)

// ExtendedMetadata is what MariaDB says about a column beyond its type byte. Empty means not said.
type ExtendedMetadata struct {
	TypeName, Format string
}

// ParseExtendedMetadata parses Column.Extended. Unknown kinds are skipped.
func ParseExtendedMetadata(p []byte) (ExtendedMetadata, error) {
	var m ExtendedMetadata
	for c := (cursor{p: p}); c.left() > 0; {
		kind := c.uint8()
		s := string(c.lenencString())
		if c.failed {
			return ExtendedMetadata{}, malformed("extended metadata")
		}
		switch kind {
		case extendedType:
			m.TypeName = s
		case extendedFormat:
			m.Format = s
		}
	}
	return m, nil
}

// Append appends the form that Column.Extended holds.
func (m ExtendedMetadata) Append(dst []byte) []byte {
	if m.TypeName != "" {
		dst = AppendLenencString(append(dst, extendedType), m.TypeName)
	}
	if m.Format != "" {
		dst = AppendLenencString(append(dst, extendedFormat), m.Format)
	}
	return dst
}
