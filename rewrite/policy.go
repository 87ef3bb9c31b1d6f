package rewrite

import (
	"strings"

	"latchkey/rewrite/logical"
)

// Policy is the decision of the configuration per table and column. It is immutable once handed out; a reload makes a
// new one. Database, table and column names are kept as written; lookups go through Table and Column.
type Policy struct {
	// Databases maps database name to table name to the table's policy.
	Databases map[string]map[string]*TablePolicy
}

// TablePolicy is the policy of one table.
type TablePolicy struct {
	// Owner is the column that holds the row's owner; empty when the table has none.
	Owner string
	// AwayAccept says that a write for an owner who is not unlocked here is sealed to the owner's public key.
	AwayAccept bool
	// Columns maps column name to its policy.
	Columns map[string]*ColumnPolicy
}

// ColumnPolicy is the policy of one column. The zero value is a column under the user key, not searchable, whose type
// comes from its annotation.
type ColumnPolicy struct {
	// ServiceKey names the service key that seals the column; empty means the user key.
	ServiceKey string
	// SearchEquality puts a search tag into every cell.
	SearchEquality bool
	// Type is the declared type; nil means that the annotation has it.
	Type *logical.Type
	// Context is the name of the column in key derivation; empty means the annotation's, else table.column.
	Context string
	// UniquePerOwner says that UNIQUE is meant to hold within one owner only.
	UniquePerOwner bool
	// Bind lists the other columns of the row whose values are authenticated with the cell.
	Bind []string
	// OverwriteAllow lifts the rule that a cell whose key is not here is never overwritten.
	OverwriteAllow bool
	// Locked says what a reader without the key gets.
	Locked Locked
	// PlaintextAccept allows plaintext values in the column while existing rows are being converted.
	PlaintextAccept bool
	// Pad hides lengths up to a multiple of so many bytes; 0 and 1 do not pad.
	Pad int
}

// LockedMode says what a reader without the key of a cell gets.
type LockedMode uint8

// The modes of the policy option `locked`.
const (
	LockedError LockedMode = iota // error 9702 (9701 when the connection has no key at all)
	LockedNull                    // NULL
	LockedText                    // the replacement text of Locked.Text
)

// Locked is the policy option `locked`.
type Locked struct {
	Mode LockedMode
	Text string
}

// Table returns the policy of a table, or nil. Names are compared as MariaDB compares them: by letter case unless
// lowerCaseTableNames is not 0.
func (p *Policy) Table(database, table string, lowerCaseTableNames int) *TablePolicy {
	if p == nil {
		return nil
	}
	if lowerCaseTableNames == 0 {
		return p.Databases[database][table]
	}
	for d, tables := range p.Databases {
		if !strings.EqualFold(d, database) {
			continue
		}
		for t, tp := range tables {
			if strings.EqualFold(t, table) {
				return tp
			}
		}
	}
	return nil
}

// Column returns the policy of a column, or nil. Column names do not know letter case in MariaDB.
func (t *TablePolicy) Column(name string) *ColumnPolicy {
	if t == nil {
		return nil
	}
	if c, ok := t.Columns[name]; ok {
		return c
	}
	for n, c := range t.Columns {
		if strings.EqualFold(n, name) {
			return c
		}
	}
	return nil
}
