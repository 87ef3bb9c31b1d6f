package rewrite

import (
	"bytes"
	"cmp"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/rewrite/logical"
)

var update = flag.Bool("update", false, "write the golden plans anew")

// testColumn makes a column from `name type [options]`.
func testColumn(t testing.TB, database, table, def string) *Column {
	t.Helper()
	words := strings.Fields(def)
	c := &Column{Name: words[0], DataType: words[1], ColumnType: words[1], Nullable: true}
	var declared string
	p := &Protected{Database: database, Table: table, Column: c.Name, Context: table + "." + c.Name, Capacity: 1024, Annotated: true}
	for _, w := range words[2:] {
		key, value, _ := strings.Cut(w, "=")
		switch key {
		case "auto":
			c.AutoIncrement = true
		case "notnull":
			c.Nullable = false
		case "onupdate":
			c.OnUpdate = true
		case "invisible":
			c.Invisible = true
		case "sealed":
			declared = value
		case "search":
			p.Search = true
		case "service":
			p.ServiceKey = value
		case "context":
			p.Context = value
		case "owner":
			p.Owner = value
		case "default":
			p.HasOnEmpty, p.OnEmpty = true, []byte(value)
		case "overwrite":
			p.OverwriteAllow = true
		case "away":
			p.Away = true
		case "mixed":
			p.Plaintext = true
		case "unique":
			p.PlaintextKeyed, p.PlaintextUnique = true, true
		case "keyed":
			p.PlaintextKeyed = true
		case "conflict":
			p.Conflict = &Refusal{Code: CodeDisagree, Column: p.String(), Reason: "policy and annotation disagree"}
		default:
			t.Fatalf("unknown column option %q", w)
		}
	}
	if declared != "" {
		typ, err := logical.Parse(declared)
		if err != nil {
			t.Fatal(err)
		}
		p.Type, p.Nullable = typ, c.Nullable
		c.DataType, c.Protected = "varbinary", p
	}
	return c
}

func testTable(t testing.TB, s *Schema, database, name string, columns ...string) *Table {
	t.Helper()
	table := &Table{Database: database, Name: name, Transactional: true}
	for _, def := range columns {
		c := testColumn(t, database, name, def)
		table.Columns = append(table.Columns, c)
		if c.Protected != nil {
			table.Protects = true
			table.Owner = cmp.Or(table.Owner, c.Protected.Owner)
		}
	}
	if s.Databases[database] == nil {
		s.Databases[database] = map[string]*Table{}
	}
	s.Databases[database][name] = table
	return table
}

func unique(name string, parts ...IndexPart) *Index {
	return &Index{Name: name, Unique: true, Kind: "BTREE", Parts: parts}
}

// testSchema is the schema of the golden plans.
func testSchema(t testing.TB) *Schema {
	s := &Schema{Epoch: 1, ServerVersion: 101119, Databases: map[string]map[string]*Table{}, KeystoreDatabase: "latchkey_keys"}
	entries := testTable(t, s, "journal", "entries", "id int auto notnull", "user_id int",
		"title varbinary sealed=varchar(200) search notnull", "body blob sealed=text", "mood int",
		"draft varbinary sealed=varchar(50) default=yes", "note text")
	entries.Indexes = []*Index{unique("PRIMARY", IndexPart{Column: "id"}), unique("per_user", IndexPart{Column: "user_id"}, IndexPart{Column: "title", Prefix: 20})}
	users := testTable(t, s, "journal", "users", "id int auto notnull", "name varchar",
		"email varbinary sealed=varchar(100) search service=app", "login varbinary sealed=varchar(100) search service=app context=users.email",
		"phone varbinary sealed=varchar(30) service=app")
	users.Indexes = []*Index{unique("PRIMARY", IndexPart{Column: "id"}), unique("email", IndexPart{Column: "email", Prefix: 20})}
	testTable(t, s, "journal", "tags", "id int auto notnull", "entry_id int", "name varchar").Indexes =
		[]*Index{unique("PRIMARY", IndexPart{Column: "id"})}
	testTable(t, s, "journal", "archive", "id int notnull", "title varbinary sealed=varchar(200) search context=entries.title notnull")
	testTable(t, s, "journal", "torn", "id int", "secret varbinary sealed=varchar(10) conflict")
	owned := testTable(t, s, "journal", "owned", "id int auto notnull", "user_id int", "title varbinary sealed=varchar(200) search owner=user_id",
		"body blob sealed=text owner=user_id", "mail varbinary sealed=varchar(50) service=app owner=user_id")
	owned.Indexes = []*Index{unique("PRIMARY", IndexPart{Column: "id"})}
	testTable(t, s, "journal", "selves", "id int auto notnull", "phone varbinary sealed=varchar(30) owner=id").Indexes =
		[]*Index{unique("PRIMARY", IndexPart{Column: "id"})}
	letters := testTable(t, s, "journal", "letters", "id int auto notnull", "user_id varchar", "subject varbinary sealed=varchar(200) search owner=user_id away",
		"body blob sealed=text owner=user_id away", "changed timestamp onupdate")
	letters.Indexes = []*Index{unique("code", IndexPart{Column: "user_id"}), unique("PRIMARY", IndexPart{Column: "id"})}
	testTable(t, s, "journal", "loose", "user_id int", "subject varbinary sealed=varchar(200) search owner=user_id away").Triggers =
		[]*Routine{{Database: "journal", Name: "stamp", Kind: "TRIGGER", Event: "UPDATE", Body: "SET NEW.other = 1"}}
	testTable(t, s, "journal", "graded", "grade double", "phone varbinary sealed=varchar(30) owner=grade")
	mixed := testTable(t, s, "journal", "mixed", "id int auto notnull", "user_id int", "title varbinary sealed=varchar(200) search mixed owner=user_id",
		"body blob sealed=text mixed owner=user_id", "mail varbinary sealed=varchar(50) service=app search mixed unique", "copy varbinary sealed=varchar(200) search context=mixed.title owner=user_id")
	mixed.Indexes = []*Index{unique("PRIMARY", IndexPart{Column: "id"}), {Name: "mail", Parts: []IndexPart{{Column: "mail", Prefix: 20}}}}
	view := testTable(t, s, "journal", "v_entries", "id int", "heading varbinary")
	view.Kind, view.Definition = View, "select `journal`.`entries`.`id` AS `id`,`journal`.`entries`.`title` AS `heading` from `journal`.`entries` where `journal`.`entries`.`title` is not null"
	bad := testTable(t, s, "journal", "v_bad", "id int")
	bad.Kind, bad.Definition = View, "select `journal`.`entries`.`id` AS `id` from `journal`.`entries` where `journal`.`entries`.`title` = 'x'"
	logged := testTable(t, s, "journal", "logged", "id int", "what varchar")
	logged.Triggers = []*Routine{{Database: "journal", Name: "copy", Kind: "TRIGGER", Event: "INSERT",
		Body: "INSERT INTO entries (title) VALUES (NEW.what)"}}
	s.Routines = []*Routine{
		{Database: "journal", Name: "add_entry", Kind: "PROCEDURE", Body: "INSERT INTO entries (title) VALUES (x)"},
		{Database: "journal", Name: "hidden", Kind: "PROCEDURE", Unreadable: true},
		{Database: "journal", Name: "clean", Kind: "PROCEDURE", Body: "SELECT 1"},
		{Database: "journal", Name: "peek", Kind: "FUNCTION", Body: "RETURN (SELECT title FROM entries LIMIT 1)"},
	}
	return s
}

func testPolicy() *Policy {
	return &Policy{Databases: map[string]map[string]*TablePolicy{"journal": {
		"entries": {Columns: map[string]*ColumnPolicy{"title": {}, "body": {}, "draft": {}}},
		"missing": {Columns: map[string]*ColumnPolicy{"secret": {}}},
	}}}
}

// TestPlans holds every statement of testdata/plans against its plan. Lines that start with `> ` are the statement; what
// follows up to an empty line is the plan or the refusal. `-update` writes them anew.
func TestPlans(t *testing.T) {
	files, err := filepath.Glob("testdata/plans/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no golden plans: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			p := NewPlanner(testSchema(t), testPolicy())
			if strings.HasPrefix(filepath.Base(file), "residual") {
				p.Finish()
			}
			old, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := replan(t, p, string(old))
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if got != string(old) {
				t.Errorf("plans of %s differ; run with -update and read the difference:\n%s", file, firstDifference(got, string(old)))
			}
		})
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range g {
		if i >= len(w) || g[i] != w[i] {
			from := max(0, i-3)
			return "got:\n" + strings.Join(g[from:min(len(g), i+4)], "\n") + "\nwant:\n" + strings.Join(w[from:min(len(w), i+4)], "\n")
		}
	}
	return "the golden file is longer"
}

func replan(t *testing.T, p *Planner, golden string) string {
	var out strings.Builder
	mode := SQLMode(StrictTransTables)
	for _, line := range strings.Split(golden, "\n") {
		switch {
		case strings.HasPrefix(line, "> "):
			out.WriteString(line + "\n" + describe(t, p, line[2:], mode) + "\n")
		case strings.HasPrefix(line, "#"):
			if m, ok := strings.CutPrefix(line, "# sql_mode: "); ok {
				mode, _ = ParseSQLMode(m)
			}
			out.WriteString(line + "\n\n")
		}
	}
	return out.String()
}

// describe plans a statement and writes the plan as text.
func describe(t *testing.T, p *Planner, sql string, mode SQLMode) string {
	t.Helper()
	f := &Facts{Database: "journal", Mode: mode, Charset: CharsetUTF8MB4, ServerVersion: 101119}
	st := &Statement{}
	if err := st.Scan([]byte(sql), f); err != nil {
		return "scan: " + err.Error() + "\n"
	}
	plan, err := p.Plan(st, f)
	if err != nil {
		var r *Refusal
		if !errors.As(err, &r) {
			t.Fatalf("error of type %T", err)
		}
		return fmt.Sprintf("%d %s\n", r.Code, r.Error())
	}
	var out strings.Builder
	switch plan.Class {
	case Pass:
		out.WriteString("pass")
	case Sealed:
		out.WriteString("sealed " + renderTemplate(st, plan.Edits, 0, st.CollapsedLen()-1))
	case Local:
		out.WriteString("local")
	case Residual:
		out.WriteString("residual")
	}
	out.WriteString(describeRest(st, plan))
	return out.String()
}

func describeRest(st *Statement, plan *Plan) string {
	var out bytes.Buffer
	if plan.Call != nil {
		fmt.Fprintf(&out, " call %s/%d", plan.Call.Name, len(plan.Call.Args))
	}
	if plan.Push != nil {
		fmt.Fprintf(&out, " push %s", describeValue(st, plan.Push.Value))
	}
	if plan.Prepare != nil {
		fmt.Fprintf(&out, " prepare %q", plan.Prepare.Name)
	}
	if plan.Execute != nil {
		fmt.Fprintf(&out, " execute %q using=%v deallocate=%v", plan.Execute.Name, plan.Execute.Using, plan.Execute.Deallocate)
	}
	for i, name := range []string{"stale", "database", "schema", "infile", "diagnostics"} {
		if plan.Effects&(StaleFacts<<i) != 0 && plan.Class != Sealed {
			fmt.Fprintf(&out, " +%s", name)
		}
	}
	out.WriteByte('\n')
	if plan.Opens {
		out.WriteString("  outputs:")
		for _, o := range plan.Outputs {
			switch {
			case o.Column != nil:
				out.WriteString(" " + o.Column.Table + "." + o.Column.Column)
			case o.Rename:
				fmt.Fprintf(&out, " [%s]", st.Span(st.Real(o.NameFrom), st.Real(o.NameTo)))
			default:
				out.WriteString(" -")
			}
		}
		out.WriteByte('\n')
	}
	if r := plan.Residual; r != nil {
		for _, l := range r.Loads {
			out.WriteString("  load: ")
			for _, piece := range l.Fetch {
				out.WriteString(describePiece(st, nil, piece))
			}
			var sealed []string
			for _, c := range l.Columns {
				if c.Protected != nil {
					sealed = append(sealed, c.Name)
				}
			}
			fmt.Fprintf(&out, " opens %v\n", sealed)
		}
		for _, note := range []struct {
			is   bool
			name string
		}{{r.Clock, "clock"}, {r.FoundRows, "found rows"}, {r.Locks, "locks"}, {r.Indexes, "indexes"}, {r.Explain, "explain"}} {
			if note.is {
				fmt.Fprintf(&out, "  %s\n", note.name)
			}
		}
		if w := r.Write; w != nil {
			for _, target := range w.Targets {
				fmt.Fprintf(&out, "  write %s by %v:", r.Loads[target.Load].Table.Name, target.Key)
				if w.Delete {
					out.WriteString(" delete")
				}
				for _, c := range target.Columns {
					out.WriteString(" " + c.Name)
					if c.Protected != nil {
						out.WriteString("={sealed}")
					}
				}
				if w.Insert != nil {
					out.WriteString(describeInsert(w.Insert))
				}
				for _, c := range target.Constraints {
					out.WriteString(" check " + c.Name)
				}
				out.WriteByte('\n')
			}
		}
		if len(r.Variables) > 0 {
			fmt.Fprintf(&out, "  variables %v\n", r.Variables)
		}
		for _, a := range r.Assigns {
			fmt.Fprintf(&out, "  assigns @%s plain=%v\n", a.Name, a.Plain)
		}
		for _, s := range r.Session {
			fmt.Fprintf(&out, "  session %s for %s", s.Ask, st.Span(st.Real(s.From), st.Real(s.To)))
			if s.Whole {
				out.WriteString(" whole")
			}
			out.WriteByte('\n')
		}
		for _, n := range r.Names {
			fmt.Fprintf(&out, "  name %s\n", st.Span(st.Real(n.From), st.Real(n.To)))
		}
	}
	if b := plan.Before; b != nil {
		for _, s := range b.Selects {
			out.WriteString("  before: ")
			for _, piece := range s.Pieces {
				out.WriteString(describePiece(st, plan.Edits, piece))
			}
			for i, g := range s.Given {
				if g {
					fmt.Fprintf(&out, " given %s=%s", b.Columns[i].Column, describeValue(st, s.New[i]))
				}
			}
			out.WriteString(describeOwner(st, s.Owner))
			if b.NewOwner != nil {
				out.WriteString(" moves" + describeOwner(st, b.NewOwner))
			}
			out.WriteByte('\n')
		}
	}
	for _, a := range plan.Away {
		fmt.Fprintf(&out, "  away: %s searches", a.Name)
		for _, p := range a.Searched {
			out.WriteString(" " + p.Column)
		}
		fmt.Fprintf(&out, " of %d, owner %s, key %v, kept %v, fixed %t, locks %t\n", len(a.Columns), a.Owner.Name, a.Key, a.Kept, a.Fixed, plan.AwayLocks)
	}
	for _, w := range plan.Warnings {
		fmt.Fprintf(&out, "  warns: %d %s\n", w.Code, w.Error())
	}
	for _, r := range plan.Requires {
		out.WriteString("  requires none: ")
		for _, piece := range r.Pieces {
			out.WriteString(describePiece(st, nil, piece))
		}
		fmt.Fprintf(&out, ", or %s\n", r.Refusal.Error())
	}
	if plan.RefuseNull {
		out.WriteString("  refuses NULL\n")
	}
	return out.String()
}

func describeValue(st *Statement, v Value) string {
	if v.Kind == ValueDefault {
		return "DEFAULT"
	}
	if v.Kind == ValueImplicit {
		return "implicit default"
	}
	s := string(st.Text(st.Real(v.Token)))
	if v.Negative {
		s = "-" + s
	}
	if v.TypeWord != "" {
		s = v.TypeWord + s
	}
	if v.Introducer != "" {
		s = "_" + v.Introducer + s
	}
	if v.List {
		s += "..."
	}
	return s
}

func describeOwner(st *Statement, o *RowOwner) string {
	if o == nil {
		return ""
	}
	text := " for "
	switch o.Value.Kind {
	case ValueUnknown:
		text += "unknown"
	case ValueNull:
		text += "NULL"
	default:
		text += describeValue(st, o.Value)
	}
	if o.Counted {
		text += " or AUTO_INCREMENT"
	}
	if o.Stored != "" {
		text += fmt.Sprintf(" stored %d %s", o.Old, o.Stored)
	}
	if o.New != "" {
		text += " new " + o.New
	}
	return text
}

func describePiece(st *Statement, edits []Edit, p Piece) string {
	var values []string
	for _, v := range p.Values {
		values = append(values, describeValue(st, v))
	}
	list := strings.Join(values, ", ")
	switch p.Kind {
	case PieceText:
		return p.Text
	case PieceSource:
		return renderTemplate(st, edits, p.From, p.To)
	case PieceSeal:
		return fmt.Sprintf("{seal %s %s%s}", p.Column.Column, list, describeOwner(st, p.Owner))
	case PieceRange:
		op := "in"
		if p.NullSafe {
			op = "<=>"
		}
		if p.Negate {
			op = "not " + op
		}
		if p.Loose {
			op = "loosely " + op
		}
		return fmt.Sprintf("{%s %s %s}", p.Left, op, list)
	case PieceAssign:
		return fmt.Sprintf("{assign %s old=%d %s%s%s}", p.Left, p.Old, list, p.NewText, describeOwner(st, p.Owner))
	case PieceMove:
		return fmt.Sprintf("{move %s old=%d%s}", p.Left, p.Old, describeOwner(st, p.Owner))
	case PieceSameOwner:
		return fmt.Sprintf("{%s unless it changes%s}", p.NewText, describeOwner(st, p.Owner))
	case PieceAnnotation:
		return fmt.Sprintf("'%s mac=...'", strings.ReplaceAll(p.Text, "'", "''"))
	case PieceTagOf:
		return fmt.Sprintf("{tag %s}", p.Left)
	case PieceLimit:
		return fmt.Sprintf("{limit %s}", list)
	}
	return "{?}"
}

func renderTemplate(st *Statement, edits []Edit, from, to int) string {
	var out strings.Builder
	sep := func() {
		if out.Len() > 0 {
			out.WriteByte(' ')
		}
	}
	i := from
	for i <= to+1 {
		for _, e := range edits {
			if e.From != i || (e.To >= e.From && e.To > to) {
				continue
			}
			sep()
			for _, p := range e.Pieces {
				out.WriteString(describePiece(st, nil, p))
			}
			i = max(i, e.To+1)
		}
		if i > to {
			break
		}
		edited := false
		for _, e := range edits {
			edited = edited || (e.From == i && e.To >= i)
		}
		if edited {
			continue
		}
		sep()
		out.Write(st.Text(st.Real(i)))
		i++
	}
	return out.String()
}

// TestUnscannedText: text that cannot be cut into tokens passes only when it can neither name a protected table nor run
// text that could.
func TestUnscannedText(t *testing.T) {
	protecting := NewPlanner(testSchema(t), testPolicy())
	empty := NewPlanner(&Schema{KeystoreDatabase: "latchkey_keys"}, nil)
	for _, tc := range []struct {
		sql          string
		pass, noneTo bool // with protected tables, and with none
	}{
		{"SELECT 1", true, true},
		{"INSERT INTO ENTRIES (title) VALUES (1)", false, true},
		{"CALL add_entry('x')", false, true},
		{"EXECUTE IMMEDIATE CONCAT('INSERT INTO ent', 'ries VALUES (1)')", false, true},
		{"BEGIN execute IMMEDIATE 'x'; END", false, true},
		{"PREPARE s FROM @a", false, true},
		{"BINLOG 'x'", false, true},
		{"SELECT * FROM latchkey_keys.slots", false, false},
		{"SET @`latchkey` = 'x'", false, false},
		{"SELECT '\xa1\\'", false, true},
	} {
		for _, facts := range []*Facts{{Charset: CharsetUnsupported}, {Charset: CharsetUnsupported, Mode: Oracle}} {
			if _, err := protecting.Unscanned([]byte(tc.sql), facts); (err == nil) != tc.pass {
				t.Errorf("%q: %v, want pass %t", tc.sql, err, tc.pass)
			}
			if _, err := empty.Unscanned([]byte(tc.sql), facts); (err == nil) != tc.noneTo {
				t.Errorf("%q with nothing protected: %v, want pass %t", tc.sql, err, tc.noneTo)
			}
		}
	}
}

// TestTriggersTouch: a trigger that sets the owner or a bound column of a row changes what its cells belong to.
func TestTriggersTouch(t *testing.T) {
	for body, want := range map[string]bool{
		"SET NEW.mood = 1": false, "SET NEW.user_id = 1": true, "SET NEW.`day` = NOW()": true, "SET NEW.title = 'x'": true,
	} {
		s := testSchema(t)
		owned := s.Table("journal", "owned")
		owned.Column("title").Protected.Bind = []string{"day"}
		owned.Triggers = []*Routine{{Database: "journal", Name: "tr", Kind: "TRIGGER", Event: "UPDATE", Body: body}}
		p := NewPlanner(s, testPolicy())
		got := describe(t, p, "UPDATE owned SET title = 'x'", StrictTransTables)
		if refused := strings.HasPrefix(got, "9704"); refused != want {
			t.Errorf("trigger %s: %s want refused %t", body, got, want)
		}
	}
}

// describeInsert writes what a residual INSERT writes.
func describeInsert(in *ResidualInsert) string {
	text := " rows"
	if in.Replace {
		text = " replaced rows"
	}
	for _, c := range in.Columns {
		text += " " + c.Name
		if c.Protected != nil {
			text += "={sealed}"
		}
	}
	if in.Counter != "" {
		text += " counted " + in.Counter
	}
	for _, x := range in.Keys {
		text += " met by " + x.Name
	}
	return text
}
