package logical

import (
	"math"
	"unicode/utf8"
)

// Definition holds the fields of a column definition packet that follow from the type:
// https://mariadb.com/kb/en/result-set-packets/#column-definition-packet.
type Definition struct {
	Type      byte
	Charset   uint16
	Length    uint32
	Flags     uint16 // only those of the type: BLOB, UNSIGNED, ZEROFILL, BINARY, ENUM, SET; NOT_NULL, keys and the like are the table's
	Decimals  byte
	ExtType   string // extended metadata, type name: uuid, inet4, inet6
	ExtFormat string // extended metadata, format name: json
}

// Column flags: https://mariadb.com/kb/en/result-set-packets/#field-details-flag.
const (
	FlagBlob     = 1 << 4
	FlagUnsigned = 1 << 5
	FlagZerofill = 1 << 6
	FlagBinary   = 1 << 7
	FlagEnum     = 1 << 8
	FlagSet      = 1 << 11
)

const binaryCollation = 63

// wireTypes are the column types that the server states; ENUM and SET are sent as STRING with a flag.
var wireTypes = [...]byte{
	KindChar: wireString, KindVarchar: wireVarString, KindTinyText: wireBlob, KindText: wireBlob, KindMediumText: wireBlob,
	KindLongText: wireBlob, KindJSON: wireBlob, KindBinary: wireString, KindVarbinary: wireVarString, KindTinyBlob: wireBlob,
	KindBlob: wireBlob, KindMediumBlob: wireBlob, KindLongBlob: wireBlob, KindTinyInt: wireTiny, KindSmallInt: wireShort,
	KindMediumInt: wireInt24, KindInt: wireLong, KindBigInt: wireLongLong, KindDecimal: wireNewDecimal, KindFloat: wireFloat,
	KindDouble: wireDouble, KindDate: wireDate, KindDateTime: wireDateTime, KindTimestamp: wireTimestamp, KindTime: wireTime,
	KindYear: wireYear, KindBit: wireBit, KindEnum: wireString, KindSet: wireString, KindUUID: wireString, KindINET4: wireString,
	KindINET6: wireString,
}

// Definition returns what MariaDB sends for a table column of the type, text and binary protocol alike. Text is described in
// character_set_results, so its length is the characters times the most bytes a character has there.
func (t *Type) Definition(s *Session) Definition {
	d := Definition{Type: wireTypes[t.Kind], Charset: binaryCollation}
	if t.Unsigned {
		d.Flags |= FlagUnsigned
	}
	if t.Zerofill {
		d.Flags |= FlagZerofill
	}
	length := uint64(t.Length)
	switch t.Family() {
	case FamilyString, FamilyJSON, FamilyEnum, FamilySet:
		return t.textDefinition(d, s)
	case FamilyUUID, FamilyINET4, FamilyINET6:
		names := map[byte]string{FamilyUUID: "uuid", FamilyINET4: "inet4", FamilyINET6: "inet6"}
		chars := map[byte]uint64{FamilyUUID: 36, FamilyINET4: 15, FamilyINET6: 39}
		d.ExtType = names[t.Family()]
		d.Flags |= FlagBinary | FlagUnsigned
		latin1 := charsets["latin1"]
		return describe(d, chars[t.Family()], chars[t.Family()], latin1.defaultID, s)
	case FamilyBinary:
		d.Flags |= FlagBinary
		if t.Kind != KindBinary && t.Kind != KindVarbinary {
			d.Flags |= FlagBlob
			length = uint64(t.byteCap())
		}
	case FamilyDecimal:
		length += uint64(boolIndex(t.Scale > 0) + boolIndex(!t.Unsigned))
		d.Decimals = byte(t.Scale)
	case FamilyFloat, FamilyDouble:
		d.Decimals = byte(t.Scale)
		if !t.fixed() {
			length = 12
			if t.Kind == KindDouble {
				length = 22
			}
		}
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		d.Flags |= FlagBinary
		if t.Kind == KindTimestamp {
			d.Flags |= FlagUnsigned
		}
		length = 10
		if t.Kind == KindDateTime || t.Kind == KindTimestamp {
			length = 19
		}
		if t.Scale > 0 {
			length += 1 + uint64(t.Scale)
		}
		d.Decimals = byte(t.Scale)
	case FamilyYear:
		d.Flags |= FlagUnsigned | FlagZerofill
	case FamilyBit:
		d.Flags |= FlagUnsigned
	}
	d.Length = uint32(length)
	return d
}

// textDefinition describes a type with a character set.
func (t *Type) textDefinition(d Definition, s *Session) Definition {
	if t.co.weights == weightsBinary {
		d.Flags |= FlagBinary
	}
	chars := uint64(t.Length)
	switch t.Kind {
	case KindChar, KindVarchar:
	case KindEnum:
		d.Flags |= FlagEnum
		for _, m := range t.Members {
			chars = max(chars, uint64(utf8.RuneCountInString(m)))
		}
	case KindSet:
		d.Flags |= FlagSet
		chars = uint64(len(t.Members) - 1)
		for _, m := range t.Members {
			chars += uint64(utf8.RuneCountInString(m))
		}
	default:
		d.Flags |= FlagBlob
		if t.Kind == KindJSON {
			d.ExtFormat = "json"
		}
		return describe(d, uint64(t.byteCap()/t.cs.width()), uint64(t.byteCap()), t.co.id, s)
	}
	return describe(d, chars, chars*uint64(t.cs.maxLen), t.co.id, s)
}

// describe sets charset and length of chars characters in character_set_results. ownLength and ownID are those of the column,
// which hold when there is no conversion.
func describe(d Definition, chars, ownLength uint64, ownID uint16, s *Session) Definition {
	d.Charset = ownID
	if s.ResultsCharset != "" {
		if results, err := findCharset(s.ResultsCharset); err == nil {
			d.Charset, ownLength = results.defaultID, chars*uint64(results.maxLen)
			if s.ResultsCollation != 0 {
				d.Charset = s.ResultsCollation
			}
		}
	}
	d.Length = uint32(min(ownLength, math.MaxUint32))
	return d
}
