//go:build !linux

package evaluator

import "syscall"

func childAttributes(*account) *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }

func forbidCore() error { return nil }
