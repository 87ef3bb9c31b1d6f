package mariadbserver

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

func TestFind(t *testing.T) {
	t.Run("prefers the environment variable", func(t *testing.T) {
		program := filepath.Join(t.TempDir(), "mariadbd")
		if err := os.WriteFile(program, nil, 0o700); err != nil {
			t.Fatal(err)
		}
		t.Setenv(EnvBinary, program)
		if got, err := Find(); got != program || err != nil {
			t.Errorf("Find() = %s, %v; want %s", got, err, program)
		}
	})
	t.Run("does not fall back from a wrong one", func(t *testing.T) {
		t.Setenv(EnvBinary, t.TempDir())
		if got, err := Find(); err == nil {
			t.Errorf("Find() = %s, want an error", got)
		}
	})
	t.Run("says how to install", func(t *testing.T) {
		t.Setenv(EnvBinary, "")
		t.Setenv("PATH", t.TempDir())
		dirs := systemDirs
		systemDirs = nil
		defer func() { systemDirs = dirs }()
		_, err := Find()
		if !errors.Is(err, ErrNotInstalled) || !strings.Contains(err.Error(), "apt-get install") {
			t.Errorf("Find() = %v, want %v", err, ErrNotInstalled)
		}
	})
}

func TestAnotherServerProgramIsRefused(t *testing.T) {
	program := filepath.Join(t.TempDir(), "mysqld")
	if err := os.WriteFile(program, []byte("#!/bin/sh\necho mysqld Ver 8.0\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	_, err := Start(t.Context(), Config{Binary: program})
	if err == nil || !strings.Contains(err.Error(), "is not a MariaDB server") {
		t.Errorf("Start = %v, want a refusal", err)
	}
}

func TestATakenPortIsRecognised(t *testing.T) {
	s, err := Start(t.Context(), Config{TempDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := s.halt(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	other, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(t.Context()); !errors.Is(err, errPortTaken) {
		t.Errorf("Restart = %v, want %v", err, errPortTaken)
	}
	other.Close()
	if err := s.Restart(t.Context()); err != nil {
		t.Errorf("Restart after the port was freed = %v", err)
	}
}

func TestAFailedStartLeavesNothingAndSaysWhy(t *testing.T) {
	dir := t.TempDir()
	_, err := Start(context.Background(), Config{TempDir: dir, Args: []string{"--no-such-option"}})
	if err == nil || !strings.Contains(err.Error(), "no-such-option") {
		t.Errorf("Start = %v, want the server's own reason", err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d entries are left in the directory", len(left))
	}
}

func TestACancelledStartLeavesNothing(t *testing.T) {
	dir := t.TempDir()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Start(ctx, Config{TempDir: dir}); !errors.Is(err, context.Canceled) {
		t.Errorf("Start = %v, want %v", err, context.Canceled)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("%d entries are left in the directory", len(left))
	}
}
