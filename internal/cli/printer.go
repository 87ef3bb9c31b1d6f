package cli

import (
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/go-mysql-org/go-mysql/client"
)

// printer writes text and tables; after the first failed write it writes nothing
// more and err says why.
type printer struct {
	w   io.Writer
	err error
}

func (p *printer) printf(format string, args ...any) {
	if p.err == nil {
		_, p.err = fmt.Fprintf(p.w, format, args...)
	}
}

// query runs a statement and prints its resultset as a table.
func (p *printer) query(conn *client.Conn, statement string) error {
	result, err := conn.Execute(statement)
	if err != nil {
		return err
	}
	defer result.Close()
	rows := [][]string{make([]string, len(result.Fields))}
	for i, field := range result.Fields {
		rows[0][i] = string(field.Name)
	}
	for r := range result.RowNumber() {
		row := make([]string, len(result.Fields))
		for c := range row {
			null, err := result.IsNull(r, c)
			if err != nil {
				return err
			}
			if row[c] = "NULL"; null {
				continue
			}
			if row[c], err = result.GetString(r, c); err != nil {
				return err
			}
		}
		rows = append(rows, row)
	}
	p.table(rows)
	return p.err
}

// table prints rows in columns; the first row is the heading.
func (p *printer) table(rows [][]string) {
	widths := make([]int, len(rows[0]))
	for _, row := range rows {
		for i, cell := range row {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for i, row := range rows {
		p.row(row, widths)
		if i == 0 {
			rule := make([]string, len(row))
			for j := range rule {
				rule[j] = strings.Repeat("-", widths[j])
			}
			p.row(rule, widths)
		}
	}
}

func (p *printer) row(row []string, widths []int) {
	var line strings.Builder
	for i, cell := range row {
		line.WriteString("  " + cell)
		if i < len(row)-1 {
			line.WriteString(strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell)))
		}
	}
	p.printf("%s\n", line.String())
}
