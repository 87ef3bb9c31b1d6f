package suggest

import (
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
)

// readAll reads a whole log as lines of thread, command and argument.
func readAll(t testing.TB, r io.Reader) []string {
	t.Helper()
	log := NewLogReader(r)
	var all []string
	for {
		e, err := log.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		if len(e.Argument) > maxEntry {
			t.Fatalf("an entry of %d bytes", len(e.Argument))
		}
		line := fmt.Sprintf("%d %s %q", e.Thread, e.Command, e.Argument)
		if e.Cut {
			line = fmt.Sprintf("%d %s cut", e.Thread, e.Command)
		}
		all = append(all, line)
	}
}

const sampleLog = `/usr/sbin/mariadbd, Version: 10.11.19-MariaDB-log (Debian 12). started with:
Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock
Time		    Id Command	Argument
261122  6:53:53	     3 Connect	root@localhost on journal using TCP/IP
		     3 Query	SELECT 1
FROM dual

WHERE 1
		     3 Init DB	other
261122 16:53:54	     4 Prepare	SELECT ?
		     4 Execute	SELECT 'a'
		     4 Close stmt	
/usr/sbin/mariadbd, Version: 10.11.19-MariaDB-log (Debian 12). started with:
Tcp port: 3306  Unix socket: /run/mysqld/mysqld.sock
Time		    Id Command	Argument
		     3 Quit	
`

func TestLogReader(t *testing.T) {
	want := []string{
		`3 Connect "root@localhost on journal using TCP/IP"`, `3 Query "SELECT 1\nFROM dual\n\nWHERE 1"`, `3 Init DB "other"`,
		`4 Prepare "SELECT ?"`, `4 Execute "SELECT 'a'"`, `4 Close stmt ""`, `3 Quit ""`,
	}
	if got := readAll(t, strings.NewReader(sampleLog)); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := readAll(t, iotest.OneByteReader(strings.NewReader(sampleLog))); !reflect.DeepEqual(got, want) {
		t.Errorf("byte by byte: %q", got)
	}
}

func TestLogReaderBounds(t *testing.T) {
	for name, text := range map[string]string{
		"one line":   "\t\t 1 Query\tSELECT '" + strings.Repeat("x", 3*maxEntry) + "'\n\t\t 2 Quit\t\n",
		"many lines": "\t\t 1 Query\tSELECT '" + strings.Repeat("x\n", 2*maxEntry) + "'\n\t\t 2 Quit\t\n",
	} {
		if got, want := readAll(t, strings.NewReader(text)), []string{"1 Query cut", `2 Quit ""`}; !reflect.DeepEqual(got, want) {
			t.Errorf("%s: got %.200q, want %q", name, got, want)
		}
	}
	log := NewLogReader(io.MultiReader(strings.NewReader("\t\t 1 Query\tSELECT 1\n"), iotest.ErrReader(errors.New("broken disk"))))
	if _, err := log.Next(); err != nil {
		t.Errorf("the entry before the fault: %v", err)
	}
	if _, err := log.Next(); err == nil || errors.Is(err, io.EOF) {
		t.Errorf("a fault of the reader gives %v", err)
	}
}

func TestDatabasesAreBounded(t *testing.T) {
	d := make(databases)
	for i := range uint64(3 * maxThreads) {
		d.follow(&Entry{Thread: i, Command: "Init DB", Argument: []byte("journal")})
	}
	if len(d) > maxThreads {
		t.Errorf("%d connections are remembered, at most %d should be", len(d), maxThreads)
	}
	for argument, want := range map[string]string{
		"root@localhost on journal using TCP/IP": "journal", "root@localhost on  using Socket": "", "a on b@host on my db using SSL/TLS": "my db", "app@host on other": "other",
	} {
		d.follow(&Entry{Thread: 1, Command: "Connect", Argument: []byte(argument)})
		if d[1] != want {
			t.Errorf("%s: %q, want %q", argument, d[1], want)
		}
	}
	d.follow(&Entry{Thread: 1, Command: "Quit"})
	if _, known := d[1]; known {
		t.Error("a connection that quit is remembered")
	}
}

func FuzzLogReader(f *testing.F) {
	f.Add([]byte(sampleLog))
	f.Add([]byte("\t\t99999999999999999999 Query\tx\n261122 6:53:53\t 1 Query"))
	f.Fuzz(func(t *testing.T, text []byte) {
		total := 0
		for _, line := range readAll(t, strings.NewReader(string(text))) {
			total += len(line)
		}
		// Quoted, a byte has up to four.
		if total > 5*len(text)+100 {
			t.Errorf("%d bytes gave %d", len(text), total)
		}
	})
}
