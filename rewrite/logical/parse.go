package logical

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Options are what a declaration inherits from its table and session. The zero value reads declarations as [Type.String]
// writes them.
type Options struct {
	Charset   string // the table's; "" means utf8mb4
	Collation string // the table's; "" means the charset's default (utf8mb4_general_ci for utf8mb4)

	// TimeZone is the session's, in which a TIMESTAMP's default is read; nil means UTC.
	TimeZone *time.Location

	ANSIQuotes         bool // sql_mode ANSI_QUOTES: "x" is a name
	NoBackslashEscapes bool // sql_mode NO_BACKSLASH_ESCAPES
	RealAsFloat        bool // sql_mode REAL_AS_FLOAT
}

// Parse reads a declaration with the zero Options. See [Options.Parse].
func Parse(def string) (*Type, error) { return Options{}.Parse(def) }

// maxDeclaration caps what Parse reads: a SET of 64 members of 255 characters stays well below.
const maxDeclaration = 1 << 20

// declarationError says why a declaration is refused. The text names words of the grammar, never values.
func declarationError(format string, args ...any) error {
	return fmt.Errorf("type declaration: "+format, args...)
}

// ErrInvalidDefault says that a DEFAULT is not a value of its column's type: MariaDB's error 1067.
var ErrInvalidDefault = errors.New("type declaration: DEFAULT is not a value of the type")

// Parse reads a MariaDB column definition without the column's name, or a type alone: decimal(12,2), varchar(200) CHARACTER
// SET utf8mb4 COLLATE utf8mb4_unicode_ci NOT NULL DEFAULT 'x' COMMENT 'y'. It knows every alias of the server's grammar
// (INTEGER, DEC, CHARACTER VARYING, LONG VARCHAR, NATIONAL CHAR ...), and CHECK (json_valid(`c`)) as SHOW CREATE TABLE prints
// JSON columns. What a protected column cannot have (AUTO_INCREMENT, keys, generated columns, expressions as default,
// ON UPDATE) is an error that names it.
func (o Options) Parse(def string) (*Type, error) {
	if len(def) > maxDeclaration {
		return nil, declarationError("longer than %d bytes", maxDeclaration)
	}
	if !utf8.ValidString(def) {
		return nil, declarationError("not valid UTF-8")
	}
	p := &parser{lexer: lexer{src: def, options: o}, options: o, t: &Type{Nullable: true}}
	if err := p.advance(); err != nil {
		return nil, err
	}
	if err := p.parse(); err != nil {
		return nil, err
	}
	return p.t, nil
}

// parser holds the state of one Parse. tok is the token not yet taken; err is the first error of the lexer, which ends the
// parse even where a token was optional.
type parser struct {
	err     error
	lexer   lexer
	options Options
	tok     token
	t       *Type

	charset    string // declared, or ""
	collation  string // declared, or ""
	binaryAttr bool   // BINARY behind a character type: the charset's _bin collation
	textLength int    // n of TEXT(n) and BLOB(n), -1 for none
	hasDefault bool
	def        Input // the default literal
	defNull    bool
	jsonCheck  bool
}

func (p *parser) advance() error {
	if p.err == nil {
		p.tok, p.err = p.lexer.next()
	}
	if p.err != nil {
		p.tok = token{}
	}
	return p.err
}

// word takes the next token if it is one of the words.
func (p *parser) word(words ...string) bool {
	if p.tok.kind != tokenWord {
		return false
	}
	for _, w := range words {
		if p.tok.text == w {
			return p.advance() == nil
		}
	}
	return false
}

func (p *parser) punct(c string) bool {
	return p.tok.kind == tokenPunct && p.tok.text == c && p.advance() == nil
}

func (p *parser) parse() error {
	if p.tok.kind != tokenWord {
		return declarationError("it must begin with the name of a type")
	}
	name := p.tok.text
	if err := p.advance(); err != nil {
		return err
	}
	p.textLength = -1
	if err := p.typeName(name); err != nil {
		return err
	}
	for p.tok.kind != tokenEnd {
		if err := p.attribute(); err != nil {
			return err
		}
	}
	if p.err != nil {
		return p.err
	}
	if err := p.finish(); err != nil {
		return err
	}
	return p.finishDefault()
}

// integerKinds are the integer types and their aliases.
var integerKinds = map[string]Kind{
	"tinyint": KindTinyInt, "int1": KindTinyInt, "smallint": KindSmallInt, "int2": KindSmallInt, "mediumint": KindMediumInt,
	"middleint": KindMediumInt, "int3": KindMediumInt, "int": KindInt, "integer": KindInt, "int4": KindInt, "bigint": KindBigInt,
	"int8": KindBigInt,
}

// displayWidths are the display widths of integers declared without one: signed, unsigned.
var displayWidths = map[Kind][2]int{
	KindTinyInt: {4, 3}, KindSmallInt: {6, 5}, KindMediumInt: {9, 8}, KindInt: {11, 10}, KindBigInt: {20, 20},
}

// plainKinds are types without arguments or attributes of their own.
var plainKinds = map[string]Kind{
	"tinytext": KindTinyText, "mediumtext": KindMediumText, "longtext": KindLongText, "tinyblob": KindTinyBlob,
	"mediumblob": KindMediumBlob, "longblob": KindLongBlob, "json": KindJSON, "date": KindDate, "uuid": KindUUID,
	"inet4": KindINET4, "inet6": KindINET6,
}

func (p *parser) typeName(name string) error {
	t := p.t
	if k, ok := integerKinds[name]; ok {
		t.Kind = k
		var err error
		t.Length, err = p.optionalLength(255)
		return err
	}
	if k, ok := plainKinds[name]; ok {
		t.Kind = k
		return nil
	}
	switch name {
	case "bool", "boolean":
		t.Kind, t.Length = KindTinyInt, 1
		return nil
	case "char", "character", "varchar", "varcharacter", "national", "nchar", "nvarchar", "long":
		return p.character(name)
	case "text", "blob":
		t.Kind = KindText
		if name == "blob" {
			t.Kind = KindBlob
		}
		n, err := p.optionalLength(maxBlob)
		if err == nil && n >= 0 {
			p.textLength = n
		}
		return err
	case "binary":
		t.Kind = KindBinary
		n, err := p.optionalLength(255)
		t.Length = n
		if n < 0 {
			t.Length = 1
		}
		return err
	case "varbinary":
		t.Kind = KindVarbinary
		var err error
		t.Length, err = p.length(maxRow)
		return err
	case "decimal", "numeric", "dec", "fixed", "number":
		return p.decimal()
	case "float", "float4", "float8", "double", "real":
		return p.float(name)
	case "datetime", "timestamp", "time":
		t.Kind = map[string]Kind{"datetime": KindDateTime, "timestamp": KindTimestamp, "time": KindTime}[name]
		n, err := p.optionalLength(6)
		t.Scale = max(n, 0)
		return err
	case "year":
		t.Kind, t.Length = KindYear, 4
		n, err := p.optionalLength(4)
		if err == nil && n >= 0 && n != 4 {
			err = declarationError("only YEAR(4) is possible on a protected column")
		}
		return err
	case "bit":
		t.Kind = KindBit
		n, err := p.optionalLength(64)
		t.Length = n
		if n <= 0 {
			t.Length = 1
		}
		return err
	case "enum", "set":
		t.Kind = KindEnum
		if name == "set" {
			t.Kind = KindSet
		}
		return p.members()
	}
	return declarationError("type %s is not possible on a protected column", quoteWord(name))
}

// quoteWord shows a word of the declaration in an error; it is capped, for it may be anything.
func quoteWord(w string) string {
	if len(w) > 32 || !isASCII(w) {
		return "that begins here"
	}
	return strings.ToUpper(w)
}

const (
	maxRow  = 65535
	maxBlob = 1<<32 - 1
)

// length reads (n), which must be there.
func (p *parser) length(most int) (int, error) {
	n, err := p.optionalLength(most)
	if err == nil && n < 0 {
		err = declarationError("the type needs a length")
	}
	return n, err
}

// optionalLength reads (n); without one the result is -1.
func (p *parser) optionalLength(most int) (int, error) {
	if !p.punct("(") {
		return -1, nil
	}
	n, err := p.integer(most)
	if err != nil {
		return 0, err
	}
	if !p.punct(")") {
		return 0, declarationError("a closing parenthesis is missing")
	}
	return n, nil
}

func (p *parser) integer(most int) (int, error) {
	if p.tok.kind != tokenNumber {
		return 0, declarationError("a number is missing")
	}
	n, err := strconv.ParseUint(p.tok.text, 10, 32)
	if err != nil || n > uint64(most) {
		return 0, declarationError("a length or number of digits is above %d or not an integer", most)
	}
	return int(n), p.advance()
}

// character reads what follows CHAR, VARCHAR, NATIONAL and LONG.
func (p *parser) character(name string) error {
	t := p.t
	varying := false
	switch name {
	case "long":
		switch {
		case p.word("varbinary"):
			t.Kind = KindMediumBlob
			return nil
		case p.word("char", "character"):
			if !p.word("varying") {
				return declarationError("LONG CHAR needs VARYING")
			}
		default:
			p.word("varchar", "varcharacter")
		}
		t.Kind = KindMediumText
		return nil
	case "varchar", "varcharacter":
		varying = true
	case "nvarchar":
		varying = true
		p.charset = "utf8mb3"
	case "nchar":
		p.charset = "utf8mb3"
		varying = p.word("varchar", "varcharacter", "varying")
	case "national":
		p.charset = "utf8mb3"
		switch {
		case p.word("varchar", "varcharacter"):
			varying = true
		case p.word("char", "character"):
			varying = p.word("varying")
		default:
			return declarationError("NATIONAL needs CHAR or VARCHAR")
		}
	default:
		varying = p.word("varying")
	}
	var err error
	if varying {
		t.Kind = KindVarchar
		t.Length, err = p.length(maxRow)
		return err
	}
	t.Kind = KindChar
	if t.Length, err = p.optionalLength(255); t.Length < 0 {
		t.Length = 1
	}
	return err
}

func (p *parser) decimal() error {
	t := p.t
	t.Kind, t.Length, t.Scale = KindDecimal, 10, 0
	if !p.punct("(") {
		return nil
	}
	n, err := p.integer(maxDecimalPrecision)
	if err != nil {
		return err
	}
	if p.punct(",") {
		if t.Scale, err = p.integer(maxDecimalScale); err != nil {
			return err
		}
	}
	if !p.punct(")") {
		return declarationError("a closing parenthesis is missing")
	}
	if n == 0 && t.Scale == 0 {
		n = 10
	}
	if t.Scale > n {
		return declarationError("DECIMAL(M,D) needs M >= D")
	}
	t.Length = n
	return nil
}

const (
	maxDecimalPrecision = 65
	maxDecimalScale     = 38
	// floatUnfixed is the number of decimals of a FLOAT or DOUBLE declared without one, also on the wire.
	floatUnfixed = 31
)

func (p *parser) float(name string) error {
	t := p.t
	t.Kind, t.Scale = KindDouble, floatUnfixed
	switch name {
	case "float", "float4":
		t.Kind = KindFloat
	case "double":
		p.word("precision")
	case "real":
		if p.options.RealAsFloat {
			t.Kind = KindFloat
		}
	}
	if !p.punct("(") {
		return nil
	}
	n, err := p.integer(255)
	if err != nil {
		return err
	}
	if !p.punct(",") {
		if name != "float" || n > 53 {
			return declarationError("the type needs (M,D) or nothing")
		}
		if n > 24 {
			t.Kind = KindDouble
		}
	} else {
		if t.Scale, err = p.integer(floatUnfixed - 1); err != nil {
			return err
		}
		if t.Length = n; t.Scale > n {
			return declarationError("the type needs M >= D in (M,D)")
		}
	}
	if !p.punct(")") {
		return declarationError("a closing parenthesis is missing")
	}
	return nil
}

func (p *parser) members() error {
	if !p.punct("(") {
		return declarationError("ENUM and SET need their list")
	}
	for {
		if p.tok.kind != tokenString {
			return declarationError("ENUM and SET are lists of quoted texts")
		}
		p.t.Members = append(p.t.Members, p.tok.text)
		if err := p.advance(); err != nil {
			return err
		}
		if p.punct(")") {
			break
		}
		if !p.punct(",") {
			return declarationError("a comma is missing in the list of ENUM or SET")
		}
	}
	if p.t.Kind == KindSet && len(p.t.Members) > 64 || len(p.t.Members) > 65535 {
		return declarationError("the list of ENUM or SET is too long")
	}
	return nil
}

// attribute reads one attribute behind the type.
func (p *parser) attribute() error {
	t := p.t
	switch {
	case p.word("unsigned"):
		if !t.numeric() {
			return declarationError("UNSIGNED is for numbers")
		}
		t.Unsigned = true
	case p.word("signed"):
		if !t.numeric() {
			return declarationError("SIGNED is for numbers")
		}
	case p.word("zerofill"):
		if t.Family() != FamilyInteger {
			return declarationError("ZEROFILL is possible on protected integer columns only")
		}
		t.Zerofill, t.Unsigned = true, true
	case p.word("not"):
		if !p.word("null") {
			return declarationError("NOT needs NULL behind it")
		}
		t.Nullable = false
	case p.word("null"):
		t.Nullable = true
	case p.word("default"):
		return p.defaultLiteral()
	case p.word("comment"):
		if p.tok.kind != tokenString {
			return declarationError("COMMENT needs a quoted text")
		}
		t.Comment = p.tok.text
		return p.advance()
	case p.word("collate"):
		p.punct("=")
		return p.name(&p.collation, "COLLATE")
	case p.word("charset"):
		return p.name(&p.charset, "CHARSET")
	case p.tok.kind == tokenWord && (p.tok.text == "character" || p.tok.text == "char"):
		if err := p.advance(); err != nil {
			return err
		}
		if !p.word("set") {
			return declarationError("CHARACTER needs SET behind it")
		}
		return p.name(&p.charset, "CHARACTER SET")
	case p.word("ascii"):
		p.charset = "latin1"
	case p.word("unicode"):
		p.charset = "ucs2"
	case p.word("byte"):
		p.charset = "binary"
	case p.word("binary"):
		p.binaryAttr = true
	case p.word("check"):
		return p.check()
	default:
		if p.tok.kind == tokenWord {
			return declarationError("%s is not possible on a protected column", quoteWord(p.tok.text))
		}
		return declarationError("it is not understood to its end")
	}
	return nil
}

func (p *parser) name(into *string, what string) error {
	switch p.tok.kind {
	case tokenWord, tokenName, tokenString:
	default:
		return declarationError("%s needs a name", what)
	}
	*into = strings.ToLower(p.tok.text)
	return p.advance()
}

// check reads (json_valid(`c`)), the only CHECK that is part of a type.
func (p *parser) check() error {
	ok := p.punct("(") && p.word("json_valid") && p.punct("(") &&
		(p.tok.kind == tokenName || p.tok.kind == tokenWord) && p.advance() == nil && p.punct(")") && p.punct(")")
	if !ok {
		return declarationError("CHECK is not possible on a protected column")
	}
	p.jsonCheck = true
	return nil
}

func (p *parser) defaultLiteral() error {
	p.hasDefault, p.defNull = true, false
	if p.word("null") {
		p.defNull = true
		return nil
	}
	in := Input{}
	signed := false
	for p.tok.kind == tokenPunct && (p.tok.text == "-" || p.tok.text == "+") {
		signed = true
		if p.tok.text == "-" {
			in.Negative = !in.Negative
		}
		if err := p.advance(); err != nil {
			return err
		}
	}
	if signed && p.tok.kind != tokenNumber {
		return declarationError("a sign in DEFAULT needs a number")
	}
	word := ""
	if p.tok.kind == tokenWord {
		word = p.tok.text
		if err := p.advance(); err != nil {
			return err
		}
	}
	in.Bytes = []byte(p.tok.text)
	switch word {
	case "true", "false":
		in.Kind = InputFalse
		if word == "true" {
			in.Kind = InputTrue
		}
		in.Bytes = nil
		p.def = in
		return nil
	case "", "_utf8mb4":
	case "date":
		in.Kind = InputDate
	case "time":
		in.Kind = InputTime
	case "timestamp":
		in.Kind = InputTimestamp
	default:
		return declarationError("an expression as DEFAULT is not possible on a protected column")
	}
	if word != "" && p.tok.kind != tokenString {
		return declarationError("an expression as DEFAULT is not possible on a protected column")
	}
	if in.Kind == 0 {
		switch p.tok.kind {
		case tokenString:
			in.Kind = InputString
		case tokenHex:
			in.Kind = InputHexString
		case tokenHexNum:
			in.Kind = InputHexNumber
		case tokenBit:
			in.Kind = InputBit
		case tokenNumber:
			in.Kind = InputInteger
			if strings.ContainsAny(p.tok.text, "eE") {
				in.Kind = InputFloat
			} else if strings.Contains(p.tok.text, ".") {
				in.Kind = InputDecimal
			}
		default:
			return declarationError("an expression as DEFAULT is not possible on a protected column")
		}
	}
	p.def = in
	return p.advance()
}
