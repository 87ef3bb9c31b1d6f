package export

import (
	"bytes"
	"encoding/base64"
	"encoding/csv"
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var (
	columns = []Column{{Name: "id", Type: "int(11)"}, {Name: `na"me, x`, Type: "text"}, {Name: "photo", Type: "blob", Binary: true}}
	rows    = [][][]byte{
		{[]byte("1"), []byte("a \"quoted\", text\r\nwith <lines> & \u00fcmlauts"), {0, 0xff, '"', '\n'}},
		{[]byte("2"), []byte(""), {}},
		{[]byte("3"), nil, nil},
		{[]byte("4"), []byte("NULL"), []byte("x")},
	}
)

func write(t *testing.T, format Format) (dir, text string, table Table) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "out")
	d, err := Create(dir, format)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.NewTable("journal", "../en.tries", columns)
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range rows {
		if err := w.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if table, err = w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := d.Finish(Manifest{Owner: "7", Format: format, Tables: []Table{table}}); err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(filepath.Join(dir, "journal.%2E%2E%2Fen%2Etries."+string(format)))
	if err != nil {
		t.Fatal(err)
	}
	return dir, string(content), table
}

// TestCSV reads the file back with the standard library, and looks that NULL is told from the empty text.
func TestCSV(t *testing.T) {
	_, text, table := write(t, CSV)
	if table.Rows != len(rows) {
		t.Errorf("%d rows, want %d", table.Rows, len(rows))
	}
	got, err := csv.NewReader(strings.NewReader(text)).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	want := [][]string{{"id", `na"me, x`, "photo"}}
	for _, row := range rows {
		// The reader makes one line end of two bytes inside quotes.
		want = append(want, []string{string(row[0]), strings.ReplaceAll(string(row[1]), "\r\n", "\n"), base64.StdEncoding.EncodeToString(row[2])})
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	for _, line := range []string{"\r\n\"2\",\"\",\"\"\r\n", "\r\n\"3\",,\r\n", "with <lines>", "text\r\nwith"} {
		if !strings.Contains(text, line) {
			t.Errorf("no %q in %q", line, text)
		}
	}
}

func TestJSON(t *testing.T) {
	_, text, _ := write(t, JSON)
	var got []map[string]*string
	if err := json.Unmarshal([]byte(text), &got); err != nil {
		t.Fatalf("%v in %s", err, text)
	}
	if len(got) != len(rows) {
		t.Fatalf("%d rows, want %d", len(got), len(rows))
	}
	for i, row := range rows {
		for j, c := range columns {
			v := got[i][c.Name]
			if (v == nil) != (row[j] == nil) {
				t.Errorf("row %d, %s: NULL is %v, want %v", i, c.Name, v == nil, row[j] == nil)
				continue
			}
			if v == nil {
				continue
			}
			bytesOf := []byte(*v)
			if c.Binary {
				var err error
				if bytesOf, err = base64.StdEncoding.DecodeString(*v); err != nil {
					t.Error(err)
				}
			}
			if !bytes.Equal(bytesOf, row[j]) {
				t.Errorf("row %d, %s: got %q, want %q", i, c.Name, bytesOf, row[j])
			}
		}
	}
}

func TestFilesAreNew(t *testing.T) {
	dir, _, _ := write(t, CSV)
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		t.Fatalf("%d files, %v", len(entries), err)
	}
	for _, e := range entries {
		if info, err := e.Info(); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: mode %v, %v", e.Name(), info.Mode(), err)
		}
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the directory: %v, %v", info.Mode(), err)
	}
	d, err := Create(dir, CSV)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := d.NewTable("journal", "../en.tries", columns); !os.IsExist(err) {
		t.Errorf("over a file that is there: %v", err)
	}
	if err := d.Finish(Manifest{}); !os.IsExist(err) {
		t.Errorf("over a manifest that is there: %v", err)
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
	if entries, _ := os.ReadDir(dir); len(entries) != 2 {
		t.Errorf("Discard removed files of another export: %d are left", len(entries))
	}
}

func TestDiscard(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "out")
	d, err := Create(dir, JSON)
	if err != nil {
		t.Fatal(err)
	}
	w, err := d.NewTable("a", "b", columns)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Row([][]byte{[]byte("1"), {0xff}, nil}); err == nil {
		t.Error("text that is not UTF-8 is written")
	}
	if err := w.Row([][]byte{[]byte("1")}); err == nil {
		t.Error("a row that is too short is written")
	}
	if _, err := w.Close(); err == nil {
		t.Error("Close forgets the error")
	}
	if err := d.Discard(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("the directory is still there: %v", err)
	}
}
