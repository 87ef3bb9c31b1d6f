package endtoend

import (
	"bytes"
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// bookTables are a bookkeeping and a journal: every logical type, five collations, and two plain tables beside them.
const bookTables = `
CREATE TABLE postings (id INT PRIMARY KEY AUTO_INCREMENT, account_id INT, category VARCHAR(30), payee VARCHAR(60) COLLATE utf8mb4_general_ci,
  note TEXT COLLATE utf8mb4_bin, amount DECIMAL(12,2), booked DATE, ref VARCHAR(20) CHARACTER SET latin1, qty INT, rate DOUBLE, stamp DATETIME(3))
  DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE accounts (id INT PRIMARY KEY, name VARCHAR(40), kind ENUM('cash','bank'), opening DECIMAL(14,4), opened DATE)
  DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE TABLE categories (id INT PRIMARY KEY, name VARCHAR(30), budget DECIMAL(10,2)) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE budgets (id INT PRIMARY KEY, name VARCHAR(30), month DATE, planned DOUBLE) DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_general_ci;
CREATE TABLE journal (id INT PRIMARY KEY, user_id INT, title VARCHAR(80) COLLATE utf8mb4_unicode_ci, body LONGTEXT COLLATE utf8mb4_general_ci,
  mood TINYINT UNSIGNED, written DATETIME, facts JSON, spent TIME, yr YEAR, weather ENUM('sun','rain','snow'), marks SET('home','work','trip'),
  photo VARBINARY(20), code CHAR(5) COLLATE utf8mb4_nopad_bin, score FLOAT, big BIGINT UNSIGNED, bits BIT(8), ip INET6, u UUID, noted TIMESTAMP NULL)
  DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_unicode_ci;
CREATE VIEW expenses AS SELECT id, account_id, payee, amount, booked FROM postings WHERE account_id < 3;
`

const bookPolicy = `    postings:
      columns:
        payee: {search: equality}
        note: {}
        amount: {search: equality}
        booked: {search: equality}
        ref: {}
        qty: {}
        rate: {}
        stamp: {}
    accounts:
      columns:
        name: {key: "service:app", search: equality}
        opening: {}
    journal:
      columns:
        title: {search: equality}
        body: {}
        mood: {}
        written: {}
        facts: {}
        spent: {}
        yr: {}
        weather: {search: equality}
        marks: {}
        photo: {}
        code: {}
        score: {}
        big: {}
        bits: {}
        ip: {}
        u: {}
        noted: {}
`

// bookRows are picked for what engines get wrong: accents, sharp s, emoji, trailing blanks, text that looks like numbers,
// half cents, leap days, extremes and NULL.
var bookRows = []string{
	"INSERT INTO accounts VALUES (1, 'Cash', 'cash', 0.0050, '2020-02-29'), (2, 'caf\u00e9 till', 'bank', 1000.1250, '2023-01-01'), (3, 'STRASSE', 'bank', -20, NULL), (4, NULL, NULL, NULL, '2024-12-31')",
	"INSERT INTO categories VALUES (1, 'food', 200), (2, 'rent', 900), (3, 'fun', 50.50), (4, 'Travel', NULL), (5, NULL, 10)",
	"INSERT INTO budgets VALUES (1, 'food', '2024-02-01', 100.5), (2, 'rent', '2024-02-01', 900), (3, 'zoo', NULL, 0.1)",
	`INSERT INTO postings (account_id, category, payee, note, amount, booked, ref, qty, rate, stamp) VALUES
	  (1, 'food', 'cafe', 'rent 1', 10.50, '2024-02-29', '10', 1, 0.1, '2024-02-29 00:00:00'),
	  (1, 'food', 'caf` + "\u00e9" + `', 'Rent', -10.50, '2024-02-29', '9', 2, 0.2, '2024-02-29 23:59:59.999'),
	  (1, 'Food', 'CAFE ', 'x ', -3.25, '2023-02-28', '010', -3, 1e10, '2023-03-01 12:30:00.5'),
	  (1, 'rent', 'Rent', 'x', -900, '2024-01-31', '1e1', 0, NULL, '2024-01-31 08:00:00'),
	  (2, 'rent', 'rent', '', -900, '2024-03-01', '', 7, 2.5, '2024-03-01 08:00:00.125'),
	  (2, NULL, 'salary', 'r\\b%_', 2500, '2024-01-01', ' 10', 2147483647, -0.5, '2024-01-01 00:00:01'),
	  (2, 'fun', 'stra` + "\u00df" + `e', 'gr` + "\u00fc\u00df" + `e', 0.00, '1999-12-31', 'abc', -2147483648, 1e-5, '1999-12-31 23:59:59'),
	  (2, 'fun', 'strasse', '` + "\U0001F600" + ` smile', 0.01, '2000-02-29', '` + "\u00e9" + `a', 12, 3, '2000-02-29 01:02:03'),
	  (3, 'travel', '100%', 'it''s', 1.01, '2024-12-30', '12abc', 5, 0.30000000000000004, '2024-12-30 10:00:00'),
	  (3, 'food', 'a_b', 'x', 9999999999.99, '9999-12-31', '-1', 8, 1e300, '9999-12-31 00:00:00'),
	  (3, 'food', '', '  ', -0.01, '2024-02-01', 'x', NULL, 0, NULL),
	  (NULL, 'zoo', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL),
	  (4, 'rent', 'x', 'x ', 10.50, '2024-02-28', '10', 3, 7, '2024-02-28 10:10:10.01'),
	  (4, 'fun', '` + "\U0001F600" + `', 'Monday', 33.33, '2024-04-30', '3', 4, 0.125, '2024-04-30 17:00:00'),
	  (1, 'food', 'monday', 'rent', 5.55, '2025-01-01', '7', 6, 99.995, '2025-01-01 05:00:00'),
	  (1, 'fun', 'x ', 'sun', -5.55, '2025-01-01', '07', 9, 1.005, '2025-01-01 05:00:00')`,
	`INSERT INTO journal VALUES
	  (1, 7, 'Monday', 'a long walk home', 3, '2024-02-29 08:00:00', '{"place": "park", "n": 3, "tags": ["sun", "walk"]}', '10:00:00', 2024, 'sun', 'home', x'00ff', 'ab', 0.1, 1, b'1', '::1', '123e4567-e89b-12d3-a456-426614174000', '2024-02-29 12:00:00'),
	  (2, 7, 'monday ', 'WALK', 5, '2024-01-31 23:59:59', '{"n": "2"}', '-00:30:00', 2023, 'rain', 'work,trip', 'abc', 'ab ', 1.5, 18446744073709551615, b'11', '2001:db8::1', 'ffffffff-ffff-ffff-ffff-ffffffffffff', '2024-06-01 00:00:00'),
	  (3, 8, 'stra` + "\u00df" + `e', '', 0, '2023-02-28 00:00:00', '[]', '838:59:59', 1901, 'snow', '', '', '', -0, 0, b'0', '::', '00000000-0000-0000-0000-000000000000', '1970-01-03 00:00:01'),
	  (4, 8, 'STRASSE', '` + "\u00e9t\u00e9" + ` walk', 255, '2024-02-29 08:00:01', '{"tags": []}', '00:00:01', 2155, 'sun', 'home,work,trip', 'x ', 'AB', 3.4e38, 9223372036854775808, b'11111111', '::ffff:192.0.2.1', NULL, NULL),
	  (5, 9, '100', 'x', 3, '9999-12-31 23:59:59', 'null', '09:59:59', 0, NULL, NULL, NULL, '12', 16777216, 42, NULL, NULL, '33333333-3333-3333-3333-333333333333', '2038-01-17 03:14:07'),
	  (6, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, 'rain', 'trip', 'ABC', NULL, NULL, NULL, b'10', '::2', NULL, '2024-03-01 00:00:00')`,
}

// bookNames are the tables of a differential.
var bookNames = []string{"postings", "accounts", "categories", "budgets", "journal"}

// differential is the ledger on plaintext and through Latchkey, with one client of each.
type differential struct {
	typesTwin
	at          [2]*wireClient // plain, sealed
	class       map[string]*classCount
	classes     []string
	refusedText map[string]int
	// tables are held against each other after a statement that writes.
	tables []string
}

// classCount is what became of the statements of a class.
type classCount struct{ same, refused, failed int }

func newDifferential(t *testing.T) *differential {
	t.Helper()
	server := mariadbtest.Shared(t)
	d := &differential{class: map[string]*classCount{}, refusedText: map[string]int{}, tables: bookNames}
	d.typesTwin = typesTwin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	for _, db := range []string{d.plain, d.sealed} {
		server.Exec(t, "USE "+db+";"+bookTables)
	}
	d.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + d.sealed + ":\n" + bookPolicy})
	d.at[0], d.at[1] = d.clients(t, wireCaps|wire.CapDeprecateEOF|wire.CapExtendedMetadata)
	for _, c := range d.at {
		c.must(t, "SET time_zone = '+02:00'")
		for _, stmt := range bookRows {
			c.must(t, stmt)
		}
	}
	return d
}

// argument is a value that a statement takes: its literal, and the parameter of an execution.
type argument struct {
	literal string
	param   param
}

func textArgument(s string) argument {
	return argument{"'" + strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(s) + "'", textParam(s)}
}

func wholeArgument(n int64) argument { return argument{strconv.FormatInt(n, 10), intParam(n)} }

// trial is a statement with ? for its arguments.
type trial struct {
	class, stmt string
	args        []argument
}

// text writes the arguments into the statement.
func (s *trial) text() string {
	var b strings.Builder
	parts := strings.Split(s.stmt, "?")
	for i, part := range parts {
		b.WriteString(part)
		if i < len(s.args) {
			b.WriteString(s.args[i].literal)
		} else if i < len(parts)-1 {
			b.WriteByte('?')
		}
	}
	return b.String()
}

// ordered reports whether an ORDER BY fixes the order of the rows: one outside of parentheses.
func (s *trial) ordered() bool {
	depth := 0
	for i := range len(s.stmt) {
		switch s.stmt[i] {
		case '(':
			depth++
		case ')':
			depth--
		case 'O':
			if depth == 0 && strings.HasPrefix(s.stmt[i:], "ORDER BY ") {
				return true
			}
		}
	}
	return false
}

// writes reports whether the statement changes rows.
func (s *trial) writes() bool {
	switch word, _, _ := strings.Cut(s.stmt, " "); word {
	case "INSERT", "REPLACE", "UPDATE", "DELETE":
		return true
	}
	return false
}

// send runs a statement of one client in one way.
func (s *trial) send(t *testing.T, c *wireClient, how way) result {
	t.Helper()
	if how == wayText {
		return c.query(t, s.text())
	}
	r := c.prepare(t, s.stmt)
	if r.err.Code != 0 {
		return r
	}
	id := r.prepared.Statement
	params := make([]param, len(s.args))
	for i, a := range s.args {
		params[i] = a.param
	}
	definitions := r.columns
	r = c.execute(t, id, params...)
	if r.err.Code == 0 {
		r.columns = append(r.columns, definitions...)
	}
	closeStatement := []byte{byte(wire.ComStmtClose), byte(id), byte(id >> 8), byte(id >> 16), byte(id >> 24)}
	if err := c.Send(closeStatement); err != nil {
		t.Fatal(err)
	}
	return r
}

// try runs a statement on both sides in every way, in a transaction that is rolled back when it writes.
func (d *differential) try(t *testing.T, s trial) {
	t.Helper()
	count := d.class[s.class]
	if count == nil {
		count = &classCount{}
		d.class[s.class] = count
		d.classes = append(d.classes, s.class)
	}
	for _, how := range []way{wayText, wayPrepared} {
		what := fmt.Sprintf("%s %v: %s", s.class, how, s.text())
		switch reason := d.compare(t, what, s, how); reason {
		case "":
			count.same++
		case different:
			count.failed++
		default:
			count.refused++
			d.refusedText[reason]++
			if testing.Verbose() {
				t.Logf("refused: %s", what)
			}
		}
	}
}

// different is the outcome of a wrong answer.
const different = "different"

// compare gives nothing, different, or what Latchkey says when it refuses.
func (d *differential) compare(t *testing.T, what string, s trial, how way) string {
	t.Helper()
	if s.writes() {
		for _, c := range d.at {
			c.must(t, "START TRANSACTION")
		}
		defer func() {
			for _, c := range d.at {
				c.must(t, "ROLLBACK")
			}
		}()
	}
	got := s.send(t, d.at[1], how)
	if got.err.Code >= 9700 && got.err.Code < 9800 {
		return string(got.err.Message)
	}
	gotWarnings := d.warningCodes(t, d.at[1])
	want := s.send(t, d.at[0], how)
	wantWarnings := d.warningCodes(t, d.at[0])
	if got.err.Code != want.err.Code {
		t.Errorf("%s\ngot  error %d %s\nwant error %d %s", what, got.err.Code, got.err.Message, want.err.Code, want.err.Message)
		return different
	}
	if want.err.Code != 0 {
		return ""
	}
	if !s.ordered() {
		slices.SortFunc(got.rows, bytes.Compare)
		slices.SortFunc(want.rows, bytes.Compare)
	}
	outcome := d.equal(t, what, got, want)
	if outcome == "" && !slices.Equal(gotWarnings, wantWarnings) {
		t.Errorf("%s\ngot  warnings %q\nwant %q", what, gotWarnings, wantWarnings)
		outcome = different
	}
	if s.writes() {
		for _, table := range d.tables {
			q := "SELECT * FROM " + table + " ORDER BY 1, 2"
			outcome = cmp.Or(outcome, d.equal(t, what+": afterwards "+q, d.at[1].must(t, q), d.at[0].must(t, q)))
		}
	}
	return outcome
}

// warningCodes gives the level and code of each kind of warning. How often one comes is up to how often and in which order the
// optimizer has conditions computed, and after statements that write the values in them are withheld.
func (d *differential) warningCodes(t *testing.T, c *wireClient) []string {
	t.Helper()
	var all []string
	for _, row := range c.must(t, "SHOW WARNINGS").rows {
		level, n := wire.Lenenc(row)
		code, m := wire.Lenenc(row[n+int(level):])
		all = append(all, string(row[:n+int(level)+m+int(code)]))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// shownColumn is what does not depend on the optimizer in a column's definition. In a temporary table, in a row that is
// constant and in a view that is merged a column has other keys, another origin, another NOT NULL and another size of TEXT, and the optimizer
// decides by the sizes of tables and the indexes at hand. TestMetadata holds whole definitions against each other.
type shownColumn struct {
	name     string
	kind     wire.ColumnType
	charset  uint16
	length   uint32 // 0 for TEXT, BLOB and what becomes one in a temporary table
	flags    wire.ColumnFlags
	decimals uint8 // 0 for text, where it says nothing
}

const shownFlags = wire.FlagUnsigned | wire.FlagZerofill | wire.FlagEnum | wire.FlagSet

// equal holds two results against each other: rows byte by byte.
func (d *differential) equal(t *testing.T, what string, got, want result) string {
	t.Helper()
	names := func(p []byte) []byte { return bytes.ReplaceAll(p, []byte(d.sealed), []byte(d.plain)) }
	definition := func(p []byte) shownColumn {
		var c wire.Column
		if err := wire.ParseColumn(p, d.at[0].caps, &c); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		shown := shownColumn{name: string(c.Name), charset: c.Charset, length: c.Length, kind: c.Type, flags: c.Flags & shownFlags}
		switch c.Type {
		case wire.TypeTinyBlob, wire.TypeMediumBlob, wire.TypeLongBlob, wire.TypeBlob:
			shown.kind, shown.length = wire.TypeBlob, 0
		case wire.TypeVarString, wire.TypeString:
			if c.Length > 4*512 { // a TEXT in a temporary table
				shown.kind, shown.length = wire.TypeBlob, 0
			}
		case wire.TypeLong:
			// YEAR(), QUARTER() and their like are a character longer in a temporary table, for a sign.
			shown.decimals = c.Decimals
			if c.Length <= 5 {
				shown.length = 0
			}
		default:
			shown.decimals = c.Decimals
		}
		return shown
	}
	switch {
	case got.affected != want.affected:
		t.Errorf("%s\ngot  %d affected rows\nwant %d", what, got.affected, want.affected)
	case len(got.columns) != len(want.columns):
		t.Errorf("%s\ngot  %d columns\nwant %d", what, len(got.columns), len(want.columns))
	case len(got.rows) != len(want.rows):
		t.Errorf("%s\ngot  %d rows %.600q\nwant %d rows %.600q", what, len(got.rows), got.rows, len(want.rows), want.rows)
	default:
		for i := range want.columns {
			if g, w := definition(got.columns[i]), definition(want.columns[i]); g != w {
				t.Errorf("%s\ncolumn %d\ngot  %+v\nwant %+v", what, i, g, w)
				return different
			}
		}
		for i := range want.rows {
			if g := names(got.rows[i]); !bytes.Equal(g, want.rows[i]) {
				t.Errorf("%s\nrow %d\ngot  %q\nwant %q", what, i, g, want.rows[i])
				return different
			}
		}
		return ""
	}
	return different
}

// corpus reads testdata/differential.txt.
func corpus(t *testing.T) []trial {
	t.Helper()
	return readTrials(t, "testdata/differential.txt")
}

// readTrials reads a file of statements.
func readTrials(t *testing.T, path string) []trial {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var all []trial
	for _, c := range parseForms(t, string(text)) {
		s := trial{class: c.section, stmt: c.stmt}
		for _, a := range c.args {
			switch v := a.(type) {
			case string:
				s.args = append(s.args, textArgument(v))
			case int64:
				s.args = append(s.args, wholeArgument(v))
			default:
				t.Fatalf("%s: an argument is %T, want text or a whole number", c.stmt, a)
			}
		}
		all = append(all, s)
	}
	return all
}

// TestDifferential runs the statements of testdata/differential.txt and generated ones on plaintext and through Latchkey, as
// text and prepared: the bytes of rows, names, types and decimals, affected rows, kinds of warnings and the tables afterwards are the
// same, or Latchkey refuses. LATCHKEY_DIFFERENTIAL is the number of generated statements, LATCHKEY_DIFFERENTIAL_SEED where
// they start.
func TestDifferential(t *testing.T) {
	d := newDifferential(t)
	for _, s := range corpus(t) {
		d.try(t, s)
	}
	seed, count := environment(t, "LATCHKEY_DIFFERENTIAL_SEED", differentialSeed), environment(t, "LATCHKEY_DIFFERENTIAL", differentialCount)
	for i := range uint64(count) {
		g := generator{r: rand.New(rand.NewPCG(uint64(seed), i))}
		d.try(t, g.statement())
	}
	for i := range uint64(count) / 4 {
		g := generator{r: rand.New(rand.NewPCG(^uint64(seed), i))}
		d.try(t, g.addition())
	}
	if page := d.report(t); seed == differentialSeed && count == differentialCount {
		comparePage(t, differentialMark, "", page)
	}
}

// What docs/compatibility.md is made with.
const (
	differentialSeed  = 1
	differentialCount = 400
)

// environment reads a number.
func environment(t *testing.T, name string, otherwise int) int {
	t.Helper()
	text := os.Getenv(name)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("%s: got %q, want a number", name, text)
	}
	return n
}

const differentialMark = "\n## How much is refused\n"

const differentialHead = differentialMark + `
TestDifferential runs the statements of internal/endtoend/testdata/differential.txt and generated ones on plaintext and
through Latchkey, as text and prepared, over a bookkeeping and a journal in which every type is protected. An answer is the
same or refused; a wrong one fails the test. The classes that begin with "generated" are random.

| class | same | refused | share refused |
|---|---|---|---|
`

// report gives the share of refusals by class for the page, and prints it with what was refused.
func (d *differential) report(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	line := func(class string, n classCount) {
		fmt.Fprintf(&b, "| %s | %d | %d | %.1f %% |\n", class, n.same, n.refused, 100*float64(n.refused)/float64(max(1, n.same+n.refused+n.failed)))
	}
	var total classCount
	slices.Sort(d.classes)
	for _, class := range d.classes {
		n := d.class[class]
		line(class, *n)
		total.same, total.refused, total.failed = total.same+n.same, total.refused+n.refused, total.failed+n.failed
	}
	line("all", total)
	t.Logf("%d wrong\n%s", total.failed, b.String())
	for reason, n := range d.refusedText {
		t.Logf("%d times: %s", n, reason)
	}
	return differentialHead + b.String()
}
