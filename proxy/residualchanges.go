package proxy

import (
	"cmp"
	"encoding/hex"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// changedRow is a row that the statement changed or removed in the evaluator.
type changedRow struct {
	// key has the values of the primary key, as SQL.
	key []string
	// owner is whose it is, where the table has an owner column.
	owner rowOwner
	// values are by the target's columns; none for a row that was removed.
	values []changedValue
}

// changedValue is the new value of one column.
type changedValue struct {
	// changed says that it is another than before.
	changed, null bool
	// value is the canonical text for a protected column, and for another what the server reads without loss.
	value []byte
	// cell holds value already, where it is not nil.
	cell []byte
}

// plainSession is how a session of the evaluator has to be for what is read back: nothing is lost or rounded.
const plainSession = "SET sql_mode='',time_zone='+00:00',sql_select_limit=DEFAULT,character_set_client=utf8mb4,character_set_connection=utf8mb4,character_set_results=binary"

// readChanges finds the rows that are not as they were loaded.
func (w *writeBack) readChanges() error {
	r := w.r
	if _, err := r.conn.Exec(r.ctx, plainSession); err != nil {
		return r.inside(err)
	}
	for _, t := range w.targets {
		query, err := t.changesQuery(r.plan.Residual.Write.Delete)
		if err != nil {
			return err
		}
		err = r.conn.Each(r.ctx, query, func(values [][]byte) error { return w.changedRow(t, values) })
		if err != nil {
			return r.inside(err)
		}
	}
	w.count()
	return nil
}

// count corrects how many rows an UPDATE says it has changed: the evaluator's engine takes a NULL that was stored anew for a
// change.
func (w *writeBack) count() {
	end := &w.held.end
	m := updateCounts.FindSubmatch(end.Info)
	if w.r.plan.Residual.Write.Delete || w.r.plan.Residual.Write.Insert != nil || m == nil {
		return
	}
	changed := 0
	for _, t := range w.targets {
		changed += len(t.changed)
	}
	end.Info = fmt.Appendf(nil, "%s%s%s%d%s", m[1], m[2], m[3], changed, m[5])
	if !w.r.conn.Caps.Has(wire.CapFoundRows) {
		end.AffectedRows = uint64(changed)
		w.held.rowCount = int64(changed)
	}
}

// changesQuery selects number, key, owner and, for each column, whether it has changed and the new value.
func (t *writtenTable) changesQuery(removed bool) (string, error) {
	list, differ := []string{"b." + quoteName(t.number)}, []string(nil)
	for _, name := range t.plan.Key {
		key, err := t.readBack("b", name)
		if err != nil {
			return "", err
		}
		list = append(list, key)
	}
	list = append(list, t.ownerText("b"), t.ownerText("n"))
	for _, c := range t.plan.Columns {
		now, err := t.readBack("n", c.Name)
		if err != nil {
			return "", err
		}
		was, err := t.readBack("b", c.Name)
		if err != nil {
			return "", err
		}
		differs := "NOT(CAST(" + now + " AS BINARY)<=>CAST(" + was + " AS BINARY))"
		list, differ = append(list, differs, now), append(differ, differs)
	}
	database := quoteName(t.load.Table.Database) + "."
	number := quoteName(t.number)
	query := "SELECT " + strings.Join(list, ",") + " FROM " + database + quoteName(t.before) + " AS b LEFT JOIN " + database +
		quoteName(t.load.Table.Name) + " AS n ON n." + number + "=b." + number + " WHERE "
	if removed {
		query += "n." + number + " IS NULL"
	} else {
		query += strings.Join(differ, " OR ")
	}
	return query + " ORDER BY b." + number, nil
}

// readBack is the expression under which the evaluator gives a column of the target without loss.
func (t *writtenTable) readBack(alias, name string) (string, error) {
	column := t.load.Table.Column(name)
	if column == nil {
		return "", errOrigin
	}
	quoted := alias + "." + quoteName(name)
	if column.Protected != nil {
		return column.Protected.Type.ReadBack(quoted), nil
	}
	switch plainKindOf(column) {
	case plainText:
		return "CAST(CONVERT(" + quoted + " USING utf8mb4) AS BINARY)", nil
	case plainBytes, plainNumber, plainMoment:
		return quoted, nil
	case plainBits:
		return quoted + "+0", nil
	case plainFloat:
		return quoted + "+0e0", nil
	case plainAddress:
		return "CAST(" + quoted + " AS CHAR)", nil
	}
	return "", newFault(codeNotPossible, "%s.%s.%s: a statement that computes over protected columns writes a column of the type %s, or finds its rows by it",
		t.load.Table.Database, t.load.Table.Name, name, column.DataType)
}

// ownerText is the expression for whose a row is; NULL where rows have no owner or one whose text is not certain.
func (t *writtenTable) ownerText(alias string) string {
	if column := t.load.Table.Column(t.plan.Owner); column != nil {
		return cmp.Or(rewrite.OwnerText(column, alias+"."+quoteName(column.Name)), "NULL")
	}
	return "NULL"
}

// ownerOf gives whose a row is from what ownerText read.
func (t *writtenTable) ownerOf(value []byte) rowOwner {
	if column := t.load.Table.Column(t.plan.Owner); column == nil || rewrite.OwnerText(column, "") == "" {
		return rowOwner{}
	}
	return storedOwner(value)
}

// changedRow takes one row of the query.
func (w *writeBack) changedRow(t *writtenTable, values [][]byte) error {
	if len(values) != 3+len(t.plan.Key)+2*len(t.plan.Columns) {
		return errOrigin
	}
	number, err := strconv.Atoi(string(values[0]))
	if err != nil || number < 1 || number > t.loaded {
		return errOrigin
	}
	if column := t.locked[number]; column != nil {
		return errOverwrite(column)
	}
	var row changedRow
	values = values[1:]
	for i, name := range t.plan.Key {
		literal, ok := plainLiteral(t.load.Table.Column(name), values[i])
		if !ok || values[i] == nil {
			return errOrigin
		}
		row.key = append(row.key, literal)
	}
	row.owner = t.ownerOf(values[len(t.plan.Key)])
	moved := false
	if t.plan.Moves {
		was := row.owner
		row.owner = t.ownerOf(values[len(t.plan.Key)+1])
		moved = row.owner != was
	}
	values = values[len(t.plan.Key)+2:]
	for i := range t.plan.Columns {
		c := &t.plan.Columns[i]
		differs := values[2*i]
		if moved && c.Protected != nil && c.Protected.ServiceKey == "" && c.Protected.Owner != "" {
			differs = []byte("1") // a cell that is sealed anew
		}
		v, err := w.changedValue(c, differs, values[2*i+1])
		if err != nil {
			return err
		}
		row.values = append(row.values, v)
	}
	t.changed = append(t.changed, row)
	return nil
}

// changedValue takes the new value of one column.
func (w *writeBack) changedValue(c *rewrite.WriteColumn, differs, value []byte) (v changedValue, err error) {
	v.changed, v.null = string(differs) != "0", value == nil
	if !v.changed || v.null {
		return v, nil
	}
	if err := w.took(len(value)); err != nil {
		return v, err
	}
	if c.Protected == nil {
		v.value = slices.Clone(value)
		return v, nil
	}
	if v.value, err = c.Protected.Type.Adopt(make([]byte, 0, len(value)), value); err != nil {
		return v, errConversion(c.Protected, err)
	}
	return v, nil
}

// plainKind is how values of a column that is not protected are read and written.
type plainKind uint8

const (
	plainUnknown plainKind = iota
	plainText
	plainBytes
	plainNumber
	plainBits
	plainFloat
	plainMoment
	plainAddress
)

func plainKindOf(c *rewrite.Column) plainKind {
	switch c.DataType {
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext", "enum", "set", "json":
		return plainText
	case "binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return plainBytes
	case "tinyint", "smallint", "mediumint", "int", "bigint", "decimal", "year":
		return plainNumber
	case "bit":
		return plainBits
	case "float", "double":
		return plainFloat
	case "date", "datetime", "timestamp", "time":
		return plainMoment
	case "uuid", "inet4", "inet6":
		return plainAddress
	}
	return plainUnknown
}

// plainLiteral writes a value that readBack gave as SQL that means the same in every sql_mode, in a session in UTC.
func plainLiteral(c *rewrite.Column, value []byte) (literal string, ok bool) {
	if value == nil {
		return "NULL", true
	}
	only := func(allowed string) bool { return len(value) > 0 && strings.Trim(string(value), allowed) == "" }
	switch plainKindOf(c) {
	case plainText:
		return "_utf8mb4 x'" + hex.EncodeToString(value) + "'", true
	case plainBytes:
		return "x'" + hex.EncodeToString(value) + "'", true
	case plainNumber, plainBits:
		return string(value), only("-.0123456789")
	case plainFloat:
		literal = string(value)
		if !strings.Contains(literal, "e") {
			literal += "e0"
		}
		return literal, only("-+.e0123456789")
	case plainMoment:
		return "'" + string(value) + "'", only("-: .0123456789")
	case plainAddress:
		return "'" + string(value) + "'", only("-:.0123456789abcdefABCDEF")
	}
	return "", false
}
