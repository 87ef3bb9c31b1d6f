package rewrite

import (
	"fmt"
	"strings"

	"latchkey/rewrite/logical"
)

// physicalAttributes are the physical NOT NULL, DEFAULT and INVISIBLE: empty stands for the declared default.
func physicalAttributes(declared *logical.Type, invisible bool) string {
	var b strings.Builder
	if declared.Nullable {
		b.WriteString(" NULL")
	} else {
		b.WriteString(" NOT NULL")
	}
	switch {
	case declared.HasDefault:
		b.WriteString(" DEFAULT ''")
	case declared.Nullable:
		b.WriteString(" DEFAULT NULL")
	}
	if invisible {
		b.WriteString(" INVISIBLE")
	}
	return b.String()
}

// physicalType is the type for cells of up to width bytes; inRow says that the row has room for a VARBINARY of them.
func physicalType(width int64, inRow bool) string {
	switch {
	case inRow:
		return fmt.Sprintf("VARBINARY(%d)", max(width, minVarbinary))
	case width <= 1<<16-1:
		return "BLOB"
	case width <= 1<<24-1:
		return "MEDIUMBLOB"
	}
	return "LONGBLOB"
}

// minVarbinary is the narrowest VARBINARY for cells: from here on the length takes two bytes, and the column can be widened
// in place.
const minVarbinary = 256

// maxRow is what MariaDB allows for the fixed and variable parts of a row, BLOBs aside.
// https://mariadb.com/kb/en/innodb-limitations/
const maxRow = 65535

// physicalRow estimates from above the bytes that the columns of t other than skip take of maxRow.
func physicalRow(t *Table, skip *Column) int64 {
	row := int64(len(t.Columns))/8 + 1 + 2 // NULL bits and the length of the column itself
	for _, c := range t.Columns {
		if c == skip {
			continue
		}
		switch c.DataType {
		case "varchar", "varbinary", "char", "binary":
			row += c.Bytes + 2
		default:
			row += otherWidth
		}
	}
	return row
}

// otherWidth is what a column takes of a row whose type has no length: BLOBs and TEXTs count their pointer; of the rest
// DECIMAL(65) is the longest.
const otherWidth = 32
