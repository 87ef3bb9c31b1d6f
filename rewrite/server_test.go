package rewrite

import (
	"context"
	"database/sql"
	"fmt"
	"strconv"
	"strings"
	"testing"

	"latchkey/internal/mariadbtest"
)

// backend is one connection to a real MariaDB whose session facts are known.
type backend struct {
	tb    testing.TB
	conn  *sql.Conn
	facts Facts
}

func newBackend(tb testing.TB, charset Charset, mode SQLMode) *backend {
	tb.Helper()
	pool := mariadbtest.Shared(tb).Open(tb, "")
	conn, err := pool.Conn(context.Background())
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { conn.Close() })
	b := &backend{tb: tb, conn: conn, facts: Facts{Charset: charset, Mode: mode}}
	b.exec(fmt.Sprintf("SET character_set_client = %s, character_set_connection = %s, sql_mode = '%s'", charset, charset, mode))
	var version string
	if err := conn.QueryRowContext(context.Background(), "SELECT VERSION()").Scan(&version); err != nil {
		tb.Fatal(err)
	}
	b.facts.ServerVersion = versionNumber(version)
	return b
}

func versionNumber(version string) int {
	version, _, _ = strings.Cut(version, "-")
	n := 0
	for part := range strings.SplitSeq(version, ".") {
		v, _ := strconv.Atoi(part)
		n = n*100 + v
	}
	return n
}

func (b *backend) exec(text string) {
	b.tb.Helper()
	if _, err := b.conn.ExecContext(context.Background(), text); err != nil {
		b.tb.Fatalf("%s: %v", text, err)
	}
}

// answer is what the server says to a text: its error number, or its rows.
func (b *backend) answer(text string) (code int, values string) {
	b.tb.Helper()
	rows, err := b.conn.QueryContext(context.Background(), text)
	if err == nil {
		defer rows.Close()
		var columns []string
		if columns, err = rows.Columns(); err == nil {
			cells := make([]sql.NullString, len(columns))
			targets := make([]any, len(columns))
			for i := range cells {
				targets[i] = &cells[i]
			}
			for rows.Next() {
				if err = rows.Scan(targets...); err != nil {
					break
				}
				values += fmt.Sprintf("%+q", fmt.Sprint(cells))
			}
			if err == nil {
				err = rows.Err()
			}
		}
	}
	if err == nil {
		return 0, values
	}
	if code = mariadbtest.Code(err); code == 0 {
		b.tb.Fatalf("%q: %v", text, err)
	}
	return code, ""
}

// texts gives the tokens of a statement as text.
func texts(s *Statement) []string {
	var all []string
	for i := range s.Len() {
		all = append(all, string(s.Text(i)))
	}
	return all
}

// rejoin writes the tokens again: what stood together together, what was apart with one space, except that minus signs
// are kept apart, since two before a space are a comment.
func rejoin(s *Statement) string {
	var b strings.Builder
	for i := range s.Len() {
		if i > 0 && (!s.Token(i).Glued() || s.IsOp(i, OpMinus)) {
			b.WriteByte(' ')
		}
		b.Write(s.Text(i))
	}
	return b.String()
}
