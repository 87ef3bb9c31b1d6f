package endtoend

import (
	"context"
	"database/sql"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbtest"
)

// largeLine is what an argument of type l repeats.
const largeLine = "zebra é✓ 'q' \\\n"

// goDriver holds a conversation through go-sql-driver/mysql.
func goDriver(params string) func(*testing.T, side, []string) string {
	return func(t *testing.T, s side, files []string) string {
		cfg, err := mysql.ParseDSN("@tcp(" + s.addr + ")/" + s.database + params)
		if err != nil {
			t.Fatal(err)
		}
		cfg.User, cfg.Passwd = s.b.user, s.b.password
		connector, err := mysql.NewConnector(cfg)
		if err != nil {
			t.Fatal(err)
		}
		pool := sql.OpenDB(connector)
		defer pool.Close()
		conn, err := pool.Conn(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		talk := &goTalk{t: t, side: s, conn: conn}
		for _, step := range readSteps(t, files) {
			lines, err := talk.step(step)
			if err != nil {
				if mariadbtest.Code(err) == 0 {
					t.Fatalf("%s: %v", step.label, err)
				}
				lines = fmt.Sprintf("%s\terror=%d\n", step.label, mariadbtest.Code(err))
			}
			talk.report.WriteString(lines)
		}
		return talk.report.String()
	}
}

type goTalk struct {
	t      *testing.T
	side   side
	conn   *sql.Conn
	tx     *sql.Tx
	report strings.Builder
}

func (g *goTalk) step(s driverStep) (string, error) {
	ctx := context.Background()
	var sets [][]any
	for _, set := range s.sets {
		sets = append(sets, g.arguments(set))
	}
	var err error
	switch s.verb {
	case "begin":
		g.tx, err = g.conn.BeginTx(ctx, nil)
	case "commit":
		err, g.tx = g.tx.Commit(), nil
	case "rollback":
		err, g.tx = g.tx.Rollback(), nil
	case "batch":
		_, list, _ := strings.Cut(s.stmt, "VALUES ")
		_, err = g.conn.ExecContext(ctx, s.stmt+strings.Repeat(", "+list, len(sets)-1), concat(sets)...)
	case "text":
		return g.run(s, func() (*sql.Rows, error) { return g.conn.QueryContext(ctx, s.stmt) },
			func() (sql.Result, error) { return g.conn.ExecContext(ctx, s.stmt) })
	case "loop":
		return g.loop(s, sets)
	default:
		query, exec := g.conn.QueryContext, g.conn.ExecContext
		if g.tx != nil {
			query, exec = g.tx.QueryContext, g.tx.ExecContext
		}
		return g.run(s, func() (*sql.Rows, error) { return query(ctx, s.stmt, sets[0]...) },
			func() (sql.Result, error) { return exec(ctx, s.stmt, sets[0]...) })
	}
	return s.label + "\tdone\n", err
}

func concat(sets [][]any) []any {
	var all []any
	for _, set := range sets {
		all = append(all, set...)
	}
	return all
}

// loop prepares once.
func (g *goTalk) loop(s driverStep, sets [][]any) (string, error) {
	ctx := context.Background()
	prepared, err := g.conn.PrepareContext(ctx, s.stmt)
	if err != nil {
		return "", err
	}
	defer prepared.Close()
	var text strings.Builder
	for _, set := range sets {
		lines, err := g.run(s, func() (*sql.Rows, error) { return prepared.QueryContext(ctx, set...) },
			func() (sql.Result, error) { return prepared.ExecContext(ctx, set...) })
		if err != nil {
			return "", err
		}
		text.WriteString(lines)
	}
	return text.String(), nil
}

func (g *goTalk) run(s driverStep, query func() (*sql.Rows, error), exec func() (sql.Result, error)) (string, error) {
	if returnsRows(s.stmt) {
		rows, err := query()
		if err != nil {
			return "", err
		}
		defer rows.Close()
		return rowLines(s.label, rows)
	}
	result, err := exec()
	if err != nil {
		return "", err
	}
	affected, _ := result.RowsAffected()
	text := fmt.Sprintf("%s\taffected=%d", s.label, affected)
	if s.verb == "insert" {
		id, _ := result.LastInsertId()
		text += fmt.Sprintf(" id=%d", id)
	}
	return text + "\n", nil
}

func rowLines(label string, rows *sql.Rows) (string, error) {
	names, err := rows.Columns()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for rows.Next() {
		values := make([]sql.NullString, len(names))
		targets := make([]any, len(names))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			return "", err
		}
		text.WriteString(label)
		for i, v := range values {
			text.WriteString("\t" + showValue(names[i], v))
		}
		text.WriteString("\n")
	}
	return text.String(), rows.Err()
}

func (g *goTalk) arguments(set []string) []any {
	g.t.Helper()
	var args []any
	for _, field := range set {
		kind, value, _ := strings.Cut(field, ":")
		var arg any = value
		var err error
		switch kind {
		case "i":
			arg, err = strconv.ParseInt(value, 10, 64)
		case "f":
			arg, err = strconv.ParseFloat(value, 64)
		case "b":
			arg, err = hex.DecodeString(value)
		case "d":
			arg, err = time.Parse(time.DateOnly, value)
		case "t":
			arg, err = time.Parse("2006-01-02 15:04:05.000", value)
		case "n":
			arg = nil
		case "k":
			arg = g.side.key(value)
		case "l":
			var times int
			times, err = strconv.Atoi(value)
			arg = strings.Repeat(largeLine, times)
		}
		if err != nil {
			g.t.Fatalf("argument %q: %v", field, err)
		}
		args = append(args, arg)
	}
	return args
}
