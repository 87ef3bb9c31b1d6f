//go:build race

package proxy

import "syscall"

// The race detector takes bytes that go through a socket for synchronisation, as they are, only where package syscall moves
// them.

func receive(fd uintptr, b []byte) (int, syscall.Errno) { return called(syscall.Read(int(fd), b)) }

func transmit(fd uintptr, b []byte) (int, syscall.Errno) { return called(syscall.Write(int(fd), b)) }

func called(n int, err error) (int, syscall.Errno) {
	if err == nil {
		return n, 0
	}
	errno, ok := err.(syscall.Errno)
	if !ok {
		errno = syscall.EIO
	}
	return 0, errno
}
