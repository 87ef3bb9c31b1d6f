package logical

// Kind is the type proper, after aliases are resolved: BOOL is KindTinyInt, NUMERIC is KindDecimal, JSON is KindJSON.
type Kind byte

// The kinds of https://mariadb.com/kb/en/data-types/ that a protected column can have.
const (
	KindChar Kind = iota + 1
	KindVarchar
	KindTinyText
	KindText
	KindMediumText
	KindLongText
	KindJSON
	KindBinary
	KindVarbinary
	KindTinyBlob
	KindBlob
	KindMediumBlob
	KindLongBlob
	KindTinyInt
	KindSmallInt
	KindMediumInt
	KindInt
	KindBigInt
	KindDecimal
	KindFloat
	KindDouble
	KindDate
	KindDateTime
	KindTimestamp
	KindTime
	KindYear
	KindBit
	KindEnum
	KindSet
	KindUUID
	KindINET4
	KindINET6
)

// kindNames are the words SHOW CREATE TABLE uses. JSON prints as what MariaDB makes of it.
var kindNames = [...]string{
	KindChar: "char", KindVarchar: "varchar", KindTinyText: "tinytext", KindText: "text", KindMediumText: "mediumtext",
	KindLongText: "longtext", KindJSON: "longtext", KindBinary: "binary", KindVarbinary: "varbinary", KindTinyBlob: "tinyblob",
	KindBlob: "blob", KindMediumBlob: "mediumblob", KindLongBlob: "longblob", KindTinyInt: "tinyint", KindSmallInt: "smallint",
	KindMediumInt: "mediumint", KindInt: "int", KindBigInt: "bigint", KindDecimal: "decimal", KindFloat: "float",
	KindDouble: "double", KindDate: "date", KindDateTime: "datetime", KindTimestamp: "timestamp", KindTime: "time",
	KindYear: "year", KindBit: "bit", KindEnum: "enum", KindSet: "set", KindUUID: "uuid", KindINET4: "inet4", KindINET6: "inet6",
}

// Families: the byte that stands before the value in a cell's plaintext. Their letters are part of the cell format and never change.
const (
	FamilyString    byte = 's' // CHAR, VARCHAR and the TEXT types
	FamilyBinary    byte = 'b' // BINARY, VARBINARY and the BLOB types
	FamilyInteger   byte = 'i' // TINYINT to BIGINT
	FamilyDecimal   byte = 'd' // DECIMAL
	FamilyFloat     byte = 'f' // FLOAT
	FamilyDouble    byte = 'g' // DOUBLE
	FamilyDate      byte = 'D' // DATE
	FamilyDateTime  byte = 'M' // DATETIME
	FamilyTimestamp byte = 'Z' // TIMESTAMP, in UTC
	FamilyTime      byte = 'T' // TIME
	FamilyYear      byte = 'Y' // YEAR
	FamilyBit       byte = 'x' // BIT
	FamilyEnum      byte = 'e' // ENUM
	FamilySet       byte = 'm' // SET
	FamilyJSON      byte = 'j' // JSON
	FamilyUUID      byte = 'u' // UUID
	FamilyINET4     byte = '4' // INET4
	FamilyINET6     byte = '6' // INET6
)

var kindFamilies = [...]byte{
	KindChar: FamilyString, KindVarchar: FamilyString, KindTinyText: FamilyString, KindText: FamilyString,
	KindMediumText: FamilyString, KindLongText: FamilyString, KindJSON: FamilyJSON, KindBinary: FamilyBinary,
	KindVarbinary: FamilyBinary, KindTinyBlob: FamilyBinary, KindBlob: FamilyBinary, KindMediumBlob: FamilyBinary,
	KindLongBlob: FamilyBinary, KindTinyInt: FamilyInteger, KindSmallInt: FamilyInteger, KindMediumInt: FamilyInteger,
	KindInt: FamilyInteger, KindBigInt: FamilyInteger, KindDecimal: FamilyDecimal, KindFloat: FamilyFloat,
	KindDouble: FamilyDouble, KindDate: FamilyDate, KindDateTime: FamilyDateTime, KindTimestamp: FamilyTimestamp,
	KindTime: FamilyTime, KindYear: FamilyYear, KindBit: FamilyBit, KindEnum: FamilyEnum, KindSet: FamilySet,
	KindUUID: FamilyUUID, KindINET4: FamilyINET4, KindINET6: FamilyINET6,
}
