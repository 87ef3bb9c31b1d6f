package rewrite

import (
	"strings"
	"time"
)

// Facts is what a session knows that moves token boundaries or changes what a statement means. The proxy keeps one
// per session and brings it up to date before every statement; rewrite only reads it.
type Facts struct {
	// Database is the current default database, empty when there is none.
	Database string
	// Mode is the session's sql_mode.
	Mode SQLMode
	// Charset is the class of character_set_client.
	Charset Charset
	// ServerVersion is the backend's version as one number, 101119 for 10.11.19. Executable comments compare with it.
	ServerVersion int
	// MultiStatements says whether the client and server agreed on CLIENT_MULTI_STATEMENTS (or switched it on with
	// COM_SET_OPTION). Without it the server treats a top-level semicolon as a syntax error.
	MultiStatements bool
	// TimeZone is the session's, in which a TIMESTAMP's DEFAULT is written; nil means unknown.
	TimeZone *time.Location
}

// SQLMode is a set of sql_mode flags. The bits are the server's own (the number SET sql_mode=NUMBER takes).
type SQLMode uint64

// The modes that rewrite and its callers ask about. ANSIQuotes, NoBackslashEscapes, PipesAsConcat, HighNotPrecedence,
// IgnoreSpace and Oracle change how text is read; the rest change how values are stored.
// https://mariadb.com/kb/en/sql-mode/
const (
	RealAsFloat            SQLMode = 1 << 0
	PipesAsConcat          SQLMode = 1 << 1
	ANSIQuotes             SQLMode = 1 << 2
	IgnoreSpace            SQLMode = 1 << 3
	IgnoreBadTableOptions  SQLMode = 1 << 4
	OnlyFullGroupBy        SQLMode = 1 << 5
	NoUnsignedSubtraction  SQLMode = 1 << 6
	NoDirInCreate          SQLMode = 1 << 7
	PostgreSQL             SQLMode = 1 << 8
	Oracle                 SQLMode = 1 << 9
	MSSQL                  SQLMode = 1 << 10
	DB2                    SQLMode = 1 << 11
	MaxDB                  SQLMode = 1 << 12
	NoKeyOptions           SQLMode = 1 << 13
	NoTableOptions         SQLMode = 1 << 14
	NoFieldOptions         SQLMode = 1 << 15
	MySQL323               SQLMode = 1 << 16
	MySQL40                SQLMode = 1 << 17
	ANSI                   SQLMode = 1 << 18
	NoAutoValueOnZero      SQLMode = 1 << 19
	NoBackslashEscapes     SQLMode = 1 << 20
	StrictTransTables      SQLMode = 1 << 21
	StrictAllTables        SQLMode = 1 << 22
	NoZeroInDate           SQLMode = 1 << 23
	NoZeroDate             SQLMode = 1 << 24
	AllowInvalidDates      SQLMode = 1 << 25
	ErrorForDivisionByZero SQLMode = 1 << 26
	Traditional            SQLMode = 1 << 27
	NoAutoCreateUser       SQLMode = 1 << 28
	HighNotPrecedence      SQLMode = 1 << 29
	NoEngineSubstitution   SQLMode = 1 << 30
	PadCharToFullLength    SQLMode = 1 << 31
	EmptyStringIsNull      SQLMode = 1 << 32
	SimultaneousAssignment SQLMode = 1 << 33
	TimeRoundFractional    SQLMode = 1 << 34
)

// Strict is the pair of modes either of which makes the server reject bad values instead of adjusting them.
const Strict = StrictTransTables | StrictAllTables

var sqlModeNames = [...]string{
	"REAL_AS_FLOAT", "PIPES_AS_CONCAT", "ANSI_QUOTES", "IGNORE_SPACE", "IGNORE_BAD_TABLE_OPTIONS",
	"ONLY_FULL_GROUP_BY", "NO_UNSIGNED_SUBTRACTION", "NO_DIR_IN_CREATE", "POSTGRESQL", "ORACLE", "MSSQL", "DB2",
	"MAXDB", "NO_KEY_OPTIONS", "NO_TABLE_OPTIONS", "NO_FIELD_OPTIONS", "MYSQL323", "MYSQL40", "ANSI",
	"NO_AUTO_VALUE_ON_ZERO", "NO_BACKSLASH_ESCAPES", "STRICT_TRANS_TABLES", "STRICT_ALL_TABLES", "NO_ZERO_IN_DATE",
	"NO_ZERO_DATE", "ALLOW_INVALID_DATES", "ERROR_FOR_DIVISION_BY_ZERO", "TRADITIONAL", "NO_AUTO_CREATE_USER",
	"HIGH_NOT_PRECEDENCE", "NO_ENGINE_SUBSTITUTION", "PAD_CHAR_TO_FULL_LENGTH", "EMPTY_STRING_IS_NULL",
	"SIMULTANEOUS_ASSIGNMENT", "TIME_ROUND_FRACTIONAL",
}

// ParseSQLMode reads the text of @@sql_mode: names with commas between. ok is false when a name is unknown, and the
// caller must then treat the session as one whose text it cannot read; the known part is returned all the same.
func ParseSQLMode(text string) (mode SQLMode, ok bool) {
	ok = true
	for name := range strings.SplitSeq(text, ",") {
		if name == "" {
			continue
		}
		bit := -1
		for i, known := range sqlModeNames {
			if strings.EqualFold(name, known) {
				bit = i
				break
			}
		}
		if bit < 0 {
			ok = false
			continue
		}
		mode |= 1 << bit
	}
	return mode, ok
}

// Has reports whether every mode of want is set.
func (m SQLMode) Has(want SQLMode) bool { return m&want == want }

// String gives the modes as @@sql_mode does: names in the server's order with commas between.
func (m SQLMode) String() string {
	var b strings.Builder
	for i, name := range sqlModeNames {
		if m&(1<<i) != 0 {
			if b.Len() > 0 {
				b.WriteByte(',')
			}
			b.WriteString(name)
		}
	}
	return b.String()
}

// Charset is the class of a client character set: how its bytes form tokens. Only character sets in which no byte of a
// multi-byte character can be taken for a quote or a backslash are supported.
type Charset uint8

// The classes of character_set_client.
const (
	// CharsetUnsupported is every other character set (big5, gbk, sjis, cp932, gb18030, euckr, ucs2, ...). It is the
	// zero value, so that a session whose character set is not known yet fails closed.
	CharsetUnsupported Charset = iota
	CharsetUTF8MB4
	CharsetUTF8MB3
	CharsetLatin1
	CharsetASCII
	CharsetBinary
)

// ParseCharset gives the class of a character set by the name @@character_set_client shows.
func ParseCharset(name string) Charset {
	switch strings.ToLower(name) {
	case "utf8mb4":
		return CharsetUTF8MB4
	case "utf8mb3", "utf8":
		return CharsetUTF8MB3
	case "latin1":
		return CharsetLatin1
	case "ascii":
		return CharsetASCII
	case "binary":
		return CharsetBinary
	}
	return CharsetUnsupported
}

// String gives the character set's name, "unsupported" for the rest.
func (c Charset) String() string {
	switch c {
	case CharsetUTF8MB4:
		return "utf8mb4"
	case CharsetUTF8MB3:
		return "utf8mb3"
	case CharsetLatin1:
		return "latin1"
	case CharsetASCII:
		return "ascii"
	case CharsetBinary:
		return "binary"
	}
	return "unsupported"
}
