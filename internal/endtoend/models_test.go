package endtoend

import (
	"context"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// model is one of the applications of docs/examples that are SQL only.
type model struct {
	title string // as a reader of the plots knows it
	dir   string // below docs/examples
	// database is its name in the policy.
	database string
	// columns lists table.column of every protected column.
	columns []string
	// largest is the table whose rows are counted.
	largest string
	// fill gives the statements that write an owner's rows: as many as asked for in the largest table.
	fill func(owner, rows int) []string
	// sample are the owners' files, in the order of the owners.
	sample []string
}

var models = []model{
	{
		title: "Bookkeeping", dir: "bookkeeping", database: "bookkeeping", largest: "items", fill: fillBookkeeping, sample: []string{"nora", "bakery"},
		columns: []string{"accounts.name", "accounts.opening", "contacts.name", "contacts.note", "categories.name", "budgets.planned",
			"entries.note", "items.amount", "items.note"},
	},
	{
		title: "Journal", dir: "journal-reports", database: "diary", largest: "entries", fill: fillJournal, sample: []string{"ines", "tom"},
		columns: []string{"entries.title", "entries.body", "entries.mood", "tags.name"},
	},
}

func (m *model) path(file string) string { return filepath.Join("../../docs/examples", m.dir, file) }

// policy is what the example's configuration has below `databases`, for a database of another name.
func (m *model) policy(tb testing.TB, database string) string {
	tb.Helper()
	_, policy, ok := strings.Cut(readText(tb, m.path("latchkey.yaml")), "databases:\n  "+m.database+":\n")
	if !ok {
		tb.Fatalf("%s has no policy of %s", m.path("latchkey.yaml"), m.database)
	}
	return "  " + database + ":\n" + policy
}

// modelQuery is a piece of queries.sql: a name, and statements that belong together.
type modelQuery struct {
	name       string
	statements []string
}

var queryName = regexp.MustCompile(`(?m)^-- ([a-z ]+)\n`)

// queries reads queries.sql.
func (m *model) queries(tb testing.TB) []modelQuery {
	tb.Helper()
	text := readText(tb, m.path("queries.sql"))
	at := queryName.FindAllStringSubmatchIndex(text, -1)
	var all []modelQuery
	for i, a := range at {
		end := len(text)
		if i+1 < len(at) {
			end = at[i+1][0]
		}
		q := modelQuery{name: text[a[2]:a[3]]}
		for _, s := range strings.Split(text[a[1]:end], ";\n") {
			if s = strings.TrimSpace(s); s != "" {
				q.statements = append(q.statements, s)
			}
		}
		all = append(all, q)
	}
	if len(all) < 10 {
		tb.Fatalf("%s has %d queries", m.path("queries.sql"), len(all))
	}
	return all
}

// ownWords are the conditions by which a query of owner 1 becomes one of another owner.
var ownWords = regexp.MustCompile(`\b(user_id|account_id) = 1\b`)

// ownAccount is the account of an owner's that queries ask about.
func ownAccount(owner int) int { return 10*owner - 9 }

// of gives a statement of queries.sql for an owner, with ? for the numbers of owner and account.
func (m *model) of(stmt string, owner int) trial {
	s := trial{class: m.database, stmt: ownWords.ReplaceAllString(stmt, "$1 = ?")}
	for _, match := range ownWords.FindAllStringSubmatch(stmt, -1) {
		n := owner
		if match[1] == "account_id" {
			n = ownAccount(owner)
		}
		s.args = append(s.args, wholeArgument(int64(n)))
	}
	return s
}

// batches writes rows as INSERT statements of 500 rows.
func batches(table, columns string, rows []string) []string {
	var all []string
	for len(rows) > 0 {
		n := min(len(rows), 500)
		all = append(all, "INSERT INTO "+table+" ("+columns+") VALUES\n"+strings.Join(rows[:n], ",\n"))
		rows = rows[n:]
	}
	return all
}

// cents writes an amount.
func cents(n int) string { return fmt.Sprintf("%.2f", float64(n)/100) }

func pick(r *rand.Rand, from ...string) string { return from[r.IntN(len(from))] }

// modelDay is the n-th of count days from 2022 to 2024.
func modelDay(n, count int) time.Time {
	return time.Date(2022, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, n*1095/count)
}

// fillBookkeeping gives an owner's books: entries with two items each, over three years.
func fillBookkeeping(owner, rows int) []string {
	r := rand.New(rand.NewPCG(uint64(owner), uint64(rows)))
	base := 10 * (owner - 1)
	id := func(n int) int { return base + n }
	row := func(format string, values ...any) string { return fmt.Sprintf(format, values...) }
	var accounts, contacts, categories, budgets, entries, items []string
	for i, name := range []string{"Current account", "Purse", "Credit card"} {
		accounts = append(accounts, row("(%d,%d,'%s','%s',%s)", id(i+1), owner, []string{"bank", "cash", "card"}[i], name, cents(r.IntN(500_000))))
	}
	for i, name := range []string{"Miller Housing", "Corner Bakery", "City Tramways", "Northern Power", "Harbour Clinic",
		"Caf\u00e9 Lumi\u00e8re", "B\u00e4ckerei Gro\u00df", "Bookshop at the Bridge"} {
		contacts = append(contacts, row("(%d,%d,'%s',%s)", id(i+1), owner, name, pick(r, "NULL", "'contract 4711'", "'pays late'")))
	}
	tree := []struct {
		name   string
		parent string
	}{{"Home", "NULL"}, {"Rent", "1"}, {"Power", "1"}, {"Food", "NULL"}, {"Groceries", "4"}, {"Bakery", "4"}, {"Travel", "NULL"}, {"Wages", "NULL"}, {"Fun", "NULL"}}
	for i, k := range tree {
		parent := "NULL"
		if n, err := strconv.Atoi(k.parent); err == nil {
			parent = strconv.Itoa(id(n))
		}
		categories = append(categories, row("(%d,%d,%s,'%s')", id(i+1), owner, parent, k.name))
	}
	for month := range 36 {
		for _, k := range []int{2, 3, 5, 6, 7} {
			budgets = append(budgets, row("(%d,%d,'%d-%02d-01',%s)", owner, id(k), 2022+month/12, month%12+1, cents(2000+r.IntN(90_000))))
		}
	}
	count := max(1, rows/2)
	var again string // the entry before, but for its number
	var againItems []string
	for i := range count {
		// Numbers of entries are an owner's own range of 100,000.
		entry := 100_000*(owner-1) + i + 1
		if i%20 != 5 { // each twentieth is booked twice
			contact := "NULL"
			if r.IntN(5) > 0 {
				contact = strconv.Itoa(id(1 + r.IntN(8)))
			}
			note := pick(r, "NULL", "'Breakfast with Ana'", "'monthly'", "'Market'", "'Invoice "+strconv.Itoa(r.IntN(5000))+"'", "''")
			again = row("%d,%s,'%s',%s)", id(1+r.IntN(3)), contact, modelDay(i, count).Format(time.DateOnly), note)
			againItems = againItems[:0]
			for range 2 {
				k, amount := 1+r.IntN(9), -(1 + r.IntN(12_000))
				if k == 8 {
					amount = 100_000 + r.IntN(200_000)
				}
				note := pick(r, "NULL", "'rye bread'", "'birthday cake, 12 pieces'", "'return ticket to the sea'", "'milk, eggs and something sweet'", "'Caf\u00e9'")
				againItems = append(againItems, row("%d,%s,%s)", id(k), cents(amount), note))
			}
		}
		entries = append(entries, row("(%d,%d,", entry, owner)+again)
		for _, item := range againItems {
			items = append(items, row("(%d,%d,", owner, entry)+item)
		}
	}
	var all []string
	for _, t := range []struct {
		table, columns string
		rows           []string
	}{
		{"accounts", "id,user_id,kind,name,opening", accounts}, {"contacts", "id,user_id,name,note", contacts},
		{"categories", "id,user_id,parent_id,name", categories}, {"budgets", "user_id,category_id,month,planned", budgets},
		{"entries", "id,user_id,account_id,contact_id,day,note", entries}, {"items", "user_id,entry_id,category_id,amount,note", items},
	} {
		all = append(all, batches(t.table, t.columns, t.rows)...)
	}
	return all
}

// fillJournal gives an owner's entries of about 40 words over three years, with tags.
func fillJournal(owner, rows int) []string {
	r := rand.New(rand.NewPCG(uint64(owner), uint64(rows)))
	const words = "the a and with to from harbour bed kettle rain ice snow walk evening morning letter boat lighthouse summer desk work home nothing again " +
		"Na\u00efve Stra\u00dfe talked wrote slept heard said laughed, early, late. Friends. Tomorrow!"
	list := strings.Fields(words)
	var entries, tags, tagged []string
	for i, name := range []string{"home", "outside", "work", "family", "dreams"} {
		tags = append(tags, fmt.Sprintf("(%d,%d,'%s')", 10*(owner-1)+i+1, owner, name))
	}
	for i := range rows {
		id := 100_000*(owner-1) + i + 1
		body := make([]string, 20+r.IntN(40))
		for w := range body {
			body[w] = list[r.IntN(len(list))]
		}
		mood := "NULL"
		if r.IntN(8) > 0 {
			mood = strconv.Itoa(1 + r.IntN(10))
		}
		written := modelDay(i, rows).Add(time.Duration(r.IntN(86_400)) * time.Second)
		entries = append(entries, fmt.Sprintf("(%d,%d,'%s','%s','%s',%s)", id, owner, written.Format(time.DateTime),
			pick(r, "Walk", "walk ", "Monday", "Rain", "Caf\u00e9", "Cafe", "Letter "+strconv.Itoa(i)), strings.Join(body, " "), mood))
		if r.IntN(3) == 0 {
			tagged = append(tagged, fmt.Sprintf("(%d,%d)", id, 10*(owner-1)+1+r.IntN(5)))
		}
	}
	all := append(batches("tags", "id,user_id,name", tags), batches("entries", "id,user_id,written,title,body,mood", entries)...)
	return append(all, batches("entry_tags", "entry_id,tag_id", tagged)...)
}

// modelTwin is a model on plaintext and through Latchkey, with an account key for each owner.
type modelTwin struct {
	*model
	twin
	keys map[int]string
}

// newModelTwin makes the tables and fills them: rows has for each owner how many.
func newModelTwin(tb testing.TB, m *model, server *mariadbtest.Server, rows map[int]int) *modelTwin {
	tb.Helper()
	w := &modelTwin{model: m, keys: map[int]string{}}
	w.twin = twin{server: server, plain: server.NewDatabase(tb), sealed: server.NewDatabase(tb), protected: m.columns}
	schema := readText(tb, m.path("schema.sql"))
	for _, db := range []string{w.plain, w.sealed} {
		server.Exec(tb, "USE "+db+";"+schema)
	}
	w.proxy = latchkeytest.Start(tb, latchkeytest.Config{Server: server, Databases: m.policy(tb, w.sealed)})
	direct := server.Open(tb, w.plain)
	for _, owner := range slices.Sorted(maps.Keys(rows)) {
		w.keys[owner] = latchkeytest.NewAccountKey(tb)
		sealed := w.proxy.Conn(tb, w.sealed, "", w.keys[owner])
		for _, stmt := range m.fill(owner, rows[owner]) {
			if _, err := direct.ExecContext(context.Background(), stmt); err != nil {
				tb.Fatalf("%s: owner %d: %v", m.title, owner, err)
			}
			if _, err := sealed.ExecContext(context.Background(), stmt); err != nil {
				tb.Fatalf("%s: owner %d through Latchkey: %v", m.title, owner, err)
			}
		}
	}
	return w
}

// differential connects to both sides; the sealed one has the owner's key.
func (w *modelTwin) differential(t *testing.T, owner int) *differential {
	t.Helper()
	d := &differential{class: map[string]*classCount{}, refusedText: map[string]int{}}
	d.typesTwin = typesTwin{server: w.server, proxy: w.proxy, plain: w.plain, sealed: w.sealed, key: w.keys[owner]}
	d.at[0], d.at[1] = d.clients(t, wireCaps|wire.CapDeprecateEOF|wire.CapExtendedMetadata)
	return d
}

// metric reads a counter of the proxy.
func (w *modelTwin) metric(t *testing.T, name string) int {
	t.Helper()
	resp, err := http.Get("http://" + w.proxy.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	page, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(page)) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				t.Fatal(err)
			}
			return int(n)
		}
	}
	t.Fatalf("there is no metric %s", name)
	return 0
}

const modelRows = 300

// TestModels runs the queries of docs/examples on plaintext and through Latchkey, for two owners, as text and prepared: rows,
// names, types and warnings are the same, and no cell of another owner is met.
func TestModels(t *testing.T) {
	for i := range models {
		m := &models[i]
		t.Run(m.title, func(t *testing.T) {
			w := newModelTwin(t, m, mariadbtest.Shared(t), map[int]int{1: modelRows, 2: modelRows / 2, 3: 10})
			w.onlyCells(t, "filling")
			w.answers(t)
			w.besides(t)
			w.narrowed(t)
			w.locked(t)
		})
	}
}

// answers compares every query.
func (w *modelTwin) answers(t *testing.T) {
	for owner := range 2 {
		owner++
		d := w.differential(t, owner)
		for _, q := range w.queries(t) {
			for _, how := range []way{wayText, wayPrepared} {
				for n, stmt := range q.statements {
					s := w.of(stmt, owner)
					what := fmt.Sprintf("%s, owner %d, %v: %s", w.title, owner, how, q.name)
					if reason := d.compare(t, what, s, how); reason != "" && reason != different {
						t.Errorf("%s is refused: %s", what, reason)
					}
					if n == 0 && owner == 1 && len(d.at[0].must(t, s.text()).rows) == 0 {
						t.Errorf("%s finds nothing in the sample", what)
					}
				}
			}
		}
	}
}

// mayBeRefused is the section of testdata/models whose statements may be; no other may.
const mayBeRefused = "may be refused"

// besides runs the statements of testdata/models, which are owner 1's.
func (w *modelTwin) besides(t *testing.T) {
	d := w.differential(t, 1)
	for _, row := range w.server.Query(t, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+w.plain+"'") {
		if row[0] != "entry_tags" {
			row[0] += " WHERE user_id = 1"
		}
		d.tables = append(d.tables, row[0])
	}
	for _, s := range readTrials(t, "testdata/models/"+w.database+".txt") {
		d.try(t, s)
	}
	d.report(t)
	for class, n := range d.class {
		if n.refused > 0 && class != mayBeRefused {
			t.Errorf("%s, %s: %d statements are refused, want none", w.title, class, n.refused)
		}
	}
}

// narrowed counts what each query of the owner with the fewest rows opens: nothing of anybody else, and no more rows than the
// owner has.
func (w *modelTwin) narrowed(t *testing.T) {
	const owner = 3
	sealed := w.differential(t, owner).at[1]
	most := 0
	for _, row := range w.server.Query(t, "SELECT table_name FROM information_schema.tables WHERE table_schema = '"+w.plain+"'") {
		if row[0] == "entry_tags" {
			row[0] = "entry_tags WHERE tag_id BETWEEN 21 AND 30"
		} else {
			row[0] += " WHERE user_id = 3"
		}
		n, err := strconv.Atoi(w.server.Query(t, "SELECT COUNT(*) FROM "+w.plain+"."+row[0])[0][0])
		if err != nil {
			t.Fatal(err)
		}
		most += n
	}
	for _, q := range w.queries(t) {
		failed, loaded := w.metric(t, `latchkey_cells_total{result="failed"}`), w.metric(t, "latchkey_evaluator_loaded_rows_total")
		for _, stmt := range q.statements {
			s := w.of(stmt, owner)
			sealed.must(t, s.text())
		}
		if n := w.metric(t, `latchkey_cells_total{result="failed"}`) - failed; n > 0 {
			t.Errorf("%s meets %d cells of other owners", q.name, n)
		}
		if n := w.metric(t, "latchkey_evaluator_loaded_rows_total") - loaded; n > most {
			t.Errorf("%s loads %d rows, more than the %d of the owner", q.name, n, most)
		}
	}
}

// locked: without the condition on the owner, or with another owner's, a statement is refused; it never answers with rows of
// somebody else, nor with less than MariaDB would.
func (w *modelTwin) locked(t *testing.T) {
	sealed := w.differential(t, 1).at[1]
	table, column, _ := strings.Cut(w.protected[len(w.protected)-1], ".")
	compute := "SELECT COUNT(*) FROM " + table + " WHERE " + column + " LIKE '%a%'"
	for _, stmt := range []string{compute, compute + " AND user_id = 2", "SELECT " + column + " FROM " + table + " WHERE user_id = 2"} {
		if r := sealed.query(t, stmt); r.err.Code != 9702 {
			t.Errorf("%s: got error %d %s, want 9702", stmt, r.err.Code, r.err.Message)
		}
	}
	if r := sealed.query(t, compute+" AND user_id = 1"); r.err.Code != 0 {
		t.Errorf("%s AND user_id = 1: error %d %s", compute, r.err.Code, r.err.Message)
	}
	none := newWireClient(t, w.proxy.Address, w.sealed, wireCaps)
	if r := none.query(t, compute+" AND user_id = 1"); r.err.Code != 9701 {
		t.Errorf("without a key: got error %d %s, want 9701", r.err.Code, r.err.Message)
	}
}
