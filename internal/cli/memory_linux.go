package cli

import (
	"fmt"
	"log/slog"

	"golang.org/x/sys/unix"
)

// guardMemory keeps the memory of the process, which holds keys, from others: no core dump, no debugger and no /proc/PID/mem
// of the same account, no swap space. What the system does not allow is logged.
func guardMemory(log *slog.Logger) {
	// The limit is the second line, and a sandbox may forbid to set it: it does not keep the kernel from a dump into a pipe.
	if err := unix.Setrlimit(unix.RLIMIT_CORE, &unix.Rlimit{}); err != nil {
		log.Debug("the limit of core dumps stays", "error", err)
	}
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		log.Warn("core dumps and other processes of this account can hold or read the keys of unlocked users", "error", err)
	}
	if err := lockMemory(); err != nil {
		log.Warn("memory is not locked: keys of unlocked users can reach swap space; "+
			"see Memory in docs/operations.md, or have no swap space that is not encrypted", "reason", err)
	}
}

// lockMemory locks all memory, each page once it is used. Go reserves far more addresses than it uses, and the kernel counts
// addresses against RLIMIT_MEMLOCK: under a limit an allocation would fail some day and end the process. So all is locked or
// nothing.
func lockMemory() error {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
		return fmt.Errorf("getrlimit: %w", err)
	}
	if limit.Cur != unix.RLIM_INFINITY && !mayLock() {
		return fmt.Errorf("the limit of locked memory is %d KiB and must be unlimited", limit.Cur>>10)
	}
	if err := unix.Mlockall(unix.MCL_CURRENT | unix.MCL_FUTURE | unix.MCL_ONFAULT); err != nil {
		return fmt.Errorf("mlockall: %w", err)
	}
	return nil
}

// mayLock tells whether the process has CAP_IPC_LOCK, for which there is no limit.
func mayLock() bool {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	return unix.Capget(&header, &data[0]) == nil && data[0].Effective&(1<<unix.CAP_IPC_LOCK) != 0
}
