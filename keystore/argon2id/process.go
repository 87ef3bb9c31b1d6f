package argon2id

import _ "unsafe" // for go:linkname

// processBlocks fills the memory. mode is the type of RFC 9106. The version of golang.org/x/crypto is pinned, and the tests
// hold every result against that of argon2.IDKey.
//
//go:linkname processBlocks golang.org/x/crypto/argon2.processBlocks
func processBlocks(blocks []block, time, memory, threads uint32, mode int)
