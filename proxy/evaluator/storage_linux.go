package evaluator

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// memoryBacked says why a directory is not on storage that lives in memory only.
func memoryBacked(dir string) error {
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	switch int64(fs.Type) {
	case unix.TMPFS_MAGIC, unix.RAMFS_MAGIC:
		return nil
	}
	return fmt.Errorf("%s is not memory-backed (tmpfs): plaintext must not reach a disk", dir)
}
