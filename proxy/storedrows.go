package proxy

import (
	"cmp"

	"latchkey/rewrite"
)

// storedRows is one statement that writes changed rows, in the making.
type storedRows struct {
	t *writtenTable
	// names are the columns of the primary key as the statement names them.
	names []string
	// ordered says that the key is one integer, and the rows have come in its order so far: a value is then found by halves.
	ordered bool
	rows    []*changedRow
	// text has the values, and spans where each of them is, by row and column; an empty one has not changed.
	text  []byte
	spans [][2]int
	// size is about how long the statement is.
	size int
}

func newStoredRows(t *writtenTable, remove bool) *storedRows {
	n := &storedRows{t: t}
	for _, name := range t.plan.Key {
		column := quoteName(name)
		if !remove {
			column = storedAs + "." + column
		}
		n.names = append(n.names, column)
	}
	n.reset()
	return n
}

// reset makes it empty.
func (n *storedRows) reset() {
	n.rows, n.text, n.spans, n.size = n.rows[:0], n.text[:0], n.spans[:0], 0
	n.ordered = len(n.names) == 1 && isInteger(n.t.load.Table.Column(n.t.plan.Key[0]))
}

// isInteger tells whether a column holds integers.
func isInteger(c *rewrite.Column) bool {
	if c == nil {
		return false
	}
	switch c.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		return true
	}
	return false
}

// add puts a row behind the others, whose values have just been appended.
func (n *storedRows) add(row *changedRow) {
	const around = len(" WHEN = THEN  ELSE  END,") // what stands around a key and a value
	if n.ordered && len(n.rows) > 0 {
		n.ordered = integerOrder(n.rows[len(n.rows)-1].key[0], row.key[0]) < 0
	}
	n.rows = append(n.rows, row)
	for i, key := range row.key {
		n.size += 2 * (len(key) + len(n.names[i]) + around)
	}
	for _, span := range n.spans[len(n.spans)-len(row.values):] {
		n.size += span[1] - span[0] + around
	}
}

// drop takes the last row away; its values begin at text.
func (n *storedRows) drop(text int) {
	last := n.rows[len(n.rows)-1]
	n.rows, n.spans, n.text = n.rows[:len(n.rows)-1], n.spans[:len(n.spans)-len(last.values)], n.text[:text]
}

// integerOrder compares two integers as MariaDB prints them.
func integerOrder(a, b string) int {
	negative := func(s string) bool { return len(s) > 0 && s[0] == '-' }
	switch {
	case negative(a) && negative(b):
		return integerOrder(b[1:], a[1:])
	case negative(a):
		return -1
	case negative(b):
		return 1
	}
	return cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b))
}

// value gives the text of a row's value of a column; empty when it has not changed.
func (n *storedRows) value(row, column int) []byte {
	span := n.spans[row*len(n.t.plan.Columns)+column]
	return n.text[span[0]:span[1]]
}

// appendValue appends the expression that gives each row its value of a column.
func (n *storedRows) appendValue(b []byte, column int) []byte {
	return n.appendChoice(b, column, 0, len(n.rows))
}

// choiceRows is how many rows are looked through one by one.
const choiceRows = 8

// appendChoice appends the expression for the rows from one to another: the half of them where the key is, or each of them.
func (n *storedRows) appendChoice(b []byte, column, from, to int) []byte {
	if n.ordered && to-from > choiceRows {
		middle := (from + to) / 2
		b = append(append(append(b, "CASE WHEN "...), n.names[0]...), '<')
		b = append(append(b, n.rows[middle].key[0]...), " THEN "...)
		b = append(n.appendChoice(b, column, from, middle), " ELSE "...)
		return append(n.appendChoice(b, column, middle, to), " END"...)
	}
	name, chosen := storedAs+"."+quoteName(n.t.plan.Columns[column].Name), false
	for i := from; i < to; i++ {
		value := n.value(i, column)
		if len(value) == 0 {
			continue
		}
		if !chosen {
			b = append(b, "CASE "...)
			if n.ordered {
				b = append(b, n.names[0]...)
			}
			chosen = true
		}
		b = append(b, " WHEN "...)
		if n.ordered {
			b = append(b, n.rows[i].key[0]...)
		} else {
			b = n.appendKey(b, n.rows[i])
		}
		b = append(append(b, " THEN "...), value...)
	}
	if !chosen {
		return append(b, name...)
	}
	return append(append(append(b, " ELSE "...), name...), " END"...)
}

// appendKey appends the condition that a row is the one with this key.
func (n *storedRows) appendKey(b []byte, row *changedRow) []byte {
	for i, name := range n.names {
		if i > 0 {
			b = append(b, " AND "...)
		}
		b = append(append(append(b, name...), '='), row.key[i]...)
	}
	return b
}

// appendCondition appends the condition that a row is one of these.
func (n *storedRows) appendCondition(b []byte) []byte {
	switch {
	case len(n.rows) == 0:
		return append(b, "FALSE LIMIT 1"...)
	case n.ordered:
		b = append(append(b, n.names[0]...), " IN ("...)
		for i, row := range n.rows {
			if i > 0 {
				b = append(b, ',')
			}
			b = append(b, row.key[0]...)
		}
		return append(b, ')')
	}
	for i, row := range n.rows {
		if i > 0 {
			b = append(b, " OR "...)
		}
		b = append(n.appendKey(append(b, '('), row), ')')
	}
	return b
}
