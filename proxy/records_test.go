package proxy

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"

	"latchkey/internal/testcert"
)

// offered keeps every buffer that the TLS layer reads into.
type offered struct {
	net.Conn
	buffers map[*byte][]byte
}

func (o *offered) Read(b []byte) (int, error) {
	b = b[:cap(b)]
	if known := o.buffers[&b[len(b)-1]]; len(b) > len(known) {
		o.buffers[&b[len(b)-1]] = b
	}
	return o.Conn.Read(b)
}

// TestRecordsAreWiped sends records of many sizes, whole, in pieces and several at once, and looks for their plaintext in
// every buffer that the TLS layer has used: it is there without a recordConn, and with one it is gone when all was read.
func TestRecordsAreWiped(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, wiped := range []bool{false, true} {
			left := plaintextLeft(t, version, wiped)
			if wiped && left > 0 || !wiped && left == 0 {
				t.Errorf("%s, wiped %t: plaintext stands in %d buffers", tls.VersionName(version), wiped, left)
			}
		}
	}
}

func plaintextLeft(t *testing.T, version uint16, wiped bool) int {
	pair, err := testcert.New(t).Issue("proxy", "127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	const mark = "remarkable secret "
	sizes := []int{1, 2, 700, 3, 16384, 10, 5000, 16000, 1}
	total := 0
	for _, n := range sizes {
		total += n * len(mark)
	}
	sent := make(chan error, 1)
	go func() {
		c, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			sent <- err
			return
		}
		defer c.Close()
		client := tls.Client(&slowly{Conn: c}, &tls.Config{InsecureSkipVerify: true, MaxVersion: version})
		for _, n := range sizes {
			if _, err = client.Write([]byte(strings.Repeat(mark, n))); err != nil {
				break
			}
		}
		// Closed without a word, as by a client that is killed.
		sent <- err
	}()
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	buffers := map[*byte][]byte{}
	records := &recordConn{Conn: &offered{c, buffers}}
	var under net.Conn = records
	if !wiped {
		under = records.Conn
	}
	server := tls.Server(under, &tls.Config{Certificates: []tls.Certificate{pair.TLS}})
	n, err := io.Copy(io.Discard, server)
	if int(n) != total {
		t.Fatalf("%d bytes of %d arrived: %v", n, total, err)
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if wiped {
		records.wipe()
	}
	left := 0
	for _, b := range buffers {
		if bytes.Contains(b, []byte(mark)) {
			left++
		}
	}
	return left
}

// slowly writes in pieces that do not end where records do.
type slowly struct{ net.Conn }

func (s *slowly) Write(b []byte) (int, error) {
	for at := 0; at < len(b); {
		n, err := s.Conn.Write(b[at:min(len(b), at+3001)])
		if err != nil {
			return at, err
		}
		at += n
	}
	return len(b), nil
}
