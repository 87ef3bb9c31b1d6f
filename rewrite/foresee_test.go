package rewrite

import (
	"slices"
	"testing"
)

func TestMaskedTextHasNoLiterals(t *testing.T) {
	f := &Facts{Charset: CharsetUTF8MB4}
	for text, want := range map[string]string{
		"SELECT 'a', 0x41 /* c */ AS 'alias' FROM t ORDER BY 2":            "SELECT ?, ? AS ? FROM t ORDER BY ?",
		"INSERT INTO t VALUES (1,'a'),(2,'b')":                             "INSERT INTO t VALUES (?,?)",
		"SELECT * FROM t WHERE a IN (1,2,3) AND b=_utf8mb4'x' COLLATE 'y'": "SELECT * FROM t WHERE a IN (?) AND b=_utf8mb4? COLLATE ?",
		"ALTER TABLE t COMMENT 'secret', ADD c INT DEFAULT 7":              "ALTER TABLE t COMMENT ?, ADD c INT DEFAULT ?",
	} {
		var st Statement
		if err := st.Scan([]byte(text), f); err != nil {
			t.Fatal(err)
		}
		st.AppendShape(nil, f)
		if got := string(st.AppendMasked(nil)); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", text, got, want)
		}
	}
}

// TestForesee looks at a table that nothing has prepared: it is protected with its present types in what is foreseen, and not
// changed itself.
func TestForesee(t *testing.T) {
	table := &Table{Database: "d", Name: "t", Columns: []*Column{
		{Name: "id", DataType: "int", ColumnType: "int(11)"},
		{Name: "word", DataType: "varchar", ColumnType: "varchar(20)", Bytes: 80, Charset: "utf8mb4", Collation: "utf8mb4_general_ci", HasDefault: true, Default: "'x'"},
		{Name: "made", DataType: "int", ColumnType: "int(11)", Generated: true, GenerationExpression: "`id` + 1"},
	}, Indexes: []*Index{{Name: "w", Unique: true, Kind: "BTREE", Parts: []IndexPart{{Column: "word"}}}}}
	s := &Schema{Databases: map[string]map[string]*Table{"d": {"t": table}}}
	p := &Policy{Databases: map[string]map[string]*TablePolicy{"d": {"t": {Columns: map[string]*ColumnPolicy{"WORD": {SearchEquality: true}, "made": {}}}}}}
	next := Foresee(s, p, nil).Table("d", "t")
	word := next.Column("word").Protected
	if word == nil || word.Conflict != nil || word.Type == nil || word.Type.Length != 20 || !word.HasOnEmpty || word.Type.Nullable {
		t.Errorf("word is %+v", word)
	}
	if made := next.Column("made").Protected; made == nil || made.Conflict == nil || made.Conflict.Reason != conflictGenerated.reason {
		t.Errorf("made is %+v", made)
	}
	if got := next.Indexes[0].Parts[0].Prefix; got != TagPrefix {
		t.Errorf("the index covers %d bytes, want %d", got, TagPrefix)
	}
	if slices.ContainsFunc(table.Columns, func(c *Column) bool { return c.Protected != nil }) || table.Column("word").DataType != "varchar" || table.Indexes[0].Parts[0].Prefix != 0 || table.Protects {
		t.Error("the schema itself was changed")
	}
	if got := Effective(s, p); len(got.Databases) != 0 {
		t.Errorf("Effective = %+v, want nothing", got.Databases)
	}
	table.Column("word").Comment = annotationMark + "x"
	if got := Effective(s, p).Table("d", "t", 0); got == nil || got.Column("word") == nil || got.Column("made") != nil {
		t.Errorf("Effective with an annotation = %+v", got)
	}
}
