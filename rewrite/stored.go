package rewrite

import (
	"fmt"
	"strconv"
	"strings"
)

// INSERT and REPLACE convert a key's value to the type of its column, and meet the row that has the converted value:
// REPLACE of id 1.4 deletes row 1, which `id = 1.4` does not find.

// asStored is the condition that a column of a unique key equals value as MariaDB stores it. It may hold for further rows,
// of which REPLACE then destroys none. ok is false when there is no such condition.
func (in *inserter) asStored(c *Column, value Value, from, to int) (pieces []Piece, ok bool) {
	b := in.b
	strict := b.strict(in.table)
	if value.Kind == ValueNull {
		if !strict && !c.Nullable && !c.AutoIncrement {
			return nil, false // the type's zero
		}
	}
	head, tail, ok := storedCast(c, strict)
	if !ok {
		return nil, false
	}
	name := quoteName(c.Name)
	source := Piece{Kind: PieceSource, From: from, To: to}
	pieces = []Piece{{Kind: PieceText, Text: name + "="}, source}
	integer := isInteger(c.DataType)
	if head == "" || integer && strict && value.Kind == ValueLiteral && b.st.Token(value.Token).Kind == TokInteger {
		return pieces, true
	}
	pieces = append([]Piece{{Kind: PieceText, Text: "("}}, pieces...)
	if integer {
		// Numbers with an exponent are rounded differently from those with a decimal point.
		pieces = append(pieces, Piece{Kind: PieceText, Text: " OR " + name + "=ROUND("}, source, Piece{Kind: PieceText, Text: ")"})
	}
	return append(pieces, Piece{Kind: PieceText, Text: " OR " + name + "=" + head}, source, Piece{Kind: PieceText, Text: tail + ")"}), true
}

func isInteger(dataType string) bool {
	switch dataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return true
	}
	return false
}

// storedCast gives what stands before and behind a value to make of it what the column stores; head is empty where
// comparing with the value itself does. Outside of strict mode values are also cut to the range of the type.
func storedCast(c *Column, strict bool) (head, tail string, ok bool) {
	_, arguments, _ := strings.Cut(c.ColumnType, "(")
	arguments, _, _ = strings.Cut(arguments, ")")
	unsigned := strings.Contains(c.ColumnType, "unsigned")
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		least, most := integerRange(c.DataType, unsigned)
		head, tail = "CAST(", " AS DECIMAL(65,0))"
		if !strict {
			head, tail = "COALESCE(LEAST(GREATEST("+head, tail+","+least+"),"+most+"),0)"
		}
	case "decimal":
		head, tail = "CAST(", " AS DECIMAL("+arguments+"))"
		if unsigned && !strict {
			head, tail = "GREATEST("+head, tail+",0)"
		}
	case "float":
		head, tail = "CAST(", " AS FLOAT)"
	case "date":
		head, tail = "CAST(", " AS DATE)"
	case "datetime", "timestamp", "time":
		kind := "DATETIME"
		if c.DataType == "time" {
			kind = "TIME"
		}
		if arguments == "" {
			arguments = "0"
		}
		head, tail = "CAST(", " AS "+kind+"("+arguments+"))"
	case "char", "varchar":
		if !strict {
			head, tail = "LEFT(", ","+arguments+")"
		}
	case "varbinary":
		if !strict {
			head, tail = "LEFT(CAST(", " AS BINARY),"+arguments+")"
		}
	case "binary":
		head, tail = "RPAD(CAST(", " AS BINARY),"+arguments+",x'00')"
	case "set":
		return "", "", false // members are stored in the order of the type
	case "double":
	case "year", "bit", "enum", "uuid", "inet4", "inet6", "tinytext", "text", "mediumtext", "longtext", "tinyblob", "blob", "mediumblob",
		"longblob":
		return "", "", strict // otherwise what is no value of the type is stored as another one
	default:
		return "", "", false
	}
	return head, tail, true
}

// integerRange gives the range of an integer type in SQL. https://mariadb.com/kb/en/int/
func integerRange(dataType string, unsigned bool) (least, most string) {
	width := map[string]int{"tinyint": 8, "smallint": 16, "mediumint": 24, "int": 32, "bigint": 64}[dataType]
	if unsigned {
		return "0", strconv.FormatUint(^uint64(0)>>(64-width), 10)
	}
	half := uint64(1) << (width - 1)
	return fmt.Sprintf("-%d", half), strconv.FormatUint(half-1, 10)
}
