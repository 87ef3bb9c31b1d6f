package logical

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"testing"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/go-mysql-org/go-mysql/packet"

	"latchkey/internal/mariadbtest"
)

// systemZone is the time zone of the test server's machine, so that time_zone='SYSTEM' has summer time without the server's
// time zone tables.
const systemZone = "Europe/Berlin"

func TestMain(m *testing.M) {
	os.Setenv("TZ", systemZone)
	mariadbtest.Main(m)
}

// session is a raw connection to a real server in a database of its own.
type session struct {
	*client.Conn
	t     *testing.T
	setup []string
}

func newSession(t *testing.T, setup ...string) *session {
	t.Helper()
	server := mariadbtest.Shared(t)
	name := server.NewDatabase(t)
	conn, err := client.Connect(server.Addr(), "root", "", name)
	if err != nil {
		t.Fatalf("connect: %v", err)
	}
	t.Cleanup(func() { conn.Close() })
	s := &session{conn, t, setup}
	s.exec("SET NAMES utf8mb4", "SET sql_mode='STRICT_TRANS_TABLES'", "SET time_zone='SYSTEM'")
	s.exec(setup...)
	return s
}

func (s *session) exec(statements ...string) {
	s.t.Helper()
	for _, text := range statements {
		if _, err := s.Execute(text); err != nil {
			s.t.Fatalf("%.200s: %v", text, err)
		}
	}
}

// rows returns the raw text rows of a query with one column, nil for NULL.
func (s *session) rows(query string) [][]byte {
	s.t.Helper()
	result, err := s.Execute(query)
	if err != nil {
		s.t.Fatalf("%.200s: %v", query, err)
	}
	out := make([][]byte, len(result.RowDatas))
	for i, row := range result.RowDatas {
		value, null, _, err := mysql.LengthEncodedString(row)
		if err != nil {
			s.t.Fatalf("%.200s: row %d: %v", query, i, err)
		}
		if !null {
			out[i] = append([]byte{}, value...)
		}
	}
	return out
}

// binaryRows returns the raw binary values of a query with one column, with their length prefixes.
func (s *session) binaryRows(query string) [][]byte {
	s.t.Helper()
	result, err := s.Execute(query+" /* ? */ LIMIT ?", 1000000)
	if err != nil {
		s.t.Fatalf("%.200s: %v", query, err)
	}
	out := make([][]byte, len(result.RowDatas))
	for i, row := range result.RowDatas {
		if row[1] == 0 {
			out[i] = append([]byte{}, row[2:]...)
		}
	}
	return out
}

// wireParam is a parameter of COM_STMT_EXECUTE.
type wireParam struct {
	typ      byte
	unsigned bool
	raw      []byte // without a length
}

// packed returns the parameter as it goes over the wire.
func (p wireParam) packed() []byte {
	switch p.typ {
	case wireTiny, wireShort, wireLong, wireLongLong, wireInt24, wireFloat, wireDouble, wireYear:
		return p.raw
	case wireDate, wireDateTime, wireTimestamp, wireTime:
		return append([]byte{byte(len(p.raw))}, p.raw...)
	}
	return insertLength(append([]byte{}, p.raw...), 0)
}

// executeRaw executes a prepared statement with one parameter of any type and returns the server's warning count.
func (s *session) executeRaw(id uint32, p wireParam) (warnings int, err error) {
	s.ResetSequence()
	packet := []byte{0, 0, 0, 0, mysql.COM_STMT_EXECUTE}
	packet = binary.LittleEndian.AppendUint32(packet, id)
	packet = append(packet, 0, 1, 0, 0, 0, 0, 1, p.typ, byte(boolIndex(p.unsigned))<<7)
	packet = append(packet, p.packed()...)
	if err := s.WritePacket(packet); err != nil {
		return 0, err
	}
	reply, err := s.ReadPacket()
	if err != nil {
		return 0, err
	}
	switch reply[0] {
	case 0xFF:
		return 0, &mysql.MyError{Code: binary.LittleEndian.Uint16(reply[1:]), State: string(reply[4:9]), Message: string(reply[9:])}
	case 0:
		rest := reply[1:]
		for range 2 {
			_, _, n := mysql.LengthEncodedInt(rest)
			rest = rest[n:]
		}
		return int(binary.LittleEndian.Uint16(rest[2:])), nil
	}
	return 0, fmt.Errorf("unexpected reply %#x", reply[0])
}

// serverError returns the server's code and SQLSTATE, 0 for success.
func serverError(t *testing.T, err error) (uint16, string) {
	t.Helper()
	if err == nil {
		return 0, ""
	}
	var my *mysql.MyError
	if !errors.As(err, &my) {
		t.Fatalf("the connection broke: %v", err)
	}
	return my.Code, my.State
}

// quote writes a string literal for a session without NO_BACKSLASH_ESCAPES.
func quote(b []byte) string {
	var out strings.Builder
	out.WriteByte('\'')
	for _, c := range b {
		switch c {
		case 0:
			out.WriteString(`\0`)
		case '\'', '\\':
			out.WriteByte('\\')
			out.WriteByte(c)
		default:
			out.WriteByte(c)
		}
	}
	out.WriteByte('\'')
	return out.String()
}

// extendedMetadata runs statements of which the last has one result column, on a connection that asked for MariaDB's extended
// metadata, and returns the column's type name and format name.
func extendedMetadata(t *testing.T, addr, database string, statements ...string) (typeName, format string) {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	wire := packet.NewConn(conn)
	if _, err := wire.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	const extended = 1 << 3 // MARIADB_CLIENT_EXTENDED_METADATA, bit 35 of the capabilities
	capabilities := uint32(mysql.CLIENT_PROTOCOL_41 | mysql.CLIENT_SECURE_CONNECTION | mysql.CLIENT_PLUGIN_AUTH | mysql.CLIENT_CONNECT_WITH_DB)
	hello := binary.LittleEndian.AppendUint32(make([]byte, 4), capabilities)
	hello = binary.LittleEndian.AppendUint32(hello, 1<<24)
	hello = append(hello, 45)
	hello = append(hello, make([]byte, 19)...)
	hello = binary.LittleEndian.AppendUint32(hello, extended)
	hello = append(hello, "root\x00\x00"+database+"\x00mysql_native_password\x00"...)
	if err := wire.WritePacket(hello); err != nil {
		t.Fatal(err)
	}
	reply, err := wire.ReadPacket()
	if err != nil || reply[0] != 0 {
		t.Fatalf("login: %.80q (%v)", reply, err)
	}
	for _, text := range statements {
		wire.ResetSequence()
		if err := wire.WritePacket(append([]byte{0, 0, 0, 0, mysql.COM_QUERY}, text...)); err != nil {
			t.Fatal(err)
		}
		if reply, err = wire.ReadPacket(); err != nil || reply[0] == 0xFF {
			t.Fatalf("%s: %.80q (%v)", text, reply, err)
		}
	}
	if reply, err = wire.ReadPacket(); err != nil {
		t.Fatal(err)
	}
	next := func(b []byte) (value, rest []byte) {
		value, _, n, err := mysql.LengthEncodedString(b)
		if err != nil {
			t.Fatal(err)
		}
		return value, b[n:]
	}
	for range 6 {
		_, reply = next(reply)
	}
	info, _ := next(reply)
	for len(info) > 0 {
		kind := info[0]
		var value []byte
		value, info = next(info[1:])
		if kind == 0 {
			typeName = string(value)
		} else {
			format = string(value)
		}
	}
	return typeName, format
}
