package evaluator

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"log/slog"
)

// start runs an evaluator for a test and waits for its first answer.
func start(t testing.TB, config Config) *Evaluator {
	t.Helper()
	var log bytes.Buffer
	config.Logger = slog.New(slog.NewTextHandler(&log, nil))
	e := New(config)
	e.Start(Settings{}, testZones)
	t.Cleanup(func() {
		e.Close()
		if t.Failed() {
			t.Log(log.String())
		}
	})
	c := acquire(t, e)
	c.Release()
	return e
}

func acquire(t testing.TB, e *Evaluator) *Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for {
		c, err := e.Acquire(ctx, BaseCaps)
		if err == nil {
			return c
		}
		if !errors.Is(err, ErrUnavailable) || ctx.Err() != nil {
			t.Fatalf("Acquire = %v, evaluator %+v", err, e.Status())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func run(t testing.TB, c *Conn, sql string) {
	t.Helper()
	if _, err := c.Exec(t.Context(), sql); err != nil {
		t.Fatalf("%s: %v", sql, explain(err))
	}
}

func query(t testing.TB, c *Conn, sql string) string {
	t.Helper()
	r, err := c.Query(t.Context(), sql)
	if err != nil {
		t.Fatalf("%s: %v", sql, explain(err))
	}
	var rows []string
	for _, row := range r.Rows {
		var values []string
		for _, v := range row {
			if v == nil {
				v = []byte("NULL")
			}
			values = append(values, string(v))
		}
		rows = append(rows, strings.Join(values, ","))
	}
	return strings.Join(rows, ";")
}

// explain adds the server's own text to an error.
func explain(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return err.Error() + ": " + e.Message
	}
	return err.Error()
}

func TestARowComesBackAsItWasLoaded(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	run(t, c, "CREATE DATABASE d")
	run(t, c, "CREATE TEMPORARY TABLE d.t (id INT, a VARCHAR(100) CHARACTER SET utf8mb4, b BLOB, l VARCHAR(100) CHARACTER SET latin1, bits BIT(16))")
	var all []byte
	for i := range 256 {
		all = append(all, byte(i), byte(255-i), byte(i), '\\', byte(i), '\t', byte(i))
	}
	run(t, c, "SET NAMES latin1")
	text := []byte("a\tb\\N\nc\r\x00 'd' \"e\" \xc3\xa4\xf0\x9f\x98\x80\\")
	l, err := c.Load(t.Context(), "d", "t", []string{"id", "a", "b", "l", "bits"})
	if err != nil {
		t.Fatal(explain(err))
	}
	for _, row := range [][][]byte{{[]byte("1"), text, all, []byte("\xc3\xa4"), {1, 2}}, {[]byte("2"), nil, {}, []byte("\\N"), nil}} {
		if err := l.Row(row); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(explain(err))
	}
	run(t, c, "SET NAMES utf8mb4")
	r, err := c.Query(t.Context(), "SELECT a, b, l, bits FROM d.t ORDER BY id")
	if err != nil {
		t.Fatal(explain(err))
	}
	want := [][][]byte{{text, all, []byte("\xc3\xa4"), {1, 2}}, {nil, {}, []byte("\\N"), nil}}
	for i, row := range want {
		for j, v := range row {
			if got := r.Rows[i][j]; !bytes.Equal(got, v) || (got == nil) != (v == nil) {
				t.Errorf("row %d column %d = %q, want %q", i, j, got, v)
			}
		}
	}
}

// TestLongRowsAreLoaded loads rows around and beyond max_allowed_packet, and more of them than may be under way.
func TestLongRowsAreLoaded(t *testing.T) {
	e := New(Config{})
	t.Cleanup(e.Close)
	const packet = 1 << 20
	e.Start(Settings{MaxAllowedPacket: packet}, testZones)
	c := acquire(t, e)
	defer c.Release()
	run(t, c, "CREATE DATABASE d")
	run(t, c, "CREATE TEMPORARY TABLE d.t (id INT, a LONGTEXT, b LONGBLOB) CHARACTER SET utf8mb4")
	l, err := c.Load(t.Context(), "d", "t", []string{"id", "a", "b"})
	if err != nil {
		t.Fatal(explain(err))
	}
	lengths := []int{0, 1, loadChunk - 1, loadChunk, loadChunk + 1, packet/2 - 1, packet / 2, packet - 1}
	for range 30 {
		lengths = append(lengths, 3*loadChunk/4)
	}
	for i, n := range lengths {
		row := [][]byte{strconv.AppendInt(nil, int64(i), 10), bytes.Repeat([]byte{'x'}, n), bytes.Repeat([]byte{0xff, 0}, n/2)}
		if i%3 == 2 {
			row[2] = nil
		}
		if err := l.Row(row); err != nil {
			t.Fatal(explain(err))
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(explain(err))
	}
	for i, n := range lengths {
		want := fmt.Sprintf("%d,%d", n, n/2*2)
		if i%3 == 2 {
			want = fmt.Sprintf("%d,NULL", n)
		}
		if got := query(t, c, fmt.Sprintf("SELECT LENGTH(a), LENGTH(b) FROM d.t WHERE id = %d AND a = REPEAT('x', LENGTH(a))", i)); got != want {
			t.Errorf("row %d: lengths %s, want %s", i, got, want)
		}
	}
}

// TestRowsThatDoNotFitAreAnError loads values that the server would have to bend, in the first request and in a later one.
func TestRowsThatDoNotFitAreAnError(t *testing.T) {
	e := start(t, Config{})
	for _, bad := range []int{0, 5000, 19999} {
		c := acquire(t, e)
		run(t, c, "CREATE DATABASE IF NOT EXISTS d")
		run(t, c, "SET sql_mode=''")
		run(t, c, "CREATE TEMPORARY TABLE d.t (a VARCHAR(40)) CHARACTER SET utf8mb4")
		l, err := c.Load(t.Context(), "d", "t", []string{"a"})
		if err != nil {
			t.Fatal(explain(err))
		}
		for i := 0; i < 20000 && err == nil; i++ {
			value := bytes.Repeat([]byte{'x'}, 40)
			if i == bad {
				value = append(value, 'x')
			}
			err = l.Row([][]byte{value})
		}
		if err == nil {
			err = l.Close()
		}
		if !errors.Is(err, ErrNotLoaded) {
			t.Errorf("row %d too long: %v, want %v", bad, err, ErrNotLoaded)
		}
		c.Release()
	}
	c := acquire(t, e)
	defer c.Release()
	if got := query(t, c, "SELECT 1"); got != "1" {
		t.Errorf("afterwards SELECT 1 = %s", got)
	}
}

func TestKillingTheServerCostsOneAnswer(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	run(t, c, "SELECT 1")
	dir := c.server.storage.dir
	if err := syscall.Kill(c.server.pid(), syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	<-c.server.exited
	if _, err := c.Exec(t.Context(), "SELECT 1"); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Exec on a server that was killed = %v, want %v", err, ErrUnavailable)
	}
	c.Release()
	c = acquire(t, e)
	defer c.Release()
	if got := query(t, c, "SELECT 1"); got != "1" {
		t.Errorf("after the restart SELECT 1 = %s", got)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%s is left: %v", filepath.Base(dir), err)
	}
}

func TestDescribe(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	run(t, c, "CREATE DATABASE d")
	run(t, c, "CREATE TABLE d.t (id INT PRIMARY KEY, amount DECIMAL(12,2))")
	d, err := c.Describe(t.Context(), []byte("SELECT SUM(amount) AS total FROM d.t WHERE id = ?"))
	if err != nil {
		t.Fatal(explain(err))
	}
	if d.Params != 1 || len(d.Columns) != 1 || string(d.Columns[0].Name) != "total" || d.Columns[0].Decimals != 2 {
		t.Errorf("Describe = %+v", d)
	}
	if got := query(t, c, "SELECT 1"); got != "1" {
		t.Errorf("SELECT 1 = %s", got)
	}
}

// testZones is a backend that knows one zone, an hour ahead of UTC.
func testZones(_ context.Context, table ZoneTable, add func(values [][]byte) error) error {
	rows := map[string][][]byte{
		"time_zone":                 {[]byte("1"), []byte("N")},
		"time_zone_name":            {[]byte("Nowhere/Here"), []byte("1")},
		"time_zone_transition_type": {[]byte("1"), []byte("0"), []byte("3600"), []byte("0"), []byte("HERE")},
	}
	if row := rows[table.Name]; row != nil {
		return add(row)
	}
	return nil
}

func TestTimeZonesAreTheBackends(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	if err := c.AwaitZones(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got, want := query(t, c, "SELECT CONVERT_TZ('2024-02-29 12:00:00', '+00:00', 'Nowhere/Here')"), "2024-02-29 13:00:00"; got != want {
		t.Errorf("CONVERT_TZ = %s, want %s", got, want)
	}
	run(t, c, "SET time_zone = 'Nowhere/Here'")
}

func TestOtherSettingsStartAnotherServer(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	first := c.server
	if got := query(t, c, "SELECT @@lower_case_table_names, @@collation_server"); got != "0,utf8mb4_general_ci" {
		t.Errorf("settings = %s", got)
	}
	c.Release()
	e.Start(Settings{LowerCaseTableNames: 1, Charset: "latin1", Collation: "latin1_german1_ci"}, nil)
	<-first.exited
	c = acquire(t, e)
	defer c.Release()
	if got := query(t, c, "SELECT @@lower_case_table_names, @@collation_server"); got != "1,latin1_german1_ci" {
		t.Errorf("settings = %s", got)
	}
}
