//go:build goexperiment.runtimesecret

package keystore

import "runtime/secret"

// protect runs f, which handles key bytes, and has the runtime erase the
// registers, the stack and, once unreachable, the heap memory that f used.
func protect(f func()) { secret.Do(f) }
