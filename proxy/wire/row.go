package wire

// Field says where one column lies in a row: row[Start:End] with its length prefix, row[Value:End]
// without. A NULL of a text row takes one byte and has no value; of a binary row it takes none.
type Field struct {
	Start, Value, End int
	Null              bool
}

// Of returns the value in the row that the Field was found in: a sub-slice, not nil unless NULL.
func (f Field) Of(row []byte) []byte {
	if f.Null {
		return nil
	}
	return row[f.Value:f.End:f.End]
}

// Edit replaces one column of a row.
type Edit struct {
	Column int
	// Null makes the column NULL; Value is ignored.
	Null bool
	// Value is the new value. For a text row it is the text, for a binary row the whole encoding: its
	// bytes for numbers, with the length in front for everything else.
	Value []byte
}

// WalkText appends to fields where the columns of a text row are. The row must have exactly that
// many. https://mariadb.com/kb/en/resultset-row/#text-resultset-row
func WalkText(fields []Field, row []byte, columns int) ([]Field, error) {
	at := 0
	for range columns {
		if at >= len(row) {
			return fields, malformed("text row")
		}
		f := Field{Start: at}
		if row[at] == lenencNull {
			at++
			f.Value, f.End, f.Null = at, at, true
			fields = append(fields, f)
			continue
		}
		length, n := Lenenc(row[at:])
		if n == 0 || length > uint64(len(row)-at-n) {
			return fields, malformed("text row")
		}
		f.Value = at + n
		at = f.Value + int(length)
		f.End = at
		fields = append(fields, f)
	}
	if at != len(row) {
		return fields, malformed("text row")
	}
	return fields, nil
}

// AppendTextRow appends the row with some columns replaced. fields is what WalkText found in it;
// edits are in ascending order of Column.
func AppendTextRow(dst, row []byte, fields []Field, edits []Edit) []byte {
	at := 0
	for _, e := range edits {
		f := fields[e.Column]
		dst = append(dst, row[at:f.Start]...)
		dst = AppendTextValue(dst, e.Value, e.Null)
		at = f.End
	}
	return append(dst, row[at:]...)
}

// AppendTextValue appends one column of a text row.
func AppendTextValue(dst, value []byte, null bool) []byte {
	if null {
		return append(dst, lenencNull)
	}
	return AppendLenencString(dst, value)
}

// The NULL bitmap of a binary row starts at bit 2 of byte 1; the one of parameters at bit 0.
const rowBitmapOffset = 2

func bitmapSize(n, offset int) int { return (n + offset + 7) / 8 }

func bitmapHas(bitmap []byte, i, offset int) bool {
	return bitmap[(i+offset)/8]&(1<<((i+offset)%8)) != 0
}

func bitmapSet(bitmap []byte, i, offset int, on bool) {
	mask := byte(1) << ((i + offset) % 8)
	if on {
		bitmap[(i+offset)/8] |= mask
	} else {
		bitmap[(i+offset)/8] &^= mask
	}
}

// binaryWidth is the size of a type's binary encoding; -1 for a length-encoded string, -2 for a
// temporal value behind one byte of length.
// https://mariadb.com/kb/en/resultset-row/#binary-resultset-row
func binaryWidth(t ColumnType) int {
	switch t {
	case TypeNull:
		return 0
	case TypeTiny:
		return 1
	case TypeShort, TypeYear:
		return 2
	case TypeLong, TypeInt24, TypeFloat:
		return 4
	case TypeLongLong, TypeDouble:
		return 8
	case TypeDate, TypeDatetime, TypeTimestamp, TypeTime, TypeNewDate, TypeTimestamp2, TypeDatetime2, TypeTime2:
		return -2
	}
	return -1
}

// SameEncoding tells whether values of both types look the same in a binary row.
func SameEncoding(a, b ColumnType) bool {
	return a == b || binaryWidth(a) == binaryWidth(b) && binaryWidth(a) == -1
}

// binaryField finds the binary value of type t at p[at:].
func binaryField(p []byte, at int, t ColumnType) (Field, bool) {
	f := Field{Start: at, Value: at}
	switch w := binaryWidth(t); w {
	case -1:
		length, n := Lenenc(p[at:])
		if n == 0 || length > uint64(len(p)-at-n) {
			return f, false
		}
		f.Value = at + n
		f.End = f.Value + int(length)
	case -2:
		if at >= len(p) {
			return f, false
		}
		f.Value = at + 1
		f.End = f.Value + int(p[at])
	default:
		f.End = at + w
	}
	return f, f.End <= len(p)
}

// WalkBinary appends to fields where the columns of a binary row of these types are. The row must
// have exactly these.
func WalkBinary(fields []Field, row []byte, types []ColumnType) ([]Field, error) {
	at := 1 + bitmapSize(len(types), rowBitmapOffset)
	if len(row) < at || row[0] != headerOK {
		return fields, malformed("binary row")
	}
	bitmap := row[1:at]
	for i, t := range types {
		if bitmapHas(bitmap, i, rowBitmapOffset) {
			fields = append(fields, Field{at, at, at, true})
			continue
		}
		f, ok := binaryField(row, at, t)
		if !ok {
			return fields, malformed("binary row")
		}
		fields = append(fields, f)
		at = f.End
	}
	if at != len(row) {
		return fields, malformed("binary row")
	}
	return fields, nil
}

// AppendBinaryRow appends the row with some columns replaced. fields is what WalkBinary found in it;
// edits are in ascending order of Column.
func AppendBinaryRow(dst, row []byte, fields []Field, edits []Edit) []byte {
	start := len(dst)
	at := 0
	for _, e := range edits {
		f := fields[e.Column]
		dst = append(dst, row[at:f.Start]...)
		if !e.Null {
			dst = append(dst, e.Value...)
		}
		at = f.End
	}
	dst = append(dst, row[at:]...)
	for _, e := range edits {
		bitmapSet(dst[start+1:], e.Column, rowBitmapOffset, e.Null)
	}
	return dst
}

// StartBinaryRow appends the head of a binary row of so many columns, all not NULL. The encoded
// values are appended behind it; SetBinaryNull marks the ones left out.
func StartBinaryRow(dst []byte, columns int) []byte {
	return append(dst, make([]byte, 1+bitmapSize(columns, rowBitmapOffset))...)
}

// SetBinaryNull marks a column as NULL in a binary row that starts at row[0].
func SetBinaryNull(row []byte, column int) { bitmapSet(row[1:], column, rowBitmapOffset, true) }
