package mariadbserver

import "syscall"

// childAttributes gives the server its own process group, so that Ctrl-C in a
// terminal reaches only us and we stop it in order, and ties its life to ours.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
