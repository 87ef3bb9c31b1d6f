package rewrite

import (
	"strings"

	"latchkey/rewrite/logical"
)

// Schema is a snapshot of the backend's schema, as the proxy's own account reads it from information_schema. It is
// immutable after Protect.
type Schema struct {
	// Epoch grows by one with every snapshot; plans of another epoch are never used.
	Epoch uint64
	// LowerCaseTableNames is the server variable: 0 compares table names by letter case.
	LowerCaseTableNames int
	// ImplicitTimestamps is explicit_defaults_for_timestamp=OFF.
	ImplicitTimestamps bool
	// ServerVersion is the numeric version, 101119 for 10.11.19.
	ServerVersion int
	// Collations maps database name (folded by TableKey) to the default collation of its tables.
	Collations map[string]string
	// Databases maps database name to table name (folded by TableKey) to table.
	Databases map[string]map[string]*Table
	// Routines are all stored functions, procedures and packages.
	Routines []*Routine
	// Events are all events of the event scheduler.
	Events []*Routine
	// Catalog has the columns, in their order, of each of CatalogTables.
	Catalog map[string][]string
	// KeystoreDatabase is never reachable through the proxy.
	KeystoreDatabase string
}

// TableKind is the TABLE_TYPE of information_schema.TABLES.
type TableKind uint8

// Kinds of table.
const (
	BaseTable TableKind = iota
	View
	SequenceTable
	OtherTable
)

// Table is a table or view of the backend.
type Table struct {
	Database, Name string
	Kind           TableKind
	// Collation is the default collation of the table.
	Collation string
	// Transactional is false for engines whose changes cannot be rolled back (Aria, MyISAM, MEMORY).
	Transactional bool
	// Columns are in their order in the table; INVISIBLE ones are included and marked.
	Columns []*Column
	Indexes []*Index
	// Triggers hold the ACTION_STATEMENT of each trigger on the table.
	Triggers []*Routine
	// Definition is VIEW_DEFINITION of a view.
	Definition string
	// Unreadable says that the account may not see the definition of the view: it counts as touching protected columns.
	Unreadable bool
	// Partitioned tables name their partitioning columns here.
	PartitionExpression string
	// ForeignKeyColumns are the columns of this table that take part in a foreign key, on either side.
	ForeignKeyColumns []string
	// References are the columns of this table that a foreign key leads to another table by, or to this one.
	References []Reference
	// Checks are the CHECK constraints of the table and of its columns.
	Checks []CheckConstraint
	// Constraints are those CHECKs of the application's that name protected columns. Set by Protect.
	Constraints []Constraint
	// Owner is the owner column by the policy; empty when there is none.
	Owner string
	// Protects says that at least one column is protected, or that a view reaches one. Set by Protect.
	Protects bool
}

// Column is one column of a table, as the backend has it, and its protection.
type Column struct {
	Name string
	// DataType is information_schema's DATA_TYPE in lower case (`varbinary`); ColumnType its COLUMN_TYPE.
	DataType, ColumnType string
	// Bytes is CHARACTER_OCTET_LENGTH: what the column can hold; 0 for types without one.
	Bytes              int64
	Charset, Collation string
	Nullable           bool
	// HasDefault and Default: COLUMN_DEFAULT as MariaDB prints it (an expression in SQL).
	HasDefault bool
	Default    string
	// Comment is COLUMN_COMMENT.
	Comment string
	// Generated is set for VIRTUAL and STORED columns; GenerationExpression is their expression.
	Generated            bool
	GenerationExpression string
	Invisible            bool
	AutoIncrement        bool
	// OnUpdate is set for `ON UPDATE current_timestamp()`.
	OnUpdate bool
	// Protected is nil for a column that is not protected.
	Protected *Protected
}

// Reference is one column of a foreign key and the column that it names.
type Reference struct {
	Column string
	// Database, Table and Parent are where it leads.
	Database, Table, Parent string
}

// CheckConstraint is one CHECK. Clause is its expression as MariaDB prints it.
type CheckConstraint struct {
	Name string
	// OfColumn is set for a CHECK that is part of a column's definition; Name is then the column's.
	OfColumn bool
	Clause   string
}

// Index is one index of a table.
type Index struct {
	Name   string
	Unique bool
	// Kind is INDEX_TYPE: BTREE, HASH, FULLTEXT, SPATIAL, RTREE.
	Kind string
	// Ignored: the optimizer does not use it.
	Ignored bool
	// Comment is INDEX_COMMENT.
	Comment string
	Parts   []IndexPart
}

// IndexPart is one column of an index; Prefix is SUB_PART, 0 when the whole column is indexed.
type IndexPart struct {
	Column     string
	Prefix     int
	Descending bool
}

// Routine is a stored procedure, function, trigger or event.
type Routine struct {
	Database, Name string
	// Kind is PROCEDURE, FUNCTION, TRIGGER, EVENT or PACKAGE.
	Kind string
	// Body is its source; Unreadable says that the account may not see it.
	Body       string
	Unreadable bool
	// Mode is the sql_mode it was created under, which Body has to be read with.
	Mode SQLMode
	// Event is INSERT, UPDATE or DELETE for a trigger.
	Event string
}

// Protected is what is known about one protected column. It is shared by every plan of a snapshot and never changed.
type Protected struct {
	Database, Table, Column string
	// Context, never empty, names the column in key derivation.
	Context string
	// ServiceKey names the service key; empty means the user key.
	ServiceKey string
	// Search says that cells carry a search tag.
	Search bool
	// Type is the declared type.
	Type *logical.Type
	// Capacity is the number of bytes that the physical column holds.
	Capacity int64
	// Nullable is the physical column's.
	Nullable bool
	// OnEmpty is the canonical form of the declared default: what an empty physical value means. nil: NULL.
	OnEmpty []byte
	// HasOnEmpty is false when the column has no declared default: then an empty physical value is an error (9703).
	HasOnEmpty     bool
	Owner          string
	UniquePerOwner bool
	Bind           []string
	OverwriteAllow bool
	Locked         Locked
	Pad            int
	// Away says that cells sealed to an absent owner may stand in the column.
	Away bool
	// AwayUnique says that the policy accepts such cells and that a UNIQUE key over the column, which could not see them, rules
	// them out.
	AwayUnique bool
	// Plaintext says that the column may hold plaintext beside cells, while its rows are being converted. What is written is
	// sealed all the same, and no condition over it is left to tags.
	Plaintext bool
	// PlaintextKeyed says that a UNIQUE key is over a column with Plaintext. Search tags tell the backend which cells are equal; the
	// plaintext that is left the proxy compares with what a statement writes, and seals where it is equal.
	PlaintextKeyed bool
	// PlaintextUnique is PlaintextKeyed where that is not possible: no UNIQUE index over search tags is there, or rows are under the
	// keys of their owners.
	PlaintextUnique bool
	// Annotated says that the column carries an annotation, so that its protection follows a rename or a copy.
	Annotated bool
	// Conflict is not nil where policy and annotation disagree or the physical column cannot hold cells: every touch is
	// refused with it.
	Conflict *Refusal
}

// String is `database.table.column`, for messages.
func (c *Protected) String() string { return c.Database + "." + c.Table + "." + c.Column }

// SameContext tells whether what stands in c may stand in d as it is: same derivation, same type, same kind of cell, and nothing
// but cells.
func (c *Protected) SameContext(d *Protected) bool {
	return !c.Plaintext && c.Context == d.Context && c.ServiceKey == d.ServiceKey && c.Search == d.Search &&
		c.Type.String() == d.Type.String() && c.HasOnEmpty == d.HasOnEmpty && string(c.OnEmpty) == string(d.OnEmpty) &&
		len(c.Bind) == 0 && len(d.Bind) == 0 && (!c.Away || d.Away)
}

// TableKey folds a table or database name as the server does for comparison.
func (s *Schema) TableKey(name string) string {
	if s.LowerCaseTableNames == 0 {
		return name
	}
	return strings.ToLower(name)
}

// Table finds a table; nil when the snapshot does not have it.
func (s *Schema) Table(database, name string) *Table {
	return s.Databases[s.TableKey(database)][s.TableKey(name)]
}

// Column finds a column of t by name, without letter case; nil when t does not have it.
func (t *Table) Column(name string) *Column {
	for _, c := range t.Columns {
		if c.Name == name {
			return c
		}
	}
	key := FoldName(name)
	for _, c := range t.Columns {
		if FoldName(c.Name) == key {
			return c
		}
	}
	return nil
}
