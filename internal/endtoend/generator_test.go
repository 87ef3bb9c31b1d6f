package endtoend

import (
	"fmt"
	"math/rand/v2"
	"regexp"
	"strconv"
	"strings"
)

// generator writes random statements over the tables of TestDifferential.
type generator struct {
	r *rand.Rand
	// args are the values that became parameters, each standing in the text as its marker.
	args []argument
}

// marker stands for a parameter until the statement is whole: parts are made in any order, and some are left out.
func marker(i int) string { return fmt.Sprintf("<%03d>", i) }

var markers = regexp.MustCompile("<[0-9]{3}>")

// generatedColumns are the columns of a table by what they hold.
type generatedColumns struct{ table, key, text, number, date, other string }

// generatedTables are those that statements are made over. The first of each kind stands for no preference.
var generatedTables = []generatedColumns{
	{"postings", "account_id", "payee note ref category", "amount qty rate account_id", "booked stamp", ""},
	{"accounts", "id", "name kind", "opening id", "opened", ""},
	{"journal", "user_id", "title body code weather marks", "mood score big yr user_id", "written noted", "facts spent photo ip u bits"},
	{"categories", "id", "name", "budget id", "", ""},
	{"expenses", "account_id", "payee", "amount", "booked", ""},
}

// source is a table in a statement, under its alias.
type source struct {
	generatedColumns
	alias string
}

func (g *generator) one(of ...string) string { return of[g.r.IntN(len(of))] }

func (g *generator) chance(percent int) bool { return g.r.IntN(100) < percent }

// source picks a table; the first one is picked most.
func (g *generator) source(alias string) source {
	i := 0
	if g.chance(60) {
		i = g.r.IntN(len(generatedTables))
	}
	return source{generatedTables[i], alias}
}

func (s source) String() string { return s.table + " " + s.alias }

func (g *generator) column(s source, names string) string {
	return s.alias + "." + g.one(strings.Fields(names)...)
}

// argument puts a value into the statement: written out, or as a parameter.
func (g *generator) argument(a argument) string {
	if g.chance(70) {
		return a.literal
	}
	g.args = append(g.args, a)
	return marker(len(g.args) - 1)
}

var generatedTexts = []string{"rent", "caf\u00e9", "x", "x ", "", "10", "Monday", "strasse", "m", "1e1", "\U0001F600"}

func (g *generator) literalText() argument { return textArgument(g.one(generatedTexts...)) }

func (g *generator) literalNumber() argument {
	if g.chance(30) {
		text := g.one("10.50", "-0.005", "33.33", "0.1", "2.5e3", "1.005")
		return argument{literal: text, param: textParam(text)}
	}
	return wholeArgument(int64(g.r.IntN(30) - 8))
}

func (g *generator) literalDate() argument {
	return textArgument(g.one("2024-02-29", "2024-01-01", "2023-02-28 12:00:00", "2025-01-01", "1999-12-31"))
}

// text is an expression of text.
func (g *generator) text(s source, depth int) string {
	if depth <= 0 || g.chance(40) {
		return g.column(s, s.generatedColumns.text)
	}
	e := g.text(s, depth-1)
	switch g.r.IntN(10) {
	case 0:
		return g.one("UPPER", "LOWER", "TRIM", "REVERSE", "HEX", "QUOTE", "SOUNDEX", "RTRIM") + "(" + e + ")"
	case 1:
		return "CONCAT(" + e + ", " + g.any(s, depth-1) + ")"
	case 2:
		return fmt.Sprintf("SUBSTRING(%s, %d, %d)", e, g.r.IntN(5)-2, g.r.IntN(5))
	case 3:
		return g.one("COALESCE", "IFNULL", "NULLIF", "LEAST", "GREATEST") + "(" + e + ", " + g.text(s, depth-1) + ")"
	case 4:
		return "CASE WHEN " + g.condition(s, depth-1) + " THEN " + e + " ELSE " + g.any(s, depth-1) + " END"
	case 5:
		return "CAST(" + g.any(s, depth-1) + " AS CHAR)"
	case 6:
		return "REPLACE(" + e + ", 'e', " + g.text(s, depth-1) + ")"
	case 7:
		return fmt.Sprintf("LPAD(%s, %d, '*')", e, g.r.IntN(8))
	case 8:
		return "IF(" + g.condition(s, depth-1) + ", " + e + ", " + g.text(s, depth-1) + ")"
	}
	return "CONCAT_WS('-', " + e + ", " + g.any(s, depth-1) + ", NULL)"
}

// number is an expression of numbers.
func (g *generator) number(s source, depth int) string {
	if depth <= 0 || g.chance(35) {
		return g.column(s, s.generatedColumns.number)
	}
	e := g.number(s, depth-1)
	switch g.r.IntN(9) {
	case 0, 1:
		return "(" + e + g.one(" + ", " * ", " / ", " % ", " DIV ") + g.literalNumber().literal + ")"
	case 2:
		return "ROUND(" + e + ", " + g.one("0", "1", "2", "-1") + ")"
	case 3:
		return g.one("ABS", "SIGN", "FLOOR", "CEIL", "ISNULL") + "(" + e + ")"
	case 4:
		return g.one("LENGTH", "CHAR_LENGTH", "ASCII", "CRC32") + "(" + g.any(s, depth-1) + ")"
	case 5:
		return g.one("COALESCE", "NULLIF", "GREATEST", "LEAST") + "(" + e + ", " + g.number(s, depth-1) + ")"
	case 6:
		return "CAST(" + g.any(s, depth-1) + " AS " + g.one("DECIMAL(20,3)", "DOUBLE", "CHAR(4)") + ")"
	case 7:
		if s.generatedColumns.date == "" {
			return "LOCATE('e', " + g.text(s, depth-1) + ")"
		}
		return g.one("YEAR", "MONTH", "DAYOFYEAR", "WEEKDAY", "TO_DAYS", "QUARTER") + "(" + g.date(s, depth-1) + ")"
	}
	return "CASE WHEN " + g.condition(s, depth-1) + " THEN " + e + " ELSE " + g.number(s, depth-1) + " END"
}

// date is an expression of dates; of text where a table has none.
func (g *generator) date(s source, depth int) string {
	if s.generatedColumns.date == "" {
		return g.text(s, depth)
	}
	e := g.column(s, s.generatedColumns.date)
	if depth <= 0 || g.chance(40) {
		return e
	}
	switch g.r.IntN(4) {
	case 0:
		return "(" + e + g.one(" + ", " - ") + "INTERVAL " + g.one("1 DAY", "1 MONTH", "2 YEAR", "90 MINUTE") + ")"
	case 1:
		return g.one("DATE", "LAST_DAY", "TIME") + "(" + e + ")"
	case 2:
		return "DATE_FORMAT(" + e + ", '" + g.one("%Y-%m", "%W %e", "%x-%v", "%H:%i") + "')"
	}
	return "COALESCE(" + e + ", " + g.date(s, depth-1) + ")"
}

// any is an expression of any kind.
func (g *generator) any(s source, depth int) string {
	switch g.r.IntN(7) {
	case 0, 1:
		return g.text(s, depth)
	case 2, 3:
		return g.number(s, depth)
	case 4:
		return g.date(s, depth)
	case 5:
		if s.other != "" {
			return g.column(s, s.other)
		}
	}
	return g.column(s, s.generatedColumns.text+" "+s.generatedColumns.number)
}

// condition is a condition over one table.
func (g *generator) condition(s source, depth int) string {
	if depth > 0 && g.chance(35) {
		switch g.r.IntN(4) {
		case 0:
			return "(" + g.condition(s, depth-1) + " OR " + g.condition(s, depth-1) + ")"
		case 1:
			return "NOT (" + g.condition(s, depth-1) + ")"
		}
		return "(" + g.condition(s, depth-1) + " AND " + g.condition(s, depth-1) + ")"
	}
	compared := g.one("=", "=", "<>", "<", ">", "<=", ">=", "<=>")
	switch g.r.IntN(12) {
	case 0, 1:
		return g.text(s, depth) + " " + compared + " " + g.argument(g.literalText())
	case 2, 3:
		return g.number(s, depth) + " " + compared + " " + g.argument(g.literalNumber())
	case 4:
		return g.date(s, depth) + " " + compared + " " + g.argument(g.literalDate())
	case 5:
		return g.text(s, depth) + g.one(" LIKE ", " NOT LIKE ") + "'" + g.one("%e%", "x_", "r%", "%\\_%", "_a%") + "'"
	case 6:
		return g.text(s, depth) + " REGEXP '" + g.one("^[a-c]", "e$", "[0-9]+", "r.n") + "'"
	case 7:
		return g.number(s, depth) + g.one(" BETWEEN ", " NOT BETWEEN ") + g.argument(g.literalNumber()) + " AND " + g.argument(g.literalNumber())
	case 8:
		return g.any(s, depth) + g.one(" IS NULL", " IS NOT NULL")
	case 9:
		return g.text(s, depth) + g.one(" IN (", " NOT IN (") + g.argument(g.literalText()) + ", " + g.argument(g.literalText()) + ")"
	case 10:
		return g.any(s, depth) + " " + compared + " " + g.any(s, depth)
	}
	return s.alias + "." + s.key + " " + compared + " " + g.argument(wholeArgument(int64(g.r.IntN(9))))
}

// where is a WHERE clause, or nothing.
func (g *generator) where(s source) string {
	if g.chance(25) {
		return ""
	}
	return " WHERE " + g.condition(s, 2)
}

// statement makes one statement of a random class.
func (g *generator) statement() trial {
	kinds := []struct {
		class string
		make  func() string
	}{
		{"generated: select", g.selectRows}, {"generated: select", g.selectRows}, {"generated: order and limit", g.orderRows},
		{"generated: group", g.groupRows}, {"generated: group", g.groupRows}, {"generated: distinct", g.distinctRows},
		{"generated: window", g.windowRows}, {"generated: join", g.joinRows}, {"generated: join", g.joinRows},
		{"generated: subquery", g.subqueryRows}, {"generated: subquery", g.subqueryRows}, {"generated: set operation", g.setRows},
		{"generated: cte and derived", g.derivedRows}, {"generated: update", g.updateRows}, {"generated: delete", g.deleteRows},
	}
	kind := kinds[g.r.IntN(len(kinds))]
	return g.finish(kind.class, kind.make())
}

// addition makes one statement that adds rows.
func (g *generator) addition() trial {
	if g.chance(50) {
		return g.finish("generated: insert", g.insertRows())
	}
	return g.finish("generated: upsert", g.upsertRows())
}

// finish puts the parameters in order.
func (g *generator) finish(class, stmt string) trial {
	made := trial{class: class}
	made.stmt = markers.ReplaceAllStringFunc(stmt, func(m string) string {
		i, _ := strconv.Atoi(m[1 : len(m)-1])
		made.args = append(made.args, g.args[i])
		return "?"
	})
	return made
}

func (g *generator) selectRows() string {
	s := g.source("a")
	return "SELECT a.id, " + g.any(s, 3) + ", " + g.any(s, 2) + " AS two FROM " + s.String() + g.where(s) + " ORDER BY a.id"
}

func (g *generator) orderRows() string {
	s := g.source("a")
	list := "a.id, " + g.any(s, 1)
	where := g.where(s)
	return "SELECT " + list + " FROM " + s.String() + where + " ORDER BY " + g.any(s, 1) + g.one("", " DESC") + ", a.id" +
		g.one(" LIMIT 3", " LIMIT 5 OFFSET 2", "")
}

// aggregate is one whose value does not depend on the order of the rows.
func (g *generator) aggregate(s source) string {
	switch g.r.IntN(8) {
	case 0:
		return "COUNT(*)"
	case 1:
		return "COUNT(DISTINCT " + g.text(s, 1) + ")"
	case 2:
		return g.one("MIN", "MAX") + "(HEX(" + g.text(s, 1) + "))"
	case 3:
		return g.one("MIN", "MAX") + "(" + g.number(s, 1) + ")"
	case 4:
		return "GROUP_CONCAT(" + g.any(s, 1) + " ORDER BY a.id SEPARATOR '|')"
	case 5:
		return g.one("MIN", "MAX") + "(" + g.date(s, 0) + ")"
	}
	return g.one("SUM", "AVG", "COUNT") + "(" + g.number(s, 1) + ")"
}

func (g *generator) groupRows() string {
	s := g.source("a")
	by := g.one(s.alias+"."+s.key, "HEX("+g.text(s, 1)+")", "("+g.number(s, 1)+" > 3)", "LENGTH("+g.any(s, 1)+")")
	list := g.aggregate(s) + ", " + g.aggregate(s)
	where := g.where(s)
	having := g.one("", "", " HAVING COUNT(*) > 1", " HAVING n > 0 OR n IS NULL", " HAVING MAX(a.id) > 3")
	stmt := "SELECT " + by + " AS k, " + g.number(s, 0) + " IS NULL AND 0 AS z, " + list + ", COUNT(*) AS n FROM " + s.String() + where +
		" GROUP BY k, z"
	if g.chance(15) {
		return stmt + " WITH ROLLUP" + having
	}
	return stmt + having + " ORDER BY k"
}

func (g *generator) distinctRows() string {
	s := g.source("a")
	return "SELECT DISTINCT HEX(" + g.text(s, 1) + "), " + g.number(s, 1) + " FROM " + s.String() + g.where(s)
}

func (g *generator) windowRows() string {
	s := g.source("a")
	over := " OVER (" + g.one("", "PARTITION BY a."+s.key+" ") + "ORDER BY " + g.any(s, 1) + ", a.id)"
	return "SELECT a.id, " + g.one("ROW_NUMBER()", "RANK()", "SUM("+g.number(s, 0)+")", "COUNT(*)", "LAG("+g.any(s, 0)+")", "LEAD(a.id, 2)", "NTILE(3)") + over +
		" FROM " + s.String() + g.where(s) + " ORDER BY a.id"
}

func (g *generator) joinRows() string {
	a, b := g.source("a"), g.source("b")
	list := "a.id, b.id, " + g.any(a, 1) + ", " + g.any(b, 1)
	kind := g.one(" JOIN ", " LEFT JOIN ", " RIGHT JOIN ")
	var on string
	switch g.r.IntN(4) {
	case 0:
		on = g.column(a, a.generatedColumns.text) + " = " + g.column(b, b.generatedColumns.text)
	case 1:
		on = g.column(a, a.generatedColumns.number) + " = " + g.column(b, b.generatedColumns.number)
	default:
		on = "a." + a.key + " = b." + b.key
	}
	if g.chance(40) {
		on += " AND " + g.condition([]source{a, b}[g.r.IntN(2)], 1)
	}
	where := ""
	if g.chance(70) {
		where = " WHERE " + g.condition([]source{a, b}[g.r.IntN(2)], 1) + g.one(" AND ", " OR ") + g.condition([]source{a, b}[g.r.IntN(2)], 1)
	}
	return "SELECT " + list + " FROM " + a.String() + kind + b.String() + " ON " + on + where + " ORDER BY a.id, b.id"
}

func (g *generator) subqueryRows() string {
	a, b := g.source("a"), g.source("b")
	switch g.r.IntN(4) {
	case 0:
		left := g.text(a, 1)
		return "SELECT a.id FROM " + a.String() + " WHERE " + left + g.one(" IN (", " NOT IN (") + "SELECT " + g.text(b, 1) + " FROM " + b.String() + g.where(b) + ") ORDER BY a.id"
	case 1:
		return "SELECT a.id FROM " + a.String() + " WHERE " + g.one("", "NOT ") + "EXISTS (SELECT 1 FROM " + b.String() + " WHERE b." + b.key + " = a." + a.key +
			" AND " + g.condition(b, 1) + ") ORDER BY a.id"
	case 2:
		return "SELECT a.id, (SELECT " + g.one("COUNT(*)", "MAX("+g.number(b, 1)+")", "MIN("+g.number(b, 1)+")") + " FROM " + b.String() + " WHERE b." + b.key +
			g.one(" = ", " < ") + "a." + a.key + ") AS n FROM " + a.String() + g.where(a) + " ORDER BY a.id"
	}
	left := g.number(a, 1)
	return "SELECT a.id FROM " + a.String() + " WHERE " + left + g.one(" > ", " = ", " <= ") + "(SELECT " + g.one("AVG", "MAX", "MIN", "COUNT") + "(" + g.number(b, 1) + ") FROM " +
		b.String() + g.where(b) + ") ORDER BY a.id"
}

func (g *generator) setRows() string {
	a, b := g.source("a"), g.source("b")
	first := "SELECT HEX(" + g.text(a, 1) + "), " + g.number(a, 1) + " FROM " + a.String() + g.where(a)
	return first + g.one(" UNION ", " UNION ALL ", " INTERSECT ", " EXCEPT ") + "SELECT HEX(" + g.text(b, 1) + "), " + g.number(b, 1) + " FROM " + b.String() + g.where(b)
}

func (g *generator) derivedRows() string {
	a := g.source("a")
	inner := "SELECT a.id, a." + a.key + " AS k, " + g.text(a, 1) + " AS t, " + g.number(a, 1) + " AS n FROM " + a.String() + g.where(a)
	d := source{generatedColumns{"d", "k", "t", "n", "", ""}, "d"}
	switch g.r.IntN(3) {
	case 0:
		return "WITH d AS (" + inner + ") SELECT d.id, " + g.any(d, 1) + " FROM d" + g.where(d) + " ORDER BY d.id"
	case 1:
		return "SELECT d.k, COUNT(*), SUM(d.n) FROM (" + inner + ") d" + g.where(d) + " GROUP BY d.k ORDER BY d.k"
	}
	b := g.source("b")
	return "SELECT d.id, b.id, d.t FROM (" + inner + ") d JOIN " + b.String() + " ON b." + b.key + " = d.k" + g.where(b) + " ORDER BY d.id, b.id"
}

// changes are assignments that fit, so that most updates succeed.
func (g *generator) change(s source) string {
	switch s.table {
	case "postings":
		return g.one("a.amount = a.amount + 5", "a.amount = -a.amount", "a.payee = LEFT(CONCAT(a.payee, a.id), 20)", "a.note = UPPER(a.payee)",
			"a.qty = a.qty DIV 2", "a.rate = a.rate / 3", "a.ref = NULL", "a.category = LEFT(a.category, 3)", "a.stamp = a.booked", "a.account_id = a.account_id + 1")
	case "accounts":
		return g.one("a.opening = a.opening * 2", "a.name = LOWER(a.name)", "a.opened = '2024-01-01'")
	case "journal":
		return g.one("a.title = REVERSE(a.title)", "a.mood = a.mood DIV 2", "a.body = CONCAT(a.title, ' ', a.body)", "a.weather = 'sun'", "a.score = a.score / 7",
			"a.facts = JSON_OBJECT('m', a.mood)", "a.spent = SEC_TO_TIME(a.mood)", "a.user_id = a.mood")
	}
	return "a.name = LEFT(CONCAT(a.name, 'x'), 10)"
}

// writable picks a base table.
func (g *generator) writable() source {
	for {
		if s := g.source("a"); s.table != "expenses" {
			return s
		}
	}
}

func (g *generator) updateRows() string {
	s := g.writable()
	change := g.change(s)
	if g.chance(20) {
		b := g.source("b")
		return "UPDATE " + s.String() + " JOIN " + b.String() + " ON b.id = a.id SET " + change + " WHERE " + g.condition(b, 1)
	}
	return "UPDATE " + s.String() + " SET " + change + g.where(s)
}

func (g *generator) deleteRows() string {
	s := g.writable()
	if g.chance(25) {
		b := g.source("b")
		return "DELETE a FROM " + s.String() + " JOIN " + b.String() + " ON b.id = a.id WHERE " + g.condition(b, 1)
	}
	plain := source{s.generatedColumns, s.table}
	return "DELETE FROM " + s.table + g.where(plain)
}

// insertRows adds rows whose values are computed from another table, or replaces some.
func (g *generator) insertRows() string {
	s := g.source("a")
	verb, id := g.one("INSERT INTO", "INSERT IGNORE INTO"), "a.id + 1000"
	if g.chance(30) {
		verb, id = "REPLACE INTO", "a.id + 3"
	}
	return verb + " postings (id, account_id, payee, note, amount, qty) SELECT " + id + ", a." + s.key + ", LEFT(" + g.text(s, 2) + ", 20), " + g.any(s, 2) + ", ROUND(" +
		g.number(s, 1) + " % 100, 2), " + g.one("NULL", "1 + 1", "LENGTH("+g.any(s, 1)+")") + " FROM " + s.String() + g.where(s) + " ORDER BY a.id"
}

// upsertRows adds rows, or changes those that are there.
func (g *generator) upsertRows() string {
	s := g.source("a")
	for s.table == "postings" || s.table == "expenses" {
		s = g.source("a")
	}
	return "INSERT INTO postings (id, account_id, payee, amount) SELECT a.id + " + g.one("0", "14", "1000") + ", a." + s.key + ", LEFT(" + g.text(s, 2) + ", 20), " + g.argument(g.literalNumber()) +
		" FROM " + s.String() + g.where(s) + " ORDER BY a.id ON DUPLICATE KEY UPDATE postings." +
		g.one("payee = LEFT(CONCAT(postings.payee, VALUES(payee)), 20)", "amount = postings.amount + VALUES(amount)", "note = CONCAT(postings.payee, '-', postings.note)",
			"payee = IF(postings.qty > 3, VALUES(payee), postings.payee)", "account_id = VALUES(account_id), postings.payee = UPPER(postings.payee)")
}
