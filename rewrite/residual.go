package rewrite

// ResidualPlan says which rows of which tables a statement needs in the evaluator, where the client's own text is finished over
// temporary tables of the same names.
type ResidualPlan struct {
	// Loads has every table and view that the statement names, once each, also those that hold nothing protected.
	Loads []Load
	// Clock: a condition that the backend evaluates, or the statement itself, reads the clock. The fetches and the statement
	// then have to see the same time.
	Clock bool
	// Variables are the names of the user variables that the statement reads, without @; they are given to the evaluator.
	Variables []string
	// Assigns are the user variables that the statement assigns, each once; Variables has them too.
	Assigns []AssignedVariable
	// Session are the places that read what only the client's own session has, in order. The evaluator gets values in their place.
	Session []SessionRead
	// Names are the select items whose column would be named after such a value; they get their own text as an alias.
	Names []ItemName
	// FoundRows: the statement has SQL_CALC_FOUND_ROWS.
	FoundRows bool
	// Locks: the fetches lock the rows that they read.
	Locks bool
	// Indexes: the statement names indexes, which its tables in the evaluator need then.
	Indexes bool
	// Write is set for statements that write.
	Write *ResidualWrite
	// Explain: the statement is EXPLAIN; nothing is opened, and the answer says what would be.
	Explain bool
	// Create is set for CREATE TABLE ... SELECT, and all else is empty then.
	Create *CreateSelect
	// Sources are, of a plan of Planner.PlanSource, the protected columns behind each column of the query.
	Sources [][]*Protected
}

// Load is the fetch of one table's rows from the backend.
type Load struct {
	// Table is a base table, or a view all of whose protected columns are bare ones of base tables.
	Table *Table
	// View has, for a view, the protected column behind each of its columns, nil for the others; nil for a base table.
	View []*Protected
	// Columns are those that the fetch selects, in order. The others are not used by the statement and stay at whatever an
	// omitted column has.
	Columns []LoadColumn
	// Fetch is the SELECT: a superset of the rows that matter to the statement, in order of the primary key. Its pieces are
	// text, source, range and limit. It is empty for a table to which the statement only adds rows.
	Fetch []Piece
	// Pushed are the conditions that narrow the fetch, as texts without literals, for EXPLAIN.
	Pushed []string
	// Limited: the fetch has the statement's own LIMIT.
	Limited bool
}

// LoadColumn is one column of a fetch.
type LoadColumn struct {
	Name string
	// Protected is not nil for a column whose cells are opened.
	Protected *Protected
}

// SessionRead is one function or system variable of which the value is that of the client's session. From and To are tokens
// of the collapsed statement, and stand for those of every element of a list that is like this one.
type SessionRead struct {
	From, To int
	// Ask is the expression as the backend is asked for it.
	Ask string
	// Whole: it is all of a select item.
	Whole bool
}

// ItemName is a select item without an alias: the column's name is the client's own text of these tokens.
type ItemName struct{ From, To int }
