package migrate

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/mysql"

	"latchkey/rewrite"
)

// rowKey is the key of a row, as the server gave its parts.
type rowKey [][]byte

// id tells keys apart.
func (k rowKey) id() string {
	var b []byte
	for _, part := range k {
		b = strconv.AppendInt(b, int64(len(part)), 10)
		b = append(append(b, ':'), part...)
	}
	return string(b)
}

// shown gives a key for a log: numbers only, since other values could be anything.
func (k rowKey) shown(columns []rewrite.KeyColumn) string {
	var parts []string
	for i := range columns {
		if text, ok := columns[i].Literal(k[i]); ok && columns[i].Kind == rewrite.KeyNumber {
			parts = append(parts, text)
		} else {
			parts = append(parts, "?")
		}
	}
	return strings.Join(parts, ",")
}

// literal writes a part of a key.
func (k rowKey) literal(columns []rewrite.KeyColumn, i int) string {
	if text, ok := columns[i].Literal(k[i]); ok {
		return text
	}
	return "NULL" // finds nothing
}

// is is SQL that is true of the row.
func (k rowKey) is(columns []rewrite.KeyColumn) string {
	parts := make([]string, len(columns))
	for i := range columns {
		parts[i] = columns[i].Name + "=" + k.literal(columns, i)
	}
	return strings.Join(parts, " AND ")
}

// after is SQL that is true of the rows behind this one, in the order of the key.
func (k rowKey) after(columns []rewrite.KeyColumn) string {
	var alternatives []string
	equal := ""
	for i := range columns {
		name, value := columns[i].Name, k.literal(columns, i)
		alternatives = append(alternatives, "("+equal+name+">"+value+")")
		equal += name + "=" + value + " AND "
	}
	return "(" + strings.Join(alternatives, " OR ") + ")"
}

// row is a row under lock.
type row struct {
	key    rowKey
	values []*Value
}

func wipeRows(rows []*row) {
	for _, row := range rows {
		for _, v := range row.values {
			v.wipe()
		}
	}
}

// windowRows is how many rows one query looks at for such that have something to be done, in batches.
const windowRows = 10

// wanted is SQL that is true of rows that hold what the job is about.
func (j *Job) wanted() string {
	var conditions []string
	for _, c := range j.Columns {
		if j.Act == Encrypt || j.Act == Import {
			conditions = append(conditions, holdsPlaintext(c))
		}
		if j.Act != Encrypt {
			conditions = append(conditions, holdsCell(c))
		}
	}
	return "(" + strings.Join(conditions, " OR ") + ")"
}

// ofOwner is SQL that is true of the rows of the job's owner.
func (j *Job) ofOwner() (string, error) {
	if !j.OfOwner {
		return "TRUE", nil
	}
	text, ok := OwnerLiteral(&j.Migration.Owner, j.Owner)
	if !ok {
		return "FALSE", nil
	}
	return j.Migration.Owner.Name + "=" + text, nil
}

// OwnerLiteral writes an owner as a value of the owner column; ok is false when the column cannot hold it.
func OwnerLiteral(c *rewrite.AwayColumn, owner string) (text string, ok bool) {
	switch {
	case c.Integer:
		if _, err := strconv.ParseInt(owner, 10, 64); err != nil {
			if _, err := strconv.ParseUint(owner, 10, 64); err != nil {
				return "", false
			}
		}
		return owner, true
	case c.Binary:
		return fmt.Sprintf("x'%x'", owner), true
	}
	return fmt.Sprintf("_utf8mb4 x'%x'", owner), true
}

// hint makes the server go through the rows in the order of the key.
func (j *Job) hint() string {
	index := j.Migration.Index
	if j.OfOwner {
		if j.Migration.OwnerIndex == "" {
			return ""
		}
		index = j.Migration.OwnerIndex
	}
	return " FORCE INDEX (" + index + ")"
}

func (j *Job) keyNames(read bool) string {
	names := make([]string, len(j.Migration.Key))
	for i := range j.Migration.Key {
		names[i] = j.Migration.Key[i].Name
		if read {
			names[i] = j.Migration.Key[i].Read
		}
	}
	return strings.Join(names, ",")
}

// count counts the rows that hold what the job is about.
func (r *run) count(ctx context.Context) (n int64, err error) {
	owner, err := r.job.ofOwner()
	if err != nil {
		return 0, err
	}
	hint := ""
	if r.job.OfOwner {
		hint = r.job.hint()
	}
	err = r.again(ctx, func() error {
		n, err = r.e.number(ctx, "SELECT COUNT(*) FROM "+r.job.Migration.Name+hint+" WHERE "+owner+" AND "+r.job.wanted())
		return err
	})
	return n, err
}

// window looks at the rows behind a key, without locks: which of them hold what the job is about, and the last that was looked
// at; nil when there are no more.
func (r *run) window(ctx context.Context, at rowKey) (some []rowKey, last rowKey, err error) {
	owner, err := r.job.ofOwner()
	if err != nil {
		return nil, nil, err
	}
	if at != nil {
		owner += " AND " + at.after(r.job.Migration.Key)
	}
	n := len(r.job.Migration.Key)
	rows, err := r.e.rows(ctx, "SELECT "+r.job.keyNames(true)+",COALESCE("+r.job.wanted()+",0) FROM "+r.job.Migration.Name+r.job.hint()+
		" WHERE "+owner+" ORDER BY "+r.job.keyNames(false)+" LIMIT "+strconv.Itoa(windowRows*r.e.config.Batch))
	if err != nil {
		return nil, nil, err
	}
	for _, values := range rows {
		last = rowKey(values[:n])
		if string(values[n]) == "1" && !r.failed[last.id()] {
			some = append(some, last)
		}
	}
	return some, last, nil
}

// needed gives those of keys whose rows still hold what the job is about.
func (r *run) needed(ctx context.Context, keys []rowKey) (left []rowKey, err error) {
	for len(keys) > 0 {
		some := keys[:min(len(keys), r.e.config.Batch)]
		rows, err := r.e.rows(ctx, r.selectKeys(some, "", " AND "+r.job.wanted()))
		if err != nil {
			return nil, err
		}
		for _, values := range rows {
			left = append(left, rowKey(values))
		}
		keys = keys[len(some):]
	}
	return left, nil
}

// selectKeys writes a query for rows by their keys.
func (r *run) selectKeys(keys []rowKey, more, end string) string {
	m := r.job.Migration
	var b strings.Builder
	b.WriteString("SELECT " + r.job.keyNames(true) + more + " FROM " + m.Name + " FORCE INDEX (" + m.Index + ") WHERE ")
	if len(m.Key) == 1 {
		b.WriteString(m.Key[0].Name + " IN (")
		for i, key := range keys {
			if i > 0 {
				b.WriteByte(',')
			}
			b.WriteString(key.literal(m.Key, 0))
		}
		b.WriteByte(')')
	} else {
		for i, key := range keys {
			b.WriteString([]string{"(", " OR "}[min(i, 1)] + "(" + key.is(m.Key) + ")")
		}
		b.WriteByte(')')
	}
	b.WriteString(end)
	return b.String()
}

// locked reads rows and locks them, but for those that others have locked.
func (r *run) locked(ctx context.Context, keys []rowKey) ([]*row, error) {
	owner, err := r.job.ofOwner()
	if err != nil {
		return nil, err
	}
	more := ",NULL"
	if r.job.Migration.Owner.Name != "" {
		more = "," + r.job.Migration.Owner.Text
	}
	for _, c := range r.job.Columns {
		more += "," + quoteName(c.Column)
	}
	found, err := r.e.rows(ctx, r.selectKeys(keys, more, " AND "+owner+" FOR UPDATE SKIP LOCKED"))
	if err != nil {
		return nil, err
	}
	n := len(r.job.Migration.Key)
	rows := make([]*row, len(found))
	for i, values := range found {
		row := &row{key: rowKey(values[:n])}
		for k, c := range r.job.Columns {
			row.values = append(row.values, &Value{Column: c, Owner: string(values[n]), HasOwner: values[n] != nil, Stored: values[n+1+k]})
		}
		rows[i] = row
	}
	return rows, nil
}

// execMany runs statements that write one row each.
func (e *Engine) execMany(ctx context.Context, text string) error {
	stop := context.AfterFunc(ctx, e.interrupt(e.conn))
	defer stop()
	var failed error
	_, err := e.conn.ExecuteMultiple(text, func(r *mysql.Result, err error) {
		switch {
		case failed != nil:
		case err != nil:
			failed = err
		case r != nil && r.AffectedRows != 1:
			failed = fmt.Errorf("%w: a row under lock was not there", errHere)
		}
	})
	if err == nil {
		err = failed
	}
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return scrub(err)
}

// encode writes a key for a note.
func (k rowKey) encode() []byte { return []byte(k.id()) }

var errCursor = errors.New("a stored cursor is malformed")

// parseKey reads what encode writes.
func parseKey(b []byte, parts int) (rowKey, error) {
	var k rowKey
	for len(b) > 0 {
		length, rest, ok := bytes.Cut(b, []byte(":"))
		n, err := strconv.Atoi(string(length))
		if !ok || err != nil || n < 0 || n > len(rest) {
			return nil, errCursor
		}
		k, b = append(k, rest[:n]), rest[n:]
	}
	if len(k) != parts {
		return nil, errCursor
	}
	return k, nil
}
