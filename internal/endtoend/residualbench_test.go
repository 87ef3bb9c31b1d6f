package endtoend

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// residualQueries are what an application asks of a bookkeeping table, as statements that compute over sealed columns.
var residualQueries = []struct{ name, text string }{
	{"like and range", "SELECT id, title FROM book WHERE user_id = %d AND title LIKE '%%7%%' AND amount > 100"},
	{"order by text", "SELECT id, title FROM book WHERE user_id = %d ORDER BY title LIMIT 20"},
	{"sum by month", "SELECT LEFT(day, 7) AS month, SUM(amount) FROM book WHERE user_id = %d GROUP BY month"},
	{"count distinct", "SELECT COUNT(DISTINCT title) FROM book WHERE user_id = %d"},
	{"running balance", "SELECT id, SUM(amount) OVER (ORDER BY day, id) FROM book WHERE user_id = %d"},
	{"four columns", "SELECT UPPER(title), LENGTH(note), amount * 2, YEAR(day) FROM book WHERE user_id = %d"},
}

// BenchmarkResidual runs statements over 1,000 and 10,000 rows, on plaintext and through the proxy. An owner's rows are found
// by an index; owner 1 has 1,000, owner 2 has 10,000.
func BenchmarkResidual(b *testing.B) {
	server := mariadbtest.Start(b, mariadbtest.WithArgs("--innodb-buffer-pool-size=128M"))
	const table = "CREATE TABLE book (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT, title VARCHAR(100), note TEXT, amount DECIMAL(12,2), day DATE, KEY (user_id))"
	plain, sealed := server.NewDatabase(b), server.NewDatabase(b)
	for _, db := range []string{plain, sealed} {
		server.Exec(b, "USE "+db+";"+table)
	}
	proxy := latchkeytest.Start(b, latchkeytest.Config{Server: server,
		Databases: "  " + sealed + ":\n    book:\n      columns:\n        title: {}\n        note: {}\n        amount: {}\n        day: {}\n"})
	conn := proxy.Conn(b, sealed, "", latchkeytest.NewAccountKey(b))
	direct := server.Open(b, plain)
	ctx := context.Background()
	for owner, rows := range map[int]int{1: 1000, 2: 10000} {
		for from := 0; from < rows; from += 500 {
			var values []string
			for i := from; i < from+500; i++ {
				values = append(values, fmt.Sprintf("(%d, 'title %d of something', 'a note that is a little longer %d', %d.%02d, '2024-%02d-%02d')",
					owner, i*7919%rows, i, i%500, i%100, i%12+1, i%28+1))
			}
			stmt := "INSERT INTO book (user_id, title, note, amount, day) VALUES " + strings.Join(values, ",")
			if _, err := conn.ExecContext(ctx, stmt); err != nil {
				b.Fatal(err)
			}
			if _, err := direct.ExecContext(ctx, stmt); err != nil {
				b.Fatal(err)
			}
		}
	}
	for owner, rows := range map[int]int{1: 1000, 2: 10000} {
		for _, q := range residualQueries {
			text := fmt.Sprintf(q.text, owner)
			b.Run(fmt.Sprintf("%d rows/%s/plaintext", rows, q.name), func(b *testing.B) {
				for b.Loop() {
					drainRows(b, func() (rowsReader, error) { return direct.QueryContext(ctx, text) })
				}
			})
			b.Run(fmt.Sprintf("%d rows/%s/latchkey", rows, q.name), func(b *testing.B) {
				for b.Loop() {
					drainRows(b, func() (rowsReader, error) { return conn.QueryContext(ctx, text) })
				}
			})
		}
	}
}

// rowsReader is what of *sql.Rows reading to the end needs.
type rowsReader interface {
	Next() bool
	Err() error
	Close() error
}

func drainRows(b *testing.B, query func() (rowsReader, error)) {
	rows, err := query()
	if err != nil {
		b.Fatal(err)
	}
	for rows.Next() {
	}
	if err := rows.Err(); err != nil {
		b.Fatal(err)
	}
	if err := rows.Close(); err != nil {
		b.Fatal(err)
	}
}
