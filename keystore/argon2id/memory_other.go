//go:build !linux

package argon2id

// allocate makes n blocks of zeros; release overwrites them.
func allocate(n int) (blocks []block, release func(), err error) {
	blocks = make([]block, n)
	return blocks, func() { clear(blocks) }, nil
}
