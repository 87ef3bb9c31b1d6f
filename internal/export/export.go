// Package export writes tables into files of their own, as CSV or JSON, so that every value can be had back exactly: a value is text as
// MariaDB writes it, bytes are base64, and NULL is told from the empty text. It writes a file only where none is, readable by its owner
// alone, and knows nothing of databases and keys.
package export

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"unicode/utf8"
)

// Format is that of the files.
type Format string

// The formats.
const (
	CSV  Format = "csv"  // RFC 4180: every value in quotes, NULL without
	JSON Format = "json" // an array of objects, every value a string or null
)

// Column is one column of a table.
type Column struct {
	Name string `json:"name"`
	// Type is the declared type.
	Type string `json:"type"`
	// Binary values are written as base64.
	Binary bool `json:"base64,omitempty"`
}

// Table is one file of an export.
type Table struct {
	Database string   `json:"database"`
	Table    string   `json:"table"`
	File     string   `json:"file"`
	Rows     int      `json:"rows"`
	Columns  []Column `json:"columns"`
}

// Manifest says what an export has. It is written last: a directory without it is not a whole export.
type Manifest struct {
	Owner  string `json:"owner"`
	Format Format `json:"format"`
	// Time is when the data was as it is in the files, in RFC 3339.
	Time   string  `json:"time"`
	Tables []Table `json:"tables"`
	// LeftOut are the tables of the policy that are not in it, each with the reason.
	LeftOut []string `json:"left_out"`
}

// manifestFile is the name of the manifest.
const manifestFile = "export.json"

// Dir is the directory that an export is written into.
type Dir struct {
	path   string
	format Format
	made   bool
	files  []string
}

// Create makes the directory, readable by its owner alone, unless it is there already.
func Create(path string, format Format) (*Dir, error) {
	d := &Dir{path: path, format: format}
	switch err := os.Mkdir(path, 0o700); {
	case err == nil:
		d.made = true
	case !errors.Is(err, os.ErrExist):
		return nil, err
	}
	return d, nil
}

// Discard removes what was written: half an export is none.
func (d *Dir) Discard() error {
	var problems []error
	for _, file := range d.files {
		problems = append(problems, os.Remove(file))
	}
	if d.made {
		problems = append(problems, os.Remove(d.path))
	}
	return errors.Join(problems...)
}

// create makes a new file in the directory.
func (d *Dir) create(name string) (*os.File, error) {
	path := filepath.Join(d.path, name)
	file, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err == nil {
		d.files = append(d.files, path)
	}
	return file, err
}

// Finish writes the manifest.
func (d *Dir) Finish(m Manifest) error {
	file, err := d.create(manifestFile)
	if err != nil {
		return err
	}
	out := json.NewEncoder(file)
	out.SetIndent("", " ")
	out.SetEscapeHTML(false)
	return errors.Join(out.Encode(m), file.Sync(), file.Close())
}

// Writer writes one table.
type Writer struct {
	table  Table
	format Format
	file   *os.File
	out    *bufio.Writer
	err    error
	names  []string // of the columns, as JSON
}

// NewTable begins the file of a table.
func (d *Dir) NewTable(database, table string, columns []Column) (*Writer, error) {
	name := fileName(database) + "." + fileName(table) + "." + string(d.format)
	file, err := d.create(name)
	if err != nil {
		return nil, err
	}
	w := &Writer{table: Table{Database: database, Table: table, File: name, Columns: columns}, format: d.format, file: file, out: bufio.NewWriter(file)}
	if d.format == JSON {
		for _, c := range columns {
			w.names = append(w.names, jsonText(c.Name))
		}
		w.text("[")
		return w, w.err
	}
	for i, c := range columns {
		if i > 0 {
			w.text(",")
		}
		w.quoted(c.Name)
	}
	w.text("\r\n")
	return w, w.err
}

// fileName keeps letters, digits, underscores and dashes and writes all other bytes as %XX, so that no name leads out of the
// directory and no two names are one.
func fileName(name string) string {
	var b strings.Builder
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-':
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// Row writes one row; a nil value is NULL. Text that is not UTF-8 is an error: only binary columns may hold it.
func (w *Writer) Row(values [][]byte) error {
	if w.err == nil && len(values) != len(w.table.Columns) {
		w.err = fmt.Errorf("a row of %d values for %d columns", len(values), len(w.table.Columns))
	}
	for i := range w.table.Columns {
		if c := &w.table.Columns[i]; w.err == nil && !c.Binary && !utf8.Valid(values[i]) {
			w.err = fmt.Errorf("column %s holds text that is not UTF-8", c.Name)
		}
	}
	if w.err != nil {
		return w.err
	}
	if w.format == JSON {
		w.object(values)
	} else {
		w.line(values)
	}
	w.table.Rows++
	return w.err
}

func (w *Writer) line(values [][]byte) {
	for i, v := range values {
		if i > 0 {
			w.text(",")
		}
		if v != nil {
			w.quoted(w.value(i, v))
		}
	}
	w.text("\r\n")
}

func (w *Writer) object(values [][]byte) {
	if w.table.Rows > 0 {
		w.text(",")
	}
	w.text("\n{")
	for i, v := range values {
		if i > 0 {
			w.text(", ")
		}
		w.text(w.names[i] + ": ")
		if v == nil {
			w.text("null")
		} else {
			w.text(jsonText(w.value(i, v)))
		}
	}
	w.text("}")
}

func (w *Writer) value(i int, v []byte) string {
	if w.table.Columns[i].Binary {
		return base64.StdEncoding.EncodeToString(v)
	}
	return string(v)
}

func (w *Writer) quoted(text string) { w.text(`"` + strings.ReplaceAll(text, `"`, `""`) + `"`) }

func (w *Writer) text(s string) {
	if w.err == nil {
		_, w.err = w.out.WriteString(s)
	}
}

func jsonText(text string) string {
	var b strings.Builder
	out := json.NewEncoder(&b)
	out.SetEscapeHTML(false)
	_ = out.Encode(text) // a string always can be
	return strings.TrimSuffix(b.String(), "\n")
}

// Close ends the file and says what is in it.
func (w *Writer) Close() (Table, error) {
	if w.format == JSON {
		w.text("\n]\n")
	}
	if w.err == nil {
		w.err = w.out.Flush()
	}
	return w.table, errors.Join(w.err, w.file.Sync(), w.file.Close())
}
