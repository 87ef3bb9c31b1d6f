package evaluator

import (
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// childAttributes gives the server its own process group, so that Ctrl-C in a terminal reaches only the proxy, ties its life
// to the proxy's, and takes every right from it. The parent-death signal is set after the user has changed, which clears it.
func childAttributes(as *account) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if as != nil {
		attr.Credential = &syscall.Credential{Uid: as.uid, Gid: as.gid}
	}
	return attr
}

// forbidCore keeps this process and those it starts from leaving their memory in a file: both hold plaintext, and this one keys.
// The limit is 1 and not 0: a core_pattern that is a program gets the core of a process with the limit 0, and none with 1
// (core(5), fs/coredump.c). The child's limit cannot be set alone: it runs as another user.
func forbidCore() error {
	var limit unix.Rlimit
	err := unix.Getrlimit(unix.RLIMIT_CORE, &limit)
	if err == nil && limit.Cur > 1 {
		limit.Cur = min(limit.Max, 1)
		err = unix.Setrlimit(unix.RLIMIT_CORE, &limit)
	}
	if err != nil && coreForbidden() {
		// A service manager can have set the limit and taken the call away.
		return nil
	}
	return err
}

// coreForbidden reads the limit where that needs no right.
func coreForbidden() bool {
	text, err := os.ReadFile("/proc/self/limits")
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(text), "Max core file size")
	fields := strings.Fields(rest)
	return len(fields) > 0 && (fields[0] == "0" || fields[0] == "1")
}
