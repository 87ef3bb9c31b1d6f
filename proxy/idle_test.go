package proxy

import (
	"strings"
	"testing"
	"time"

	"latchkey/proxy/wire"
)

// TestShrink follows memory that a large statement needed: it stays while requests come, and goes when the session idles.
func TestShrink(t *testing.T) {
	x := &executor{}
	x.scratch.out, x.scratch.cell = make([]byte, restSize), make([]byte, 2*restSize)
	x.scratch.bound = make([]wire.Param, restSize)
	x.scratch.request = make([]byte, 2*busySize)
	x.rest()
	if !x.fat || x.scratch.out == nil || x.scratch.cell == nil || x.scratch.bound != nil || x.scratch.request != nil {
		t.Errorf("between requests: fat %v, kept %d, %d, %d and %d", x.fat, len(x.scratch.out), len(x.scratch.cell), len(x.scratch.bound), len(x.scratch.request))
	}
	x.idle()
	if x.fat || x.scratch.out == nil || x.scratch.cell != nil {
		t.Errorf("idle: fat %v, kept %d and %d", x.fat, len(x.scratch.out), len(x.scratch.cell))
	}
}

// TestIdleSessionGoesOn lets a session idle long enough to give up memory, with a request on its way in two pieces.
func TestIdleSessionGoesOn(t *testing.T) {
	tw := newTwin(t, nil)
	c := loginRaw(t, tw.proxy.addr, tw.sealed, rawCaps)
	c.query(t, "SET @latchkey = '"+testKey(t, 'A')+"'")
	insert := "INSERT INTO entries (user_id, title, body) VALUES (1, 'long', 'b')" + strings.Repeat(", (1, 'long', 'body')", 2*restSize/20)
	want := textReplies(t, c.query(t, insert), rawCaps)
	for range 2 {
		request := com(wire.ComQuery, insert)
		n := len(request)
		packet := append([]byte{byte(n), byte(n >> 8), byte(n >> 16), 0}, request...)
		if _, err := c.socket.Write(packet[:n/2]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(idleAfter + idleAfter/4)
		if _, err := c.socket.Write(packet[n/2:]); err != nil {
			t.Fatal(err)
		}
		c.Seq = 1
		reply, _, err := c.reply(wire.ReplyQuery)
		if err != nil {
			t.Fatal(err)
		}
		if got := textReplies(t, reply, rawCaps); len(got) != 1 || got[0] != want[0] || !strings.HasPrefix(got[0], "OK") {
			t.Errorf("after idling: %v, want %v", got, want)
		}
	}
}
