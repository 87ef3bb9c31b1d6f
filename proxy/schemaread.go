package proxy

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"hash"
	"regexp"
	"strconv"
	"strings"

	"latchkey/rewrite"
)

// schemaRead is what one reading of information_schema gave.
type schemaRead struct {
	schema                   *rewrite.Schema
	missing                  []string
	lacksProcess             bool
	systemTimeZone, timeZone string
	tables                   int
	// digest is over every row that was read: equal digests are equal schemas.
	digest [32]byte
}

// notSystem keeps the columns of the server's own databases out: nothing in them is protected.
const notSystem = " NOT IN ('information_schema','performance_schema','mysql','sys')"

// schemaReader reads the parts of a schema one after the other. There is no transaction over information_schema; the caller
// compares the DDL counters of before and after.
type schemaReader struct {
	conn   *schemaConn
	read   *schemaRead
	schema *rewrite.Schema
	grants grants
	hash   hash.Hash
	// transactional are the storage engines that can roll back.
	transactional map[string]bool
}

// readSchema reads the whole schema. It calls progress whenever the backend has answered.
func readSchema(conn *schemaConn, keystoreDatabase string, progress func()) (*schemaRead, error) {
	r := &schemaReader{
		conn: conn, hash: sha256.New(), transactional: map[string]bool{},
		schema: &rewrite.Schema{Collations: map[string]string{}, Databases: map[string]map[string]*rewrite.Table{}, KeystoreDatabase: keystoreDatabase},
	}
	r.read = &schemaRead{schema: r.schema}
	for _, step := range []struct {
		name string
		do   func() error
	}{
		{"server", r.server}, {"engines", r.engines}, {"grants", r.readGrants}, {"collations", r.collations}, {"catalog", r.catalog}, {"tables", r.tables}, {"columns", r.columns},
		{"statistics", r.statistics}, {"views", r.views}, {"triggers", r.triggers}, {"routines", r.routines},
		{"events", r.events}, {"check constraints", r.checks}, {"foreign keys", r.foreignKeys}, {"partitions", r.partitions},
	} {
		if err := step.do(); err != nil {
			return nil, fmt.Errorf("read schema: %s: %w", step.name, err)
		}
		progress()
	}
	r.privileges()
	r.hash.Sum(r.read.digest[:0])
	return r.read, nil
}

// rows runs a query; every value goes into the digest, with its length so that rows cannot run into each other.
func (r *schemaReader) rows(query string, do func(row schemaRow) error) error {
	var size [8]byte
	return r.conn.rows(query, func(row schemaRow) error {
		for i := range row {
			text := row.text(i)
			length := uint64(len(text)) << 1
			if row.null(i) {
				length = 1
			}
			binary.LittleEndian.PutUint64(size[:], length)
			r.hash.Write(size[:])
			r.hash.Write([]byte(text))
		}
		return do(row)
	})
}

func (r *schemaReader) server() error {
	return r.rows("SELECT VERSION(), @@global.lower_case_table_names, @@global.system_time_zone, @@global.time_zone, @@global.explicit_defaults_for_timestamp", func(row schemaRow) error {
		r.schema.ServerVersion = serverVersion(row.text(0))
		r.schema.LowerCaseTableNames = int(row.number(1))
		r.read.systemTimeZone, r.read.timeZone = row.text(2), row.text(3)
		r.schema.ImplicitTimestamps = row.text(4) == "0"
		if r.schema.ServerVersion == 0 {
			return fmt.Errorf("the server's version is not one of MariaDB")
		}
		return nil
	})
}

var versionNumber = regexp.MustCompile(`^(?:5\.5\.5-)?(\d{1,3})\.(\d{1,2})\.(\d{1,2})`)

// serverVersion reads 101119 from 10.11.19-MariaDB; 0 for anything else.
func serverVersion(text string) int {
	m := versionNumber.FindStringSubmatch(text)
	if m == nil || !strings.Contains(text, "MariaDB") {
		return 0
	}
	version := 0
	for _, part := range m[1:] {
		n, _ := strconv.Atoi(part)
		version = version*100 + n
	}
	return version
}

func (r *schemaReader) engines() error {
	return r.rows("SELECT ENGINE FROM information_schema.ENGINES WHERE TRANSACTIONS='YES'", func(row schemaRow) error {
		r.transactional[strings.ToLower(row.text(0))] = true
		return nil
	})
}

func (r *schemaReader) collations() error {
	return r.rows("SELECT SCHEMA_NAME, DEFAULT_COLLATION_NAME FROM information_schema.SCHEMATA ORDER BY SCHEMA_NAME", func(row schemaRow) error {
		r.schema.Collations[r.schema.TableKey(row.text(0))] = row.text(1)
		return nil
	})
}

// catalog reads which columns the tables of information_schema have: they are others in every version.
func (r *schemaReader) catalog() error {
	r.schema.Catalog = map[string][]string{}
	query := "SELECT TABLE_NAME, COLUMN_NAME FROM information_schema.COLUMNS WHERE TABLE_SCHEMA='information_schema'" +
		" AND TABLE_NAME IN ('" + strings.Join(rewrite.CatalogTables, "','") + "') ORDER BY TABLE_NAME, ORDINAL_POSITION"
	return r.rows(query, func(row schemaRow) error {
		r.schema.Catalog[row.text(0)] = append(r.schema.Catalog[row.text(0)], row.text(1))
		return nil
	})
}

func (r *schemaReader) tables() error {
	const query = "SELECT TABLE_SCHEMA, TABLE_NAME, TABLE_TYPE, ENGINE, TABLE_COLLATION FROM information_schema.TABLES"
	return r.rows(query, func(row schemaRow) error {
		t := &rewrite.Table{Database: row.text(0), Name: row.text(1), Collation: row.text(4)}
		switch row.text(2) {
		case "BASE TABLE", "SYSTEM VERSIONED":
			t.Kind = rewrite.BaseTable
		case "VIEW":
			t.Kind = rewrite.View
		case "SEQUENCE":
			t.Kind = rewrite.SequenceTable
		default:
			t.Kind = rewrite.OtherTable
		}
		t.Transactional = r.transactional[strings.ToLower(row.text(3))]
		key := r.schema.TableKey(t.Database)
		if r.schema.Databases[key] == nil {
			r.schema.Databases[key] = map[string]*rewrite.Table{}
		}
		r.schema.Databases[key][r.schema.TableKey(t.Name)] = t
		r.read.tables++
		return nil
	})
}

// onTable makes a row callback that finds the table named by the first two columns. A table that came into being after the
// tables were read is left out: the counters tell.
func (r *schemaReader) onTable(do func(t *rewrite.Table, row schemaRow)) func(row schemaRow) error {
	return func(row schemaRow) error {
		if t := r.schema.Table(row.text(0), row.text(1)); t != nil {
			do(t, row)
		}
		return nil
	}
}

func (r *schemaReader) columns() error {
	const query = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, DATA_TYPE, COLUMN_TYPE, CHARACTER_OCTET_LENGTH, CHARACTER_SET_NAME, COLLATION_NAME," +
		" IS_NULLABLE, COLUMN_DEFAULT, COLUMN_COMMENT, EXTRA, IS_GENERATED, GENERATION_EXPRESSION" +
		" FROM information_schema.COLUMNS WHERE TABLE_SCHEMA" + notSystem + " ORDER BY TABLE_SCHEMA, TABLE_NAME, ORDINAL_POSITION"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		extra := strings.ToLower(row.text(11))
		c := &rewrite.Column{
			Name: row.text(2), DataType: strings.ToLower(row.text(3)), ColumnType: row.text(4), Bytes: row.number(5),
			Charset: row.text(6), Collation: row.text(7), Nullable: row.yes(8), HasDefault: !row.null(9), Default: row.text(9),
			Comment: row.text(10), Invisible: strings.Contains(extra, "invisible"), AutoIncrement: strings.Contains(extra, "auto_increment"),
			OnUpdate: strings.Contains(extra, "on update"), Generated: row.text(12) == "ALWAYS", GenerationExpression: row.text(13),
		}
		t.Columns = append(t.Columns, c)
	}))
}

func (r *schemaReader) statistics() error {
	ignored := "IGNORED"
	if r.schema.ServerVersion < 100600 {
		ignored = "'NO'"
	}
	query := "SELECT TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, NON_UNIQUE, INDEX_TYPE, COLUMN_NAME, SUB_PART, COLLATION, INDEX_COMMENT, " + ignored +
		" FROM information_schema.STATISTICS WHERE TABLE_SCHEMA" + notSystem + " ORDER BY TABLE_SCHEMA, TABLE_NAME, INDEX_NAME, SEQ_IN_INDEX"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		var index *rewrite.Index
		if n := len(t.Indexes); n > 0 && t.Indexes[n-1].Name == row.text(2) {
			index = t.Indexes[n-1]
		} else {
			index = &rewrite.Index{Name: row.text(2), Unique: row.text(3) == "0", Kind: row.text(4), Comment: row.text(8), Ignored: row.yes(9)}
			t.Indexes = append(t.Indexes, index)
		}
		index.Parts = append(index.Parts, rewrite.IndexPart{Column: row.text(5), Prefix: int(row.number(6)), Descending: row.text(7) == "D"})
	}))
}

func (r *schemaReader) views() error {
	// VIEW_DEFINITION is empty without SHOW VIEW and SELECT on the view.
	const query = "SELECT TABLE_SCHEMA, TABLE_NAME, VIEW_DEFINITION FROM information_schema.VIEWS"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		t.Definition = row.text(2)
		t.Unreadable = t.Definition == ""
	}))
}

func (r *schemaReader) triggers() error {
	const query = "SELECT EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, TRIGGER_NAME, ACTION_STATEMENT, EVENT_MANIPULATION, SQL_MODE" +
		" FROM information_schema.TRIGGERS ORDER BY EVENT_OBJECT_SCHEMA, EVENT_OBJECT_TABLE, EVENT_MANIPULATION, ACTION_TIMING, ACTION_ORDER"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		trigger := &rewrite.Routine{Database: t.Database, Name: row.text(2), Kind: "TRIGGER", Body: row.text(3), Event: row.text(4)}
		setMode(trigger, row.text(5))
		t.Triggers = append(t.Triggers, trigger)
	}))
}

func (r *schemaReader) routines() error {
	const query = "SELECT ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE, ROUTINE_DEFINITION, SQL_MODE FROM information_schema.ROUTINES" +
		" ORDER BY ROUTINE_SCHEMA, ROUTINE_NAME, ROUTINE_TYPE"
	return r.rows(query, func(row schemaRow) error {
		routine := &rewrite.Routine{Database: row.text(0), Name: row.text(1), Kind: row.text(2), Body: row.text(3)}
		routine.Unreadable = row.null(3) || routine.Body == ""
		setMode(routine, row.text(4))
		r.schema.Routines = append(r.schema.Routines, routine)
		return nil
	})
}

func (r *schemaReader) events() error {
	const query = "SELECT EVENT_SCHEMA, EVENT_NAME, EVENT_DEFINITION, SQL_MODE FROM information_schema.EVENTS ORDER BY EVENT_SCHEMA, EVENT_NAME"
	return r.rows(query, func(row schemaRow) error {
		event := &rewrite.Routine{Database: row.text(0), Name: row.text(1), Kind: "EVENT", Body: row.text(2)}
		event.Unreadable = event.Body == ""
		setMode(event, row.text(3))
		r.schema.Events = append(r.schema.Events, event)
		return nil
	})
}

// setMode notes the sql_mode a body was created under. A mode that is not known here makes the body one that cannot be read.
func setMode(routine *rewrite.Routine, text string) {
	mode, ok := rewrite.ParseSQLMode(text)
	routine.Mode = mode
	routine.Unreadable = routine.Unreadable || !ok
}

func (r *schemaReader) checks() error {
	const query = "SELECT CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, LEVEL, CHECK_CLAUSE FROM information_schema.CHECK_CONSTRAINTS" +
		" ORDER BY CONSTRAINT_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, LEVEL"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		t.Checks = append(t.Checks, rewrite.CheckConstraint{Name: row.text(2), OfColumn: row.text(3) == "Column", Clause: row.text(4)})
	}))
}

func (r *schemaReader) foreignKeys() error {
	const query = "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, REFERENCED_TABLE_SCHEMA, REFERENCED_TABLE_NAME, REFERENCED_COLUMN_NAME" +
		" FROM information_schema.KEY_COLUMN_USAGE WHERE REFERENCED_TABLE_NAME IS NOT NULL" +
		" ORDER BY TABLE_SCHEMA, TABLE_NAME, CONSTRAINT_NAME, ORDINAL_POSITION"
	return r.rows(query, func(row schemaRow) error {
		for side := range 2 {
			if t := r.schema.Table(row.text(3*side), row.text(3*side+1)); t != nil {
				t.ForeignKeyColumns = append(t.ForeignKeyColumns, row.text(3*side+2))
				if side == 0 {
					t.References = append(t.References, rewrite.Reference{Column: row.text(2), Database: row.text(3), Table: row.text(4), Parent: row.text(5)})
				}
			}
		}
		return nil
	})
}

func (r *schemaReader) partitions() error {
	const query = "SELECT DISTINCT TABLE_SCHEMA, TABLE_NAME, COALESCE(PARTITION_EXPRESSION,''), COALESCE(SUBPARTITION_EXPRESSION,'')" +
		" FROM information_schema.PARTITIONS WHERE PARTITION_NAME IS NOT NULL AND TABLE_SCHEMA" + notSystem + " ORDER BY 1, 2, 3, 4"
	return r.rows(query, r.onTable(func(t *rewrite.Table, row schemaRow) {
		var expressions []string
		for _, expression := range []string{row.text(2), row.text(3)} {
			if expression != "" {
				expressions = append(expressions, expression)
			}
		}
		t.PartitionExpression = strings.Join(expressions, ", ")
	}))
}
