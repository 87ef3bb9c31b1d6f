package cell

import (
	"encoding/binary"
	"sync"
)

// nullPart stands in place of the length of a bound value that is NULL, so that
// NULL and the empty value are told apart.
const nullPart = 0xFFFFFFFF

// AppendPart appends part to dst behind its length as 4 bytes big endian. Key
// derivation and associated data are made of such parts: a list of them is the
// only list that reads back the same, so no two lists give the same bytes.
func AppendPart(dst, part []byte) []byte {
	dst = binary.BigEndian.AppendUint32(dst, uint32(len(part)))
	return append(dst, part...)
}

// place is what a cell's associated data says about where the cell belongs,
// as parts.
type place []byte

func newPlace(realm, context string) place {
	p := make(place, 0, 8+len(realm)+len(context))
	p = AppendPart(p, []byte(realm))
	return AppendPart(p, []byte(context))
}

// associated returns the associated data of a cell: the bytes in front of its
// ciphertext, the place, and the bound values. The caller hands the buffer back
// with release.
func (p place) associated(header []byte, bound [][]byte) *[]byte {
	buf := associatedBuffers.Get().(*[]byte)
	b := append((*buf)[:0], header...)
	b = append(b, p...)
	for _, v := range bound {
		if v == nil {
			b = binary.BigEndian.AppendUint32(b, nullPart)
			continue
		}
		b = AppendPart(b, v)
	}
	*buf = b
	return buf
}

// associatedBuffers saves an allocation per cell: what is passed to a
// cipher.AEAD escapes to the heap. The buffers hold no key and no value of a
// protected column.
var associatedBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, 256)
	return &b
}}

// release hands a buffer back unless bound values made it unusually large.
func release(buf *[]byte) {
	if cap(*buf) <= 4096 {
		associatedBuffers.Put(buf)
	}
}
