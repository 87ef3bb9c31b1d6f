package proxy

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// testKeyset is a keyring of the keys of these letters.
func testKeyset(t testing.TB, letters ...byte) *keyset {
	t.Helper()
	k := &keyset{ring: new(keystore.Keyring), services: new(keystore.ServiceKeys), now: time.Now}
	for _, letter := range letters {
		account, err := keystore.ParseAccountKey([]byte(testKey(t, letter)))
		if err != nil {
			t.Fatal(err)
		}
		user, err := account.UserKey(testRealm)
		if err != nil {
			t.Fatal(err)
		}
		if err := k.ring.Add(user); err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(k.ring.Empty)
	return k
}

// testColumn is a searchable column with the declared default 'draft'.
func testColumn(t testing.TB) *rewrite.Protected {
	return &rewrite.Protected{
		Database: "d", Table: "t", Column: "title", Context: "t.title", Search: true, Nullable: true, Capacity: 400,
		Type: mustType(t, "varchar(50) collate utf8mb4_bin"), OnEmpty: []byte("draft"), HasOnEmpty: true,
	}
}

// testRenderer reads a statement and makes a renderer over a plan for it. Token indexes of the plan are those of the words
// between spaces, as the tests write their statements.
func testRenderer(t testing.TB, mode renderMode, keys *keyset, text string, plan *rewrite.Plan, params ...wire.Param) *renderer {
	t.Helper()
	f := &rewrite.Facts{Charset: rewrite.CharsetUTF8MB4, ServerVersion: 101119}
	st := new(rewrite.Statement)
	if err := st.Scan([]byte(text), f); err != nil {
		t.Fatalf("scan %s: %v", text, err)
	}
	st.AppendShape(nil, f)
	return &renderer{
		mode: mode, plan: plan, st: st, at: nowhere, conv: &logical.Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4"},
		vals: &values{st: st, charset: "utf8mb4", params: params}, sealer: &sealer{keys: keys},
	}
}

var hexLiteral = regexp.MustCompile(`x'([0-9a-f]*)'`)

// legible replaces what the proxy made by what it stands for: cells by their value, bounds of ranges by the value whose tag
// they carry, key ids by the letter of the key.
func legible(t testing.TB, keys *keyset, column *rewrite.Protected, text string, known ...string) string {
	t.Helper()
	o := &opener{keys: keys, conv: &logical.Session{ClientCharset: "utf8mb4", ResultsCharset: "utf8mb4"}}
	return hexLiteral.ReplaceAllStringFunc(text, func(literal string) string {
		b, _ := hex.DecodeString(literal[2 : len(literal)-1])
		switch {
		case len(b) == cell.PrefixSize:
			return bound(t, keys, column, b, known)
		case len(b) == cell.KeyIDSize:
			for i, key := range keys.ring.Keys() {
				if id := key.ID(); bytes.Equal(id[:], b) {
					return fmt.Sprint("key", i)
				}
			}
		case cell.IsCell(b):
			canonical, _, err := o.canonicalOf(&openColumn{column: column}, b)
			if err != nil {
				t.Errorf("a rendered cell does not open: %v", err)
			}
			return "«" + string(canonical) + "»"
		}
		return literal
	})
}

func bound(t testing.TB, keys *keyset, column *rewrite.Protected, b []byte, known []string) string {
	t.Helper()
	s := sealer{keys: keys}
	for _, value := range known {
		ranges, err := s.ranges(column, []byte(value))
		if err != nil {
			t.Fatal(err)
		}
		for i := range ranges {
			switch {
			case bytes.Equal(ranges[i].low[:], b):
				return fmt.Sprintf("low(%s,%d)", value, i)
			case bytes.Equal(ranges[i].high[:], b):
				return fmt.Sprintf("high(%s,%d)", value, i)
			}
		}
	}
	return "unknown bound"
}

func literalAt(token int) rewrite.Value {
	return rewrite.Value{Kind: rewrite.ValueLiteral, Token: token}
}

func TestRenderRange(t *testing.T) {
	column := testColumn(t)
	left := "t.title"
	// The tokens of the condition: 5 title, 6 =, 7 the value.
	const text = "SELECT 1 FROM t WHERE title = 'a' AND n = 1"
	span := func(p rewrite.Piece) *rewrite.Plan {
		p.Kind, p.Column, p.Left = rewrite.PieceRange, column, left
		return &rewrite.Plan{Class: rewrite.Sealed, Edits: []rewrite.Edit{{From: 5, To: 7, Pieces: []rewrite.Piece{p}}}}
	}
	one, two := testKeyset(t, 'A'), testKeyset(t, 'A', 'B')
	for _, c := range []struct {
		name string
		keys *keyset
		text string
		p    rewrite.Piece
		want string
	}{
		{"one key", one, text, rewrite.Piece{Values: []rewrite.Value{literalAt(7)}},
			"((t.title >= low(a,0) AND t.title < high(a,0)))"},
		{"two keys", two, text, rewrite.Piece{Values: []rewrite.Value{literalAt(7)}},
			"((t.title >= low(a,0) AND t.title < high(a,0)) OR (t.title >= low(a,1) AND t.title < high(a,1)))"},
		{"negated", one, text, rewrite.Piece{Negate: true, Values: []rewrite.Value{literalAt(7)}},
			"(NOT ((t.title >= low(a,0) AND t.title < high(a,0))))"},
		{"null safe", one, text, rewrite.Piece{NullSafe: true, Values: []rewrite.Value{literalAt(7)}},
			"((t.title >= low(a,0) AND t.title < high(a,0) AND t.title IS NOT NULL))"},
		{"NULL", one, text, rewrite.Piece{Values: []rewrite.Value{{Kind: rewrite.ValueNull, Token: 7}}}, "(NULL)"},
		{"null safe NULL", one, text, rewrite.Piece{NullSafe: true, Values: []rewrite.Value{{Kind: rewrite.ValueNull, Token: 7}}},
			"((t.title IS NULL))"},
		{"the declared default", one, strings.Replace(text, "'a'", "'draft'", 1), rewrite.Piece{Values: []rewrite.Value{literalAt(7)}},
			"((t.title >= low(draft,0) AND t.title < high(draft,0)) OR (t.title = x''))"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRenderer(t, renderText, c.keys, c.text, span(c.p))
			if err := r.statement(0, len(c.text)); err != nil {
				t.Fatal(err)
			}
			got := legible(t, c.keys, column, string(r.out), "a", "draft")
			want := "SELECT 1 FROM t WHERE " + c.want + " AND n = 1"
			if got != want {
				t.Errorf("\n got  %s\n want %s", got, want)
			}
			for _, b := range []byte(got) {
				if b >= 0x80 {
					t.Errorf("the text is not ASCII: %s", got)
					break
				}
			}
		})
	}
	number := *column
	number.Type, number.HasOnEmpty = mustType(t, "tinyint"), false
	never := span(rewrite.Piece{Values: []rewrite.Value{literalAt(7)}})
	never.Edits[0].Pieces[0].Column = &number
	r := testRenderer(t, renderText, one, strings.Replace(text, "'a'", "300", 1), never)
	if err := r.statement(0, len(r.st.SQL())); err != nil || !strings.Contains(string(r.out), "((t.title < x''))") {
		t.Errorf("a value that no row can hold: %v, %s", err, r.out)
	}
	if err := testRenderer(t, renderText, testKeyset(t), text, span(rewrite.Piece{Values: []rewrite.Value{literalAt(7)}})).statement(0, len(text)); err == nil || err.(*fault).code != codeNoKey {
		t.Errorf("without a key: %v, want error %d", err, codeNoKey)
	}
}

// TestRenderRows: edits of a row group repeat for every row, with the values of the row.
func TestRenderRows(t *testing.T) {
	column := testColumn(t)
	keys := testKeyset(t, 'A')
	const text = "INSERT INTO t (id, title) VALUES (1, 'a'), (2, 'b'), (3, NULL), /* c */ (4, 'd') ON DUPLICATE KEY UPDATE n = 1"
	// Collapsed, the rows are (1, 'a') from token 9 on and (3, NULL) from token 15 on.
	plan := &rewrite.Plan{Class: rewrite.Sealed, Edits: []rewrite.Edit{
		{From: 12, To: 12, Pieces: []rewrite.Piece{{Kind: rewrite.PieceSeal, Column: column, Values: []rewrite.Value{literalAt(12)}}}},
		{From: 18, To: 18, Pieces: []rewrite.Piece{{Kind: rewrite.PieceSeal, Column: column, Values: []rewrite.Value{{Kind: rewrite.ValueNull, Token: 18}}}}},
	}}
	r := testRenderer(t, renderText, keys, text, plan)
	if got := string(r.st.Text(r.st.Real(12))) + string(r.st.Text(r.st.Real(18))); got != "'a'NULL" {
		t.Fatalf("the plan's tokens are %s", got)
	}
	if err := r.statement(0, len(text)); err != nil {
		t.Fatal(err)
	}
	want := strings.NewReplacer("'a'", "«a»", "'b'", "«b»", "'d'", "«d»").Replace(text)
	if got := legible(t, keys, column, string(r.out)); got != want {
		t.Errorf("\n got  %s\n want %s", got, want)
	}

	bound := testRenderer(t, renderBound, keys, text, plan)
	if err := bound.statement(0, len(text)); err != nil {
		t.Fatal(err)
	}
	want = strings.NewReplacer("'a'", "?", "'b'", "?", "'d'", "?").Replace(text)
	if got := string(bound.out); got != want || len(bound.binds) != 3 {
		t.Errorf("%d values for\n got  %s\n want %s", len(bound.binds), got, want)
	}
	unbound := testRenderer(t, renderUnbound, testKeyset(t), text, plan)
	if err := unbound.statement(0, len(text)); err != nil || string(unbound.out) != want {
		t.Errorf("before parameters are known: %v\n got  %s\n want %s", err, unbound.out, want)
	}
}

func TestRenderAssign(t *testing.T) {
	column := testColumn(t)
	keys := testKeyset(t, 'A', 'B')
	const text = "UPDATE t SET title = 'a' WHERE id = 1"
	assign := func(change func(p *rewrite.Piece, c *rewrite.Protected)) *rewrite.Plan {
		c := *column
		p := rewrite.Piece{Kind: rewrite.PieceAssign, Column: &c, Left: "title", Values: []rewrite.Value{literalAt(5)}, Old: 0}
		if change != nil {
			change(&p, &c)
		}
		return &rewrite.Plan{Class: rewrite.Sealed, Edits: []rewrite.Edit{{From: 5, To: 5, Pieces: []rewrite.Piece{p}}}}
	}
	const guard = "title IS NULL OR title=x'' OR SUBSTRING(title,IF(SUBSTRING(title,4,1)=x'74',25,9),8) IN (key0,key1)"
	for _, c := range []struct {
		name   string
		change func(p *rewrite.Piece, c *rewrite.Protected)
		old    [][]byte
		want   string
	}{
		{"guarded", nil, nil, "CASE WHEN " + guard + " THEN «a» ELSE EXP(9702+LENGTH(title)) END"},
		{"kept cells", nil, [][]byte{[]byte("1"), []byte("2")}, "CASE WHEN title IN (x'31',x'32') THEN title WHEN " + guard + " THEN «a» ELSE EXP(9702+LENGTH(title)) END"},
		{"overwrite: allow", func(_ *rewrite.Piece, c *rewrite.Protected) { c.OverwriteAllow = true }, nil, "«a»"},
		{"overwrite: allow, kept cells", func(_ *rewrite.Piece, c *rewrite.Protected) { c.OverwriteAllow = true }, [][]byte{[]byte("1")},
			"CASE WHEN title IN (x'31') THEN title ELSE «a» END"},
		{"another text", func(p *rewrite.Piece, _ *rewrite.Protected) { p.NewText, p.Old = "VALUES(title)", -1 }, nil,
			"CASE WHEN " + guard + " THEN VALUES(title) ELSE EXP(9702+LENGTH(title)) END"},
		{"DEFAULT", func(p *rewrite.Piece, _ *rewrite.Protected) { p.Values[0].Kind = rewrite.ValueDefault }, nil,
			"CASE WHEN " + guard + " THEN DEFAULT(title) ELSE EXP(9702+LENGTH(title)) END"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := testRenderer(t, renderText, keys, text, assign(c.change))
			if c.old != nil {
				r.old.keep = [][][]byte{c.old}
			}
			if err := r.statement(0, len(text)); err != nil {
				t.Fatal(err)
			}
			want := "UPDATE t SET title = " + c.want + " WHERE id = 1"
			if got := legible(t, keys, column, string(r.out)); got != want {
				t.Errorf("\n got  %s\n want %s", got, want)
			}
		})
	}
}

func TestSealLimits(t *testing.T) {
	column := testColumn(t)
	keys := testKeyset(t, 'A')
	for _, c := range []struct {
		name   string
		change func(c *rewrite.Protected)
		code   uint16
	}{
		{"fits", func(c *rewrite.Protected) { c.Capacity = int64(cell.SealedLen(3, 0, true)) }, 0},
		{"one byte too long", func(c *rewrite.Protected) { c.Capacity = int64(cell.SealedLen(3, 0, true)) - 1 }, 1406},
		{"too long with padding", func(c *rewrite.Protected) { c.Capacity, c.Pad = int64(cell.SealedLen(3, 0, true)), 64 }, 1406},
		{"bound", func(c *rewrite.Protected) { c.Bind = []string{"id"} }, codeNotPossible},
		{"unknown service key", func(c *rewrite.Protected) { c.ServiceKey = "none" }, codeNoKey},
	} {
		changed := *column
		c.change(&changed)
		s := sealer{keys: keys}
		b, err := s.seal(nil, &changed, rowOwner{}, []byte("abc"))
		var code uint16
		if err != nil {
			code = err.(*fault).code
		}
		if code != c.code || (err == nil) != cell.IsCell(b) {
			t.Errorf("%s: %v, want error %d", c.name, err, c.code)
		}
	}
}
