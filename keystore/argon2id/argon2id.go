// Package argon2id is Argon2id (RFC 9106, version 0x13) that leaves nothing of
// the password in memory.
//
// golang.org/x/crypto/argon2 does the work on the memory, with its assembly, and
// gives no way to overwrite what it has used: the password would stay in the
// buffer of a hash, and what guesses could be checked against without the work
// in others. So the ends are done here, and the middle there: the first hash,
// the first blocks, and the key from the last ones. The memory is mapped for one
// call and unmapped behind it, so that it is gone from the process at once.
//
// It never keeps or logs anything, and bounds nothing: the caller checks the
// parameters.
package argon2id

import (
	"encoding/binary"
	"hash"

	"golang.org/x/crypto/argon2"
	"golang.org/x/crypto/blake2b"

	"latchkey/keystore/cell"
)

// Figures of RFC 9106, section 3.2.
const (
	blockSize  = 1024
	syncPoints = 4
	typeID     = 2
)

// block is the block of package argon2.
type block [blockSize / 8]uint64

// Key returns size bytes, at most 64, made of a password. time is at least 1, threads at least 1; memory is in KiB and is
// raised to 8 KiB for each thread. The caller keeps password and salt. The error is that of memory that cannot be had.
func Key(password, salt []byte, time, memory uint32, threads uint8, size int) ([]byte, error) {
	lanes := uint32(threads)
	var h0 [blake2b.Size + 8]byte
	defer clear(h0[:])
	first(&h0, password, salt, time, memory, lanes, size)

	memory = max(memory/(syncPoints*lanes), 2) * syncPoints * lanes
	blocks, release, err := allocate(int(memory))
	if err != nil {
		return nil, err
	}
	defer release()
	fill(blocks, &h0, memory/lanes, lanes)
	processBlocks(blocks, time, memory, lanes, typeID)
	return extract(blocks, memory/lanes, lanes, size), nil
}

// first writes H0, the hash of all inputs, in front of h0. RFC 9106, section 3.2, step 1.
func first(h0 *[blake2b.Size + 8]byte, password, salt []byte, time, memory, lanes uint32, size int) {
	h := newHash(blake2b.Size)
	defer cell.Erase(h)
	for _, n := range []uint32{lanes, uint32(size), memory, time, argon2.Version, typeID} {
		writeNumber(h, n)
	}
	for _, b := range [][]byte{password, salt, nil, nil} { // neither secret nor associated data
		writeNumber(h, uint32(len(b)))
		h.Write(b)
	}
	h.Sum(h0[:0])
}

// fill computes the first two blocks of every lane. RFC 9106, section 3.2, steps 3 and 4.
func fill(blocks []block, h0 *[blake2b.Size + 8]byte, length, lanes uint32) {
	var b [blockSize]byte
	defer clear(b[:])
	for lane := range lanes {
		for i := range uint32(2) {
			binary.LittleEndian.PutUint32(h0[blake2b.Size:], i)
			binary.LittleEndian.PutUint32(h0[blake2b.Size+4:], lane)
			long(b[:], h0[:])
			for k := range blocks[0] {
				blocks[lane*length+i][k] = binary.LittleEndian.Uint64(b[8*k:])
			}
		}
	}
}

// extract makes the key of the last blocks of all lanes. RFC 9106, section 3.2, steps 7 and 8.
func extract(blocks []block, length, lanes uint32, size int) []byte {
	var last block
	var b [blockSize]byte
	defer func() {
		clear(last[:])
		clear(b[:])
	}()
	for lane := range lanes {
		for k, v := range blocks[(lane+1)*length-1] {
			last[k] ^= v
		}
	}
	for k, v := range last {
		binary.LittleEndian.PutUint64(b[8*k:], v)
	}
	key := make([]byte, size)
	long(key, b[:])
	return key
}

// long is the hash of variable length, H'. RFC 9106, section 3.3.
func long(out, in []byte) {
	h := newHash(min(len(out), blake2b.Size))
	defer cell.Erase(h)
	writeNumber(h, uint32(len(out)))
	h.Write(in)
	for len(out) > blake2b.Size {
		var v [blake2b.Size]byte
		h.Sum(v[:0])
		out = out[copy(out, v[:blake2b.Size/2]):]
		cell.Erase(h)
		h = newHash(min(len(out), blake2b.Size))
		h.Write(v[:])
		clear(v[:])
	}
	h.Sum(out[:0])
	cell.Erase(h)
}

func newHash(size int) hash.Hash {
	h, err := blake2b.New(size, nil)
	if err != nil {
		panic("internal error: argon2id: a hash of no possible length")
	}
	return h
}

func writeNumber(h hash.Hash, n uint32) {
	var b [4]byte
	binary.LittleEndian.PutUint32(b[:], n)
	h.Write(b[:])
}
