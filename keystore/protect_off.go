//go:build !goexperiment.runtimesecret

package keystore

// protectedStack is how much stack f may use in protect, in bytes. X25519, HMAC, AES-GCM and Argon2id use less than 4 KiB. A
// stack of 16 KiB, into which this fits, is the largest that the runtime keeps ready.
const protectedStack = 8 << 10

// protect runs f, which handles key bytes, on a stack of its own that is overwritten afterwards: what callees keep in their
// frames stays there until something else happens to be written over it. What f puts on the heap it has to overwrite
// itself.
//
// Built with GOEXPERIMENT=runtimesecret, the runtime does the same, also for registers and for a stack that the garbage
// collector moves in between.
func protect(f func()) {
	failed := make(chan any)
	go func() {
		defer func() { failed <- recover() }()
		// The stack grows now, so that it is not moved, and a copy left behind, while f runs.
		overwriteStack(0)
		defer overwriteStack(0)
		f()
	}()
	if v := <-failed; v != nil {
		panic(v)
	}
}

// overwriteStack writes zeros over the stack below its caller. The result keeps the compiler from leaving the frame out.
//
//go:noinline
func overwriteStack(i int) byte {
	var frame [protectedStack]byte
	return frame[i]
}
