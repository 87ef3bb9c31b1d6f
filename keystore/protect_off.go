//go:build !goexperiment.runtimesecret

package keystore

// protect runs f, which handles key bytes. Built with
// GOEXPERIMENT=runtimesecret, the registers, the stack and, once unreachable,
// the heap memory that f used are erased. This build has only the wiping that
// the code does itself, which does not reach the expanded keys inside the
// standard library's ciphers.
func protect(f func()) { f() }
