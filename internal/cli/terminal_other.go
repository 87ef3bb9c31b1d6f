//go:build !linux

package cli

import "io"

// isTerminal tells whether w is a terminal.
func isTerminal(io.Writer) bool { return false }
