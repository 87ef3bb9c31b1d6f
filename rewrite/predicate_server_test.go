package rewrite

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore/cell"
)

// twins are two databases with tables of the same names: in one the values are plain, in the other sealed columns hold
// cells. What a statement answers over the first, its rewritten text must answer over the second.
type twins struct {
	tb            testing.TB
	plain, sealed *backend
	database      string // of the cells
	schema        *Schema
	planner       *Planner
	key           *cell.Key
	index         *cell.IndexKey
}

func newTwins(tb testing.TB) *twins {
	tb.Helper()
	server := mariadbtest.Shared(tb)
	w := &twins{tb: tb, database: server.NewDatabase(tb)}
	w.plain, w.sealed = newBackend(tb, CharsetUTF8MB4, StrictTransTables), newBackend(tb, CharsetUTF8MB4, StrictTransTables)
	w.plain.exec("USE " + mariadbtest.Quote(server.NewDatabase(tb)))
	w.sealed.exec("USE " + mariadbtest.Quote(w.database))
	w.sealed.facts.Database = w.database
	w.schema = &Schema{Epoch: 1, ServerVersion: w.sealed.facts.ServerVersion, Databases: map[string]map[string]*Table{}}
	var err error
	secret := []byte("0123456789abcdef0123456789abcdef")
	if w.key, err = cell.NewKey(secret, cell.KeyID{1}, 1, "main", "users.email"); err != nil {
		tb.Fatal(err)
	}
	if w.index, err = cell.NewIndexKey(secret); err != nil {
		tb.Fatal(err)
	}
	return w
}

// seal makes a cell; the weights of its tag are the bytes themselves, as in a binary collation without trailing spaces.
func (w *twins) seal(value string) string {
	tag := w.index.Tag([]byte(value))
	return "x'" + hex.EncodeToString(w.key.Seal(nil, cell.Params{Tag: &tag, Plaintext: []byte(value)})) + "'"
}

// render carries out a plan the way its pieces are documented, with one key on the keyring.
func (w *twins) render(st *Statement, plan *Plan) string {
	var out strings.Builder
	next := 0
	for _, e := range plan.Edits {
		from, to := st.Token(st.Real(e.From)), st.Token(st.Real(max(e.From, e.To)))
		out.Write(st.SQL()[next:from.Start])
		for i := range e.Pieces {
			w.piece(&out, st, &e.Pieces[i])
		}
		next = int(to.End)
	}
	out.Write(st.SQL()[next:])
	return out.String()
}

func (w *twins) piece(out *strings.Builder, st *Statement, p *Piece) {
	switch p.Kind {
	case PieceText:
		out.WriteString(p.Text)
	case PieceSource:
		out.Write(st.Span(st.Real(p.From), st.Real(p.To)))
	case PieceTagOf:
		fmt.Fprintf(out, "LEFT(%s,%d)", p.Left, cell.PrefixSize)
	case PieceRange:
		var terms []string
		for _, v := range p.Values {
			tokens := []int32{int32(st.Real(v.Token))}
			if v.List {
				tokens = st.Expand(nil, v.Token)
			}
			for _, token := range tokens {
				terms = append(terms, w.term(st, p, v, int(token)))
			}
		}
		not := ""
		if p.Negate {
			not = "NOT "
		}
		fmt.Fprintf(out, "(%s(%s))", not, strings.Join(terms, " OR "))
	default:
		w.tb.Fatalf("unexpected piece of kind %d", p.Kind)
	}
}

func (w *twins) term(st *Statement, p *Piece, v Value, token int) string {
	if v.Kind == ValueNull {
		if p.NullSafe {
			return "(" + p.Left + " IS NULL)"
		}
		return "NULL"
	}
	lit, err := st.Literal(token)
	if err != nil {
		w.tb.Fatal(err)
	}
	lo, hi := cell.PrefixRange(w.index.Tag(lit.Bytes))
	text := fmt.Sprintf("%[1]s >= x'%[2]x' AND %[1]s < x'%[3]x'", p.Left, lo, hi)
	if p.NullSafe {
		text += " AND " + p.Left + " IS NOT NULL"
	}
	return "(" + text + ")"
}

// plan gives the plan of a statement over the sealed side.
func (w *twins) plan(text string) (*Statement, *Plan, error) {
	w.tb.Helper()
	st := &Statement{}
	if err := st.Scan([]byte(text), &w.sealed.facts); err != nil {
		w.tb.Fatalf("%s: %v", text, err)
	}
	plan, err := w.planner.Plan(st, &w.sealed.facts)
	return st, plan, err
}

// check runs a statement over both and compares the rows. mayPass says that the plan need not change the text.
func (w *twins) check(text string, mayPass bool) {
	w.tb.Helper()
	st, plan, err := w.plan(text)
	if err != nil {
		w.tb.Errorf("%s: refused: %v", text, err)
		return
	}
	if plan.Class != Sealed && !mayPass {
		w.tb.Errorf("%s: class %d, want sealed", text, plan.Class)
		return
	}
	rewritten := w.render(st, plan)
	wantCode, want := w.plain.answer(text)
	gotCode, got := w.sealed.answer(rewritten)
	if gotCode != wantCode || got != want {
		w.tb.Errorf("%s\n  over plaintext: %d %s\n  over cells:     %d %s\n  sent: %s", text, wantCode, want, gotCode, got, rewritten)
	}
}

// newPeople makes the table users on both sides, with every combination of NULL, empty and other values.
func newPeople(tb testing.TB) *twins {
	w := newTwins(tb)
	users := testTable(tb, w.schema, w.database, "users", "id int notnull", "num int", "name varchar",
		"email varbinary sealed=varchar(100) search service=app", "login varbinary sealed=varchar(100) search service=app context=users.email")
	users.Indexes = []*Index{unique("PRIMARY", IndexPart{Column: "id"})}
	testTable(tb, w.schema, w.database, "numbers", "n int")
	w.planner = NewPlanner(w.schema, &Policy{})
	w.plain.exec("CREATE TABLE users (id INT PRIMARY KEY, num INT, name VARCHAR(10), email VARCHAR(100) COLLATE utf8mb4_bin, login VARCHAR(100) COLLATE utf8mb4_bin)")
	w.sealed.exec("CREATE TABLE users (id INT PRIMARY KEY, num INT, name VARCHAR(10), email VARBINARY(1024), login VARBINARY(1024), KEY (email(20)), KEY (login(20)))")
	quote := func(v string) string { return "'" + v + "'" }
	id := 0
	values := []sql.NullString{{}, {String: "", Valid: true}, {String: "a", Valid: true}, {String: "b", Valid: true}, {String: "B", Valid: true}}
	for _, email := range values {
		for _, login := range values {
			id++
			num := "NULL"
			if id%4 != 0 {
				num = fmt.Sprint(id % 3)
			}
			row := func(cell func(string) string) string {
				text := fmt.Sprintf("INSERT INTO users VALUES (%d, %s, 'n%d'", id, num, id%3)
				for _, v := range []sql.NullString{email, login} {
					if v.Valid {
						text += ", " + cell(v.String)
					} else {
						text += ", NULL"
					}
				}
				return text + ")"
			}
			w.plain.exec(row(quote))
			w.sealed.exec(row(w.seal))
		}
	}
	for _, b := range []*backend{w.plain, w.sealed} {
		b.exec("CREATE TABLE numbers (n INT)")
		b.exec("INSERT INTO numbers VALUES (1), (2), (3)")
	}
	return w
}

// TestPredicatesAgainstServer proves that predicates over cells are true, false and NULL where those over plaintext are, in
// every place that shows the difference.
func TestPredicatesAgainstServer(t *testing.T) {
	w := newPeople(t)
	predicates := []string{
		"email = 'a'", "'a' = email", "(email) = ('a')", "email = 'none'", "email = ''", "email = 'a' 'b'", "email = NULL", "NULL = email",
		"email <> 'a'", "'a' != email", "email <> NULL",
		"email <=> 'a'", "'a' <=> email", "email <=> ''", "email <=> NULL", "NULL <=> email", "NOT email <=> 'a'",
		"email IN ('a')", "email IN ('a', 'b')", "email IN ('a', NULL)", "email IN (NULL)", "(email) IN (('a'), ('b'))", "email IN ('a', 'none', 'B', '')",
		"email NOT IN ('a')", "email NOT IN ('a', 'b')", "email NOT IN ('a', NULL)", "email NOT IN (NULL)",
		"(num, email) = (1, 'a')", "(email, num) = ('a', 1)", "(1, 'a') = (num, email)", "('a', 1) = (email, num)", "ROW(num, email) = ROW(1, 'a')",
		"(num, email) = (NULL, 'a')", "(num, email) = (1, NULL)", "(num, email) = (NULL, NULL)",
		"(num, email) <> (1, 'a')", "(num, email) <> (1, NULL)", "(num, email) <> (NULL, 'a')",
		"(num, email) IN ((1, 'a'))", "(num, email) IN ((1, 'a'), (2, 'b'))", "(num, email) IN ((1, 'a'), (NULL, 'b'))", "(num, email) IN ((1, 'a'), (2, NULL))",
		"(email, login) IN (('a', 'a'), ('b', 'B'), ('', NULL))", "((num), (email)) IN ((1, ('a')), ((2), 'b'))",
		"(num, email) NOT IN ((1, 'a'))", "(num, email) NOT IN ((1, 'a'), (2, 'b'))", "(num, email) NOT IN ((1, 'a'), (NULL, 'b'))", "(num, email) NOT IN ((1, 'a'), (2, NULL))",
		"email = login", "email <> login", "login = email", "email = email", "(email = login) = 1",
		"email IS NULL OR email = 'a'", "email = 'a' AND num = 1", "email = 'a' XOR num = 1", "email = 'a' OR NULL", "email = 'a' AND NULL",
		"(email = 'a') = (login = 'a')", "IF(email = 'a', num, 7)", "ISNULL(email) OR email = 'b'",
	}
	places := []string{
		"SELECT id FROM users WHERE %s ORDER BY id",
		"SELECT id FROM users WHERE NOT (%s) ORDER BY id",
		"SELECT id, (%s) AS p FROM users ORDER BY id",
		"SELECT id, %s FROM users ORDER BY id",
		"SELECT id FROM users WHERE (%s) IS NULL ORDER BY id",
		"SELECT id FROM users WHERE (%s) IS NOT TRUE ORDER BY id",
		"SELECT id, num, email IS NULL AS e, login AS l, COUNT(*) FROM users WHERE %s GROUP BY id HAVING num > 0 ORDER BY id",
		"SELECT id, COALESCE(%s, 5) AS p, CASE WHEN %[1]s THEN 1 ELSE 0 END AS q FROM users ORDER BY id",
		"SELECT a.id FROM numbers JOIN users AS a ON %s WHERE n = 1 ORDER BY a.id",
		"SELECT n, a.id FROM numbers LEFT JOIN users AS a ON a.id = n AND (%s) ORDER BY n",
		"SELECT n FROM numbers WHERE n IN (SELECT id FROM users WHERE %s) ORDER BY n",
		"SELECT n FROM numbers WHERE n NOT IN (SELECT id FROM users WHERE NOT (%s)) ORDER BY n",
		"SELECT n FROM numbers WHERE EXISTS (SELECT * FROM users WHERE id = n AND (%s)) ORDER BY n",
		"SELECT d.id FROM (SELECT id, num, email, login FROM users) AS d WHERE %s ORDER BY d.id",
		"WITH c AS (SELECT id, num, email, login FROM users) SELECT id FROM c WHERE %s ORDER BY id",
		"SELECT COUNT(*), SUM(%s) FROM users",
	}
	for _, place := range places {
		for _, predicate := range predicates {
			text := strings.ReplaceAll(strings.ReplaceAll(place, "%[1]s", predicate), "%s", predicate)
			if strings.Contains(place, " AS l,") {
				text = strings.Replace(text, "login AS l, ", "", 1) // the value itself is a cell on one side
			}
			if strings.Contains(place, ") IS NULL") && hasRowText(predicate) {
				w.refused(text)
				continue
			}
			w.check(text, onlyNull(predicate))
		}
	}
	for _, predicate := range []string{"email = 'a'", "email <=> 'a'", "email IN ('a', 'b', NULL)", "(num, email) IN ((1, 'a'), (2, 'b'))", "email NOT IN ('a')", "login = email"} {
		w.check("SELECT id, num, email AS e, login FROM users HAVING "+strings.ReplaceAll(predicate, "email", "e")+" AND 0", false)
	}
	w.check("SELECT COUNT(DISTINCT email), COUNT(DISTINCT login), COUNT(DISTINCT (email)) FROM users", false)
	w.check("SELECT num, COUNT(DISTINCT email) AS n FROM users GROUP BY num HAVING COUNT(DISTINCT email) > 1 ORDER BY num", false)
}

// hasRowText tells a comparison of rows with a sealed column by its text.
func hasRowText(predicate string) bool {
	return strings.Contains(predicate, "(num,") || strings.Contains(predicate, ", num)") || strings.Contains(predicate, "(email, login)") ||
		strings.Contains(predicate, "((num)")
}

// refused holds that a statement is refused: the server's answer over plaintext is one that no predicate over cells gives.
func (w *twins) refused(text string) {
	w.tb.Helper()
	if _, _, err := w.plan(text); err == nil {
		w.tb.Errorf("%s: planned, want a refusal", text)
	}
}

// onlyNull: a comparison with NULL is left to the server, so that the plan may pass.
func onlyNull(predicate string) bool {
	switch predicate {
	case "email = NULL", "NULL = email", "email <> NULL", "email <=> NULL", "NULL <=> email":
		return true
	}
	return false
}

// TestStarsAgainstServer holds the order of * in joins against the server's: a column in another place would be opened
// with another column's key, or come to the client unopened.
func TestStarsAgainstServer(t *testing.T) {
	w := newTwins(t)
	for _, def := range []string{"a k x y", "b y k z", "c z x w"} {
		names := strings.Fields(def)
		table, columns := names[0], []string{}
		physical := []string{}
		for i, c := range names[1:] {
			if i == 1 {
				columns = append(columns, "s"+table+" varbinary sealed=varchar(10)")
				physical = append(physical, "s"+table+" VARBINARY(300)")
			}
			columns, physical = append(columns, c+" int"), append(physical, c+" INT")
		}
		testTable(t, w.schema, w.database, table, columns...)
		w.sealed.exec("CREATE TABLE " + table + " (" + strings.Join(physical, ", ") + ")")
	}
	w.planner = NewPlanner(w.schema, &Policy{})
	known := 0
	for _, from := range []string{
		"a", "a, b", "a, b, c", "a JOIN b ON a.k = b.k", "a NATURAL JOIN b", "b NATURAL JOIN a", "a JOIN b USING (y, k)", "b JOIN a USING (k, y)",
		"a LEFT JOIN b USING (y)", "a RIGHT JOIN b USING (y)", "a NATURAL LEFT JOIN b", "a NATURAL RIGHT JOIN b", "a JOIN b USING (k) JOIN c USING (x)",
		"a JOIN b USING (k) LEFT JOIN c USING (z)", "a NATURAL JOIN (b NATURAL JOIN c)", "a NATURAL JOIN b NATURAL JOIN c", "a JOIN (b JOIN c USING (z)) USING (k)",
		"a JOIN b JOIN c ON b.z = c.z ON a.k = b.k", "a LEFT JOIN b ON a.k = b.k RIGHT JOIN c ON 1 = 1", "(a, b) NATURAL JOIN c", "a, b NATURAL JOIN c",
		"a RIGHT JOIN b ON 1 = 1 NATURAL JOIN c", "a STRAIGHT_JOIN b", "a CROSS JOIN (b, c)", "(SELECT * FROM a) AS d NATURAL JOIN b",
		"(SELECT * FROM a NATURAL JOIN b) AS d", "(SELECT sb, x FROM a, b) AS d, c",
	} {
		for _, list := range []string{"*", "b.*", "*, sa", "sa, a.*", "1, a.*, b.*"} {
			text := "SELECT " + list + " FROM " + from
			names, err := w.columnNames(text)
			if err != nil {
				continue // the server does not know a table of the list
			}
			_, plan, err := w.plan(text)
			if err != nil {
				if !strings.Contains(from, "RIGHT") {
					t.Errorf("%s: %v", text, err)
				}
				continue
			}
			known++
			if len(plan.Outputs) != len(names) {
				t.Errorf("%s: %d outputs, want those of %v", text, len(plan.Outputs), names)
				continue
			}
			for i, o := range plan.Outputs {
				sealed := ""
				if o.Column != nil {
					sealed = o.Column.Column
				}
				want := ""
				if strings.HasPrefix(names[i], "s") {
					want = names[i]
				}
				if sealed != want {
					t.Errorf("%s: output %d is %q, want %q of %v", text, i, sealed, want, names)
				}
			}
		}
	}
	if known < 60 {
		t.Errorf("only %d lists were planned", known)
	}
}

func (w *twins) columnNames(text string) ([]string, error) {
	rows, err := w.sealed.conn.QueryContext(context.Background(), text)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	return rows.Columns()
}
