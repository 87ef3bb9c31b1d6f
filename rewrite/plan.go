package rewrite

// Class says how a statement is carried out.
type Class uint8

// The classes of a plan.
const (
	// Pass: touches nothing protected. The client's bytes go out untouched and the response is relayed.
	Pass Class = iota
	// Sealed: rewritten by Edits, forwarded, and the result columns in Outputs are opened.
	Sealed
	// Local: answered by the proxy itself (a key push that leaves nothing to forward, a procedure of schema latchkey).
	Local
	// Residual: the rows that Residual names are opened and the client's own statement is finished over them in the
	// evaluator.
	Residual
)

// Plan is what to do with one statement. It belongs to a shape: it holds no literal, no key and no byte offset, only token
// indexes of the collapsed statement, and is shared by all sessions. It is never changed once returned.
type Plan struct {
	Class Class
	// Edits are ordered by From and do not overlap. Everything between them is the client's own bytes. Token indexes are
	// those of the collapsed statement; an edit inside the row group of a multi-row INSERT is repeated for every row,
	// and one inside a collapsed list stands for the whole list (Range pieces then carry List).
	Edits []Edit
	// Outputs has one entry per result column when Opens is set; the backend's column count must match it.
	Outputs []Output
	// Opens says that the response is a resultset of which at least one column is opened or renamed.
	Opens bool
	// Before, when not nil, is read on the client's backend connection before the statement is sent.
	Before *Before
	// Away are the tables of which the statement searches columns that may hold cells of kind a. AwayLocks says that it reads
	// what is committed now, and not what was when the transaction began.
	Away      []*AwayTable
	AwayLocks bool
	// Residual is set for class Residual.
	Residual *ResidualPlan
	// Push is the key push of a SET statement; the assignment itself is cut by Edits. When nothing remains, Class is Local.
	Push *KeyPush
	// Call is a procedure of the schema latchkey (Class Local).
	Call *Call
	// Effects tell what the statement changes for the statements after it.
	Effects Effect
	// Prepare is set for SQL-level PREPARE and EXECUTE IMMEDIATE with literal text whose inner statement needs sealing:
	// the inner text is planned on its own, rewritten and spliced back as a string literal.
	Prepare *InnerStatement
	// Execute is set for SQL-level EXECUTE and for DEALLOCATE or DROP PREPARE.
	Execute *ExecuteStatement
	// Kind names the statement for metrics and for docs/compatibility.md: SELECT, INSERT, ...
	Kind string
	// Searches are the columns that the statement finds rows or counts values by, each once: they need search tags.
	Searches []*Protected
	// Writes are the protected columns that the statement writes; empty for reads.
	Writes []*Protected
	// Ignore is set for INSERT IGNORE and UPDATE IGNORE: errors of the backend become warnings.
	Ignore bool
	// RefuseNull says that a NULL for a NOT NULL column would not be refused by the backend but stored as an empty value
	// (IGNORE, or no strict sql_mode): the executor stores the type's implicit default in its place and warns, as MariaDB does.
	// Without it, and in the one row of an INSERT without IGNORE, a NULL is sent on and the backend says 1048.
	RefuseNull bool
	// Shown, when not nil, says how rows that describe a table are changed.
	Shown *Shown
	// Describe says that the column definitions of the answer are those of the client's own text, which the backend is asked
	// for: the rewritten text has other names and origins.
	Describe bool
	// Selected says that sealed values are literals of a SELECT list (INSERT ... SELECT): how many rows get them is not known.
	Selected bool
	// Warnings are what the client is warned about when the statement was carried out, as refusals that were none.
	Warnings []*Refusal
	// Requires are questions that the executor asks the backend before it sends the statement.
	Requires []Requirement
	// Touches says that the statement reaches a table with protected columns, even when Class is Pass.
	Touches bool
}

// Effect is a set of things that a statement changes.
type Effect uint16

// Effects of a statement.
const (
	// StaleFacts: sql_mode, character set, time zone or current database may be others afterwards; read them again before
	// the next statement that depends on them.
	StaleFacts Effect = 1 << iota
	// ChangesDatabase: USE. The name is the statement's second token; it counts once the backend has said OK.
	ChangesDatabase
	// ChangesSchema: DDL; the snapshot is read again before the next statement of any session is planned.
	ChangesSchema
	// LocalInfile: LOAD DATA LOCAL; the backend may ask for a file.
	LocalInfile
	// Diagnostics: only reads FOUND_ROWS(), ROW_COUNT(), warnings and the like; may run while facts are stale.
	Diagnostics
)

// Edit replaces the tokens From..To (inclusive) by its pieces. To == From-1 inserts before From.
type Edit struct {
	From, To int
	Pieces   []Piece
}

// PieceKind tells what a piece renders to.
type PieceKind uint8

// Kinds of piece. In a prepared statement a value that comes from a parameter renders as `?`, and the executor binds the
// sealed bytes; everything else renders as pure-ASCII literals.
const (
	// PieceText is Text, verbatim.
	PieceText PieceKind = iota
	// PieceSource copies the client's own bytes of the tokens From..To (inclusive), parameters included.
	PieceSource
	// PieceSeal is the value Value, sealed for Column: x'..'. NULL and DEFAULT stay as they are.
	PieceSeal
	// PieceRange is the condition "Left equals one of Values": a disjunction over the keys on the keyring of
	// (Left >= lo AND Left < hi), plus Left = '' where the operand equals the declared default. With Negate it is NOT
	// of that. NullSafe is `<=>`. When a value is NULL the answer is MariaDB's: NULL for = and IN, IS NULL for <=>.
	// With no key on the keyring the condition is that no row can match for non-NULL Left (still NULL for NULL Left).
	PieceRange
	// PieceAssign is the new value of an assignment `column = value` in UPDATE or ON DUPLICATE KEY UPDATE under the rule
	// that no cell is overwritten whose key is absent and that a value that did not change keeps its bytes: the
	// executor renders CASE/IF over Left (the old cell as the statement can name it) around the sealed value, or only the
	// sealed value where the policy says overwrite: allow. When NewText is not empty it stands for the new value in place
	// of Value (VALUES(col), another column of the same context).
	PieceAssign
	// PieceAnnotation is the body of an annotation, Text, with its MAC behind it, as a string literal.
	PieceAnnotation
	// PieceTagOf is LEFT(Left, 20), NULL for NULL: what COUNT(DISTINCT) counts.
	PieceTagOf
	// PieceMove is the cell of Column for a row that gets the owner Owner.Value: sealed anew for the new owner, unless it is
	// under that one's key already or the row has that owner already (Owner.Stored).
	PieceMove
	// PieceSameOwner is NewText, which gives the row the owner Owner.New, where its owner is that already (Owner.Stored);
	// anywhere else it fails. Left is the owner column.
	PieceSameOwner
	// PieceLimit is ` LIMIT n` with the sum of Values (a row count, or an offset and a row count), each an unsigned integer
	// literal or a parameter; a sum beyond 64 bits, or a value that is none, renders as nothing: the limit only narrows.
	PieceLimit
)

// Piece is a part of the replacement text of an edit.
type Piece struct {
	Kind   PieceKind
	Text   string
	From   int // PieceSource
	To     int
	Column *Protected
	// Left is SQL text for the column reference, as the client wrote it (names only, no literal).
	Left     string
	Values   []Value
	Negate   bool
	NullSafe bool
	// Loose: the condition of a PieceRange only narrows a fetch; with a value that has no tag it renders as TRUE.
	Loose   bool
	NewText string
	// Source is, for a NewText that is another column, 1 + its index into Before.Sources; 0 for none. The cell stays where
	// both hold the same value.
	Source int
	// Old is the index into Before.Columns of the column whose old cells belong to this assignment; -1 for none. A
	// ValueDefault renders as DEFAULT(column) inside an expression.
	Old int
	// Owner says whose the row is that gets the cell; nil under a service key, and where the table's rows have no owner.
	Owner *RowOwner
}

// ValueKind tells where a value comes from.
type ValueKind uint8

// Kinds of value.
const (
	ValueLiteral ValueKind = iota // the literal at Token (a run of Count tokens when strings are adjacent)
	ValueParam                    // the `?` at Token
	ValueNull
	ValueDefault
	ValueTrue
	ValueFalse
	// ValueUnknown is a value that the server makes; Token is -1.
	ValueUnknown
	ValueImplicit // the type's implicit default, for a NOT NULL column without DEFAULT that is given nothing; Token is -1 where it is left out
)

// Value is one literal, parameter, NULL or DEFAULT of the statement. Token is its index in the collapsed statement: the
// token of the literal itself, without sign, introducer or type word (DATE '…').
type Value struct {
	Kind  ValueKind
	Token int
	// Negative is set for an odd number of unary minus before the literal.
	Negative bool
	// TypeWord is DATE, TIME or TIMESTAMP for temporal literals; Introducer the character set of _latin1'x' without the
	// underscore.
	TypeWord   string
	Introducer string
	// List says that Token is the one literal of a collapsed IN list: it stands for every literal of the list.
	List bool
}

// Output is one result column.
type Output struct {
	// Column is opened with; nil passes as it is.
	Column *Protected
	// Name replaces the column name in the definition when Rename is set: the rewriting changed the text of an unnamed
	// expression, and clients fetch by name.
	Rename   bool
	NameFrom int // the name is the client's own text of these tokens
	NameTo   int
}

// Before is what the executor reads before a write: the old cells of the rows that the statement will overwrite, locked.
type Before struct {
	// Columns are the protected columns whose old cells every SELECT returns, in order.
	Columns []*Protected
	// Sources are the columns that an UPDATE copies from; each SELECT returns them after Columns.
	Sources []*Protected
	// Returned are the columns that DELETE ... RETURNING gives to the client; each SELECT returns them after Sources. They
	// are opened before anything is deleted: an error of the statement must leave the rows where they are.
	Returned []*Protected
	// Owners is how many owners of the row each SELECT returns at the end, as bytes of UTF-8 or NULL: one for each table that
	// the statement writes.
	Owners int
	// Plaintext is set where one of Columns may hold plaintext: each SELECT returns the columns of its key at the very end. Old
	// plaintext that is the new value is sealed first, so that the row counts as it does on plaintext: as one that does not change.
	Plaintext *PlaintextTable
	// NewOwner is whom an UPDATE gives its rows to; nil when it leaves them where they are.
	NewOwner *RowOwner
	// Selects has one entry for UPDATE and DELETE. For INSERT ... ON DUPLICATE KEY UPDATE and REPLACE it has one for each kind of row
	// that the shape kept; the executor repeats it for every row of that kind, with the row's own literals, and may join
	// many with UNION ALL and a row number.
	Selects []BeforeSelect
}

// BeforeSelect is one SELECT of old cells. PieceSource pieces render the client's bytes with the statement's Edits applied.
type BeforeSelect struct {
	// Row is the token index of the opening parenthesis of the row it is for; -1 for UPDATE and for INSERT ... SET.
	Row    int
	Pieces []Piece
	// New has, for INSERT and REPLACE, the value that the row gives to each of Before.Columns; Given says whether it gives
	// one that VALUES(col) will write. A row's value that opens equal to the old cell is replaced by the old cell's bytes, so
	// that counts and timestamps come out as on plaintext.
	New   []Value
	Given []bool
	// Owner is, for INSERT and REPLACE, whose the new row is; nil when the table's rows have no owner.
	Owner *RowOwner
}

// KeyPush is `SET @latchkey = value`. Value is a string literal, a parameter or NULL.
type KeyPush struct {
	Value Value
}

// Call is `CALL latchkey.name(args)`.
type Call struct {
	Name string // lower case
	Args []Value
}

// Requirement is a SELECT that must find no row, or the statement is refused.
type Requirement struct {
	Pieces  []Piece
	Refusal *Refusal
}

// InnerStatement is the literal text of PREPARE name FROM '…' or EXECUTE IMMEDIATE '…'.
type InnerStatement struct {
	// Text is the string literal.
	Text Value
	// Name is the statement name of PREPARE, empty for EXECUTE IMMEDIATE.
	Name string
	// Using says that EXECUTE IMMEDIATE has a USING clause.
	Using bool
	// Args are what USING lists; nil where it lists others than user variables and literals.
	Args []UsingArg
}

// UsingArg is one value of a USING clause.
type UsingArg struct {
	// Variable is the name of a user variable, without @; empty for a literal.
	Variable string
	From, To int
}

// ExecuteStatement is EXECUTE name [USING ...], or DEALLOCATE|DROP PREPARE name.
type ExecuteStatement struct {
	Name       string
	Using      bool
	Deallocate bool
	// Args are what USING lists; nil where it lists others than user variables and literals.
	Args []UsingArg
}
