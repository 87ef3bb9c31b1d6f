package argon2id

import (
	"fmt"
	"unsafe"

	"golang.org/x/sys/unix"
)

// allocate maps n blocks of zeros; release unmaps them, and with them what they hold.
func allocate(n int) (blocks []block, release func(), err error) {
	b, err := unix.Mmap(-1, 0, n*blockSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
	if err != nil {
		return nil, nil, fmt.Errorf("map %d KiB: %w", n, err)
	}
	_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // an eighth of the page faults, where there are such pages
	return unsafe.Slice((*block)(unsafe.Pointer(unsafe.SliceData(b))), n), func() { _ = unix.Munmap(b) }, nil
}
