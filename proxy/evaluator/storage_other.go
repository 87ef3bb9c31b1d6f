//go:build !linux

package evaluator

import "fmt"

// memoryBacked says why a directory is not on storage that lives in memory only.
func memoryBacked(dir string) error {
	return fmt.Errorf("%s: the evaluator needs memory-backed storage, which is known on Linux only", dir)
}
