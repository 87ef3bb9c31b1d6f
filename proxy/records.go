package proxy

import "net"

// recordConn is the connection below a TLS layer. That layer decrypts records where it had them read to, and leaves the
// plaintext there when it is done: passwords and keys too. recordConn overwrites it.
//
// A TLS layer asks for more bytes only when everything that it has decrypted was taken, so what is in the memory that it
// offers to a Read is left over. One goroutine reads and calls wipe.
type recordConn struct {
	net.Conn
	// held is the memory that was offered last, as far to the front as is known, and used is how much of it may hold
	// plaintext.
	held []byte
	used int
}

// Read implements net.Conn. It uses all of b as scratch space, as io.Reader allows.
func (c *recordConn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return c.Conn.Read(b)
	}
	switch ahead := c.ahead(b); {
	case ahead < 0:
		// Another buffer took the place of that one.
		c.wipe()
		c.held = b[:cap(b)]
	case ahead > 0:
		// What is in front of b is yet to be decrypted, and stays until b begins further in front.
		clear(b[:max(0, min(c.used-ahead, len(b)))])
	default:
		clear(b[:min(c.used, len(b))])
		c.used = 0
	}
	n, err := c.Conn.Read(b)
	c.used = max(c.used, c.ahead(b)+n)
	return n, err
}

// ahead returns how many bytes of held lie in front of b, and -1 when b is not a part of it. A b that begins in front of held
// becomes held.
func (c *recordConn) ahead(b []byte) int {
	b = b[:cap(b)]
	if len(c.held) == 0 || &b[len(b)-1] != &c.held[len(c.held)-1] {
		return -1
	}
	if more := len(b) - len(c.held); more > 0 {
		c.held, c.used = b, c.used+more
	}
	return len(c.held) - len(b)
}

// wipe overwrites what is left of the plaintext.
func (c *recordConn) wipe() {
	clear(c.held)
	c.held, c.used = nil, 0
}
