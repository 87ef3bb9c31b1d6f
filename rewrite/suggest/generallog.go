package suggest

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"regexp"
	"strconv"
	"strings"
)

const (
	// maxEntry is how many bytes of one entry are kept; the rest of a longer one is read and dropped.
	maxEntry = 1 << 20
	// maxThreads is of how many connections the current database is remembered.
	maxThreads = 1 << 14
)

// Entry is one entry of a general log.
type Entry struct {
	// Thread is the number of the connection.
	Thread uint64
	// Command is the server's name of the command: Query, Execute, Init DB.
	Command string
	// Argument is the statement's text. It belongs to the reader until the next call of Next.
	Argument []byte
	// Cut says that the argument was longer than 1 MiB and that the rest is missing.
	Cut bool
}

// LogReader reads the general log of MariaDB (log_output=FILE): an entry is a line with a time or two tabs, the number of the
// connection, the command and the argument, whose own line ends stand in it as they are. A line of a statement that has the
// form of an entry cannot be told from one.
// https://mariadb.com/kb/en/general-query-log/
type LogReader struct {
	r *bufio.Reader
	// next is the first line of the entry to come; nil before the first one and at the end.
	next  *Entry
	entry []byte
	line  []byte
	// cut says that the line at hand was longer than what is kept of it.
	cut bool
	err error
}

// NewLogReader reads a log from r.
func NewLogReader(r io.Reader) *LogReader {
	return &LogReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// entryLine is the first line of an entry.
var entryLine = regexp.MustCompile(`^(?:\d{6} [ \d]\d:\d\d:\d\d\t|\t\t) *(\d{1,19}) (` + strings.Join([]string{
	"Sleep", "Quit", "Init DB", "Query", "Field List", "Create DB", "Drop DB", "Refresh", "Shutdown", "Statistics", "Processlist",
	"Connect", "Kill", "Debug", "Ping", "Time", "Delayed insert", "Change user", "Binlog Dump", "Table Dump", "Connect Out",
	"Register Slave", "Prepare", "Execute", "Long Data", "Close stmt", "Reset stmt", "Set option", "Fetch", "Daemon", "Reset connection",
	"Bulk execute", "Slave_worker", "Slave_IO", "Slave_SQL",
}, "|") + `)\t`)

// headLines begin with each start of the server, between the entries.
var headLines = regexp.MustCompile(`^(?:[^\t]*, Version: [^\t]*\. started with:|T[Cc][Pp] port: \d+ .*|Time\t\t    Id Command\tArgument)$`)

// Next gives the next entry. At the end the error is io.EOF.
func (l *LogReader) Next() (Entry, error) {
	for l.next == nil {
		if !l.readLine() {
			return Entry{}, l.end()
		}
		l.begin()
	}
	e := *l.next
	l.next = nil
	l.entry = append(l.entry[:0], e.Argument...)
	for inside := true; l.readLine(); {
		if l.begin(); l.next != nil {
			break
		}
		inside = inside && !headLines.Match(bytes.TrimRight(l.line, "\r\n"))
		switch room := maxEntry - len(l.entry); {
		case !inside:
		case l.cut || len(l.line) > room:
			l.entry = append(l.entry, l.line[:min(room, len(l.line))]...)
			e.Cut = true
		default:
			l.entry = append(l.entry, l.line...)
		}
	}
	e.Argument = bytes.TrimSuffix(l.entry, []byte("\n"))
	return e, nil
}

func (l *LogReader) end() error {
	if l.err == nil || errors.Is(l.err, io.EOF) {
		return io.EOF
	}
	return l.err
}

// begin sets next if the line at hand is the first of an entry. Its argument refers to the line.
func (l *LogReader) begin() {
	m := entryLine.FindSubmatchIndex(l.line)
	if m == nil {
		return
	}
	thread, err := strconv.ParseUint(string(l.line[m[2]:m[3]]), 10, 64)
	if err != nil {
		return
	}
	l.next = &Entry{Thread: thread, Command: string(l.line[m[4]:m[5]]), Argument: l.line[m[1]:], Cut: l.cut}
}

// readLine reads one line with its end into line, of which at most maxEntry bytes are kept. It tells whether there was one.
func (l *LogReader) readLine() bool {
	l.line, l.cut = l.line[:0], false
	for l.err == nil {
		var part []byte
		part, l.err = l.r.ReadSlice('\n')
		if room := maxEntry - len(l.line); len(part) > room {
			part, l.cut = part[:room], true
		}
		l.line = append(l.line, part...)
		if !errors.Is(l.err, bufio.ErrBufferFull) {
			break
		}
		l.err = nil
	}
	return len(l.line) > 0
}

// databases remembers the current database of each connection in a log.
type databases map[uint64]string

// follow notes what an entry that is no statement says of its connection's database.
func (d databases) follow(e *Entry) {
	switch e.Command {
	case "Connect", "Change user":
		// user@host on database using TCP/IP; CHANGE USER ends after the database.
		text := string(e.Argument)
		if i := strings.LastIndex(text, " using "); i >= 0 {
			text = text[:i]
		}
		if i := strings.LastIndex(text, " on "); i >= 0 {
			d.set(e.Thread, text[i+len(" on "):])
		}
	case "Init DB":
		d.set(e.Thread, string(e.Argument))
	case "Quit", "Reset connection":
		if e.Command == "Quit" {
			delete(d, e.Thread)
		}
	}
}

func (d databases) set(thread uint64, database string) {
	if _, known := d[thread]; !known && len(d) >= maxThreads {
		// Connections whose end the log does not have: what is forgotten is only not counted.
		clear(d)
	}
	d[thread] = strings.Clone(database)
}
