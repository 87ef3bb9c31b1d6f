//go:build !linux

package cli

import "log/slog"

// guardMemory does nothing where the system has no such means.
func guardMemory(log *slog.Logger) {
	log.Warn("core dumps and swap space of this system may hold the keys of unlocked users")
}
