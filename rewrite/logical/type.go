package logical

// Type is a declared column type with its attributes. It is made by Parse and read-only afterwards, so it may be shared.
type Type struct {
	Kind      Kind
	Length    int      // CHAR, VARCHAR: characters; BINARY, VARBINARY: bytes; integers, YEAR: display width; DECIMAL: precision; BIT: bits
	Scale     int      // DECIMAL: digits after the point; DATETIME, TIMESTAMP, TIME: fractional digits (0 to 6); FLOAT, DOUBLE: digits, or -1
	Unsigned  bool     // UNSIGNED, implied by ZEROFILL
	Zerofill  bool     // integers only
	Charset   string   // of text types, ENUM and SET; else ""
	Collation string   // full name; of text types, ENUM and SET; else ""
	Nullable  bool     // no NOT NULL
	Members   []string // of ENUM and SET, utf8mb4
	Comment   string   // the declared COMMENT

	HasDefault bool   // a DEFAULT other than NULL was declared
	Default    []byte // its canonical text when HasDefault; not to be written to
}

// Family returns the letter of the type's family, the first byte of a cell's plaintext.
func (t *Type) Family() byte { return kindFamilies[t.Kind] }

// MaxCanonical returns the most bytes the canonical text of a value of the type can have.
func (t *Type) MaxCanonical() int { return 0 }

// String returns the canonical declaration, as SHOW CREATE TABLE prints it behind the column's name.
func (t *Type) String() string { return "" }

// Parse reads a MariaDB column definition or a bare type.
func Parse(def string) (*Type, error) { return Options{}.Parse(def) }

// Options are the defaults that a declaration inherits from its table.
type Options struct {
	Charset   string // "" means utf8mb4
	Collation string // "" means the charset's default
}

// Parse reads a declaration under the table's defaults.
func (o Options) Parse(def string) (*Type, error) { return nil, ErrNotPlain }

// Canonical appends the canonical text of in, converted to the type as an assignment does.
func (t *Type) Canonical(dst []byte, in Input, s *Session) ([]byte, error) { return dst, ErrNotPlain }

// AppendText appends the value as the text protocol carries it, without a length prefix.
func (t *Type) AppendText(dst, canonical []byte, s *Session) ([]byte, error) {
	return dst, ErrNotPlain
}

// AppendBinary appends the value as a row of the binary protocol carries it, with its length prefix where the type has one.
func (t *Type) AppendBinary(dst, canonical []byte, s *Session) ([]byte, error) {
	return dst, ErrNotPlain
}

// Definition holds the fields of a column definition packet that follow from the type.
type Definition struct {
	Type      byte
	Charset   uint16
	Length    uint32
	Flags     uint16
	Decimals  byte
	ExtType   string // MariaDB extended metadata: type name, e.g. uuid
	ExtFormat string // MariaDB extended metadata: format name, e.g. json
}

// Definition returns what MariaDB sends for a table column of the type.
func (t *Type) Definition(s *Session) Definition { return Definition{} }

// Searchable returns nil when equality of Weights is MariaDB's equality on the column for at least some values.
func (t *Type) Searchable() error { return ErrNotPlain }

// Weights appends the bytes over which the search tag of a value is computed.
func (t *Type) Weights(dst, canonical []byte) ([]byte, error) { return dst, ErrNotPlain }

// WeightVersion is the version of the weights; it goes into the derivation of tag keys.
const WeightVersion = 1

// Match says what a comparison operand can meet.
type Match byte

// Outcomes of Operand.
const (
	MatchValue Match = iota + 1 // rows whose weights equal those of the canonical text
	MatchNever                  // no row, whatever is stored
)

// Operand converts the other side of "column = operand".
func (t *Type) Operand(dst []byte, in Input, s *Session) ([]byte, Match, error) {
	return dst, 0, ErrNotPlain
}

// CollationID returns MariaDB's number of the column's collation, 63 (binary) for types without one.
func (t *Type) CollationID() uint16 { return 63 }

// PadSpace says that the column's collation ignores trailing spaces in comparisons.
func (t *Type) PadSpace() bool { return false }
