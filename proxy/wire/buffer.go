package wire

import (
	"math/bits"
	"sync"
)

// BufferSize is the size of a read or write buffer at rest. MariaDB writes its replies in chunks of
// 16 KB (net_buffer_length); larger buffers were measured to gain nothing.
const BufferSize = 16 << 10

// buffer is a pooled byte slice whose length is always its capacity.
type buffer struct{ b []byte }

// pools holds one pool for each power of two from BufferSize to 1 MiB. A larger buffer is rare enough
// to be left to the garbage collector.
var pools [7]sync.Pool

// newBuffer returns a buffer of at least n bytes. Its contents are whatever its last user left.
func newBuffer(n int) *buffer {
	class := bufferClass(n)
	if class >= len(pools) {
		return &buffer{make([]byte, n)}
	}
	if b, ok := pools[class].Get().(*buffer); ok {
		return b
	}
	return &buffer{make([]byte, BufferSize<<class)}
}

// release gives the buffer back. Neither it nor slices of it may be used afterwards.
func (b *buffer) release() {
	class := bufferClass(len(b.b))
	if class < len(pools) && len(b.b) == BufferSize<<class {
		pools[class].Put(b)
	}
}

// bufferClass is the smallest class whose buffers hold n bytes.
func bufferClass(n int) int {
	if n <= BufferSize {
		return 0
	}
	return bits.Len(uint(n-1) / BufferSize)
}
