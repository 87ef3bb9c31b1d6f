package endtoend

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/proxy/wire"
)

// mixedColumns are the protected columns of bookPolicy that are written again in half of the rows, by table.
var mixedColumns = map[string][]string{
	"postings": {"payee", "note", "amount", "booked", "ref", "qty", "rate", "stamp"},
	"accounts": {"name", "opening"},
	"journal": {"title", "body", "mood", "written", "facts", "spent", "yr", "weather", "marks", "photo", "code", "score", "big", "bits", "ip", "u",
		"noted"},
}

// newMixedDifferential is newDifferential over tables that were filled before they were protected, and of which every other row
// was written again afterwards.
func newMixedDifferential(t *testing.T) *differential {
	t.Helper()
	server := mariadbtest.Shared(t)
	d := &differential{class: map[string]*classCount{}, refusedText: map[string]int{}, tables: bookNames}
	d.typesTwin = typesTwin{server: server, plain: server.NewDatabase(t), sealed: server.NewDatabase(t), key: latchkeytest.NewAccountKey(t)}
	for _, db := range []string{d.plain, d.sealed} {
		server.Exec(t, "USE "+db+";"+bookTables)
		c := newWireClient(t, server.Addr(), db, wireCaps)
		c.must(t, "SET time_zone = '+02:00'")
		for _, stmt := range bookRows {
			c.must(t, stmt)
		}
	}
	policy := strings.NewReplacer(": {}", ": {plaintext: accept}", "equality}", "equality, plaintext: accept}").Replace(bookPolicy)
	d.proxy = latchkeytest.Start(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + d.sealed + ":\n" + policy})
	d.at[0], d.at[1] = d.clients(t, wireCaps|wire.CapDeprecateEOF|wire.CapExtendedMetadata)
	for _, c := range d.at {
		c.must(t, "SET time_zone = '+02:00'")
	}
	for table, columns := range mixedColumns {
		d.sealHalf(t, table, columns)
	}
	return d
}

// sealHalf writes each column of every other row again through Latchkey, with the value that it has: cells and plaintext stand side
// by side in rows and in columns.
func (d *differential) sealHalf(t *testing.T, table string, columns []string) {
	t.Helper()
	for i, column := range columns {
		literal := "QUOTE(" + column + ")"
		switch column {
		case "photo":
			literal = "CONCAT('x''', HEX(photo), '''')"
		case "bits":
			literal = "bits+0"
		case "score", "rate":
			literal = column + "+0e0"
		}
		rows := d.at[0].must(t, fmt.Sprintf("SELECT id, %s FROM %s WHERE (id + %d) %% 2 = 0 AND %s IS NOT NULL", literal, table, i, column)).rows
		for _, row := range rows {
			id, value := splitRow(row)
			d.at[1].must(t, fmt.Sprintf("UPDATE %s SET %s = %s WHERE id = %s", table, column, value, id))
		}
		if sealed := d.physical(t, table, column, "v >= x'FF4C4B61' AND v < x'FF4C4B70' OR v >= x'FF4C4B71'"); sealed != len(rows) {
			t.Fatalf("%s.%s: %d cells, want %d", table, column, sealed, len(rows))
		}
		if d.physical(t, table, column, "v < x'FF4C4B61'") == 0 {
			t.Fatalf("%s.%s holds no plaintext", table, column)
		}
	}
}

// splitRow gives the two fields of a text row.
func splitRow(row []byte) (first, second string) {
	n, head := wire.Lenenc(row)
	rest := row[head+int(n):]
	m, next := wire.Lenenc(rest)
	return string(row[head : head+int(n)]), string(rest[next : next+int(m)])
}

// physical counts the stored values v of a column that meet a condition.
func (d *differential) physical(t *testing.T, table, column, condition string) int {
	t.Helper()
	rows := d.server.Query(t, fmt.Sprintf("SELECT COUNT(*) FROM (SELECT %s AS v FROM %s.%s) AS t WHERE %s", column, d.sealed, table, condition))
	n, err := strconv.Atoi(rows[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// TestMixedDifferential is TestDifferential over tables in the mixed state.
func TestMixedDifferential(t *testing.T) {
	d := newMixedDifferential(t)
	for _, s := range corpus(t) {
		d.try(t, s)
	}
	seed, count := environment(t, "LATCHKEY_DIFFERENTIAL_SEED", differentialSeed), environment(t, "LATCHKEY_MIXED_DIFFERENTIAL", mixedDifferentialCount)
	for i := range uint64(count) {
		g := generator{r: rand.New(rand.NewPCG(uint64(seed), i))}
		d.try(t, g.statement())
	}
	d.report(t)
}

// mixedDifferentialCount is how many generated statements run.
const mixedDifferentialCount = 150
