// Package mariadbserver starts a private MariaDB server: its own directory, a
// free port of the loopback interface, nothing shared with a system service.
// It never signals a process it did not start and never touches a directory it
// did not make. A start copies a template data directory, initialised once per
// server binary and user, so that it takes well under a second.
// Options are those of https://mariadb.com/kb/en/mariadbd-options/.
package mariadbserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	// startAttempts bounds the retries after another process took the port
	// between its choice and the server's bind.
	startAttempts = 5
	startTimeout  = 60 * time.Second
	stopTimeout   = 30 * time.Second
	pollInterval  = 10 * time.Millisecond
)

// Config describes a server to start. The zero value is usable.
type Config struct {
	// Binary is the server program; empty means the one Find returns.
	Binary string
	// TempDir is where the server's directory is made; empty means os.TempDir.
	TempDir string
	// Args are appended to the server's command line, so they win over the
	// defaults (see Server.args), for example "--general-log=1".
	Args []string
}

// Server is a running private MariaDB. The account root@127.0.0.1 has no
// password and every privilege. Its methods may be called concurrently.
type Server struct {
	binary string
	dir    string
	port   int
	config []string

	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone; guards exitErr
	exitErr error

	stopOnce sync.Once
	stopErr  error
}

// Start starts a server and returns when it accepts connections. The caller
// must call Stop. A server whose parent dies is killed by the kernel (Linux).
func Start(ctx context.Context, config Config) (*Server, error) {
	binary := config.Binary
	if binary == "" {
		found, err := Find()
		if err != nil {
			return nil, err
		}
		binary = found
	}
	template, err := templateDir(ctx, binary)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(config.TempDir, "latchkey-mariadb-")
	if err != nil {
		return nil, err
	}
	s := &Server{binary: binary, dir: dir, config: config.Args}
	if err := s.prepare(template); err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	for attempt := 1; ; attempt++ {
		err := s.launch(ctx)
		if err == nil {
			return s, nil
		}
		if !errors.Is(err, errPortTaken) || attempt == startAttempts {
			os.RemoveAll(dir)
			return nil, err
		}
	}
}

// Addr returns host:port of the server's TCP listener on the loopback interface.
func (s *Server) Addr() string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(s.port)) }

// Port returns the TCP port.
func (s *Server) Port() int { return s.port }

// Dir returns the directory that holds everything of this server; Stop removes it.
func (s *Server) Dir() string { return s.dir }

// DataDir returns the server's data directory.
func (s *Server) DataDir() string { return filepath.Join(s.dir, "data") }

// TmpDir returns the directory of the server's temporary files.
func (s *Server) TmpDir() string { return filepath.Join(s.dir, "tmp") }

// Socket returns the path of the server's unix socket.
func (s *Server) Socket() string { return filepath.Join(s.DataDir(), socketName) }

// ErrorLog returns the path of the server's error log.
func (s *Server) ErrorLog() string { return filepath.Join(s.dir, "error.log") }

// PID returns the id of the server process.
func (s *Server) PID() int { return s.cmd.Process.Pid }

// Done is closed when the server process has ended, for whatever reason.
func (s *Server) Done() <-chan struct{} { return s.exited }

// Stop shuts the server down, waits for it and removes its directory. Later
// calls return the first call's result.
func (s *Server) Stop() error {
	s.stopOnce.Do(func() {
		s.stopErr = errors.Join(s.halt(syscall.SIGTERM), os.RemoveAll(s.dir))
	})
	return s.stopErr
}

// Kill ends the server process at once, as a crash would, and keeps its
// directory, so that Restart can recover it.
func (s *Server) Kill() error { return s.halt(syscall.SIGKILL) }

// Restart starts the server again on its directory and port after Kill or after
// it ended by itself. It must not run concurrently with another method.
func (s *Server) Restart(ctx context.Context) error {
	if err := s.halt(syscall.SIGTERM); err != nil {
		return err
	}
	return s.run(ctx)
}

// socketName is relative to the data directory, the server's working directory:
// the whole path may be longer than a unix socket address holds.
const socketName = "mariadb.sock"

// prepare lays out the server's directory from the template.
func (s *Server) prepare(template string) error {
	for _, dir := range []string{s.DataDir(), s.TmpDir()} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			return err
		}
	}
	if err := os.CopyFS(s.DataDir(), os.DirFS(template)); err != nil {
		return fmt.Errorf("copy the template data directory: %w", err)
	}
	return nil
}

// errPortTaken says that another process listens on the chosen port.
var errPortTaken = errors.New("the chosen port is in use")

// launch chooses a free port and runs the server on it.
func (s *Server) launch(ctx context.Context) error {
	port, err := freePort()
	if err != nil {
		return err
	}
	s.port = port
	return s.run(ctx)
}

// run starts the process and waits until it accepts connections.
func (s *Server) run(ctx context.Context) error {
	// The last run's log would answer for this one.
	if err := os.Remove(s.ErrorLog()); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	if err := s.spawn(); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	if err := s.awaitReady(ctx); err != nil {
		return errors.Join(err, s.halt(syscall.SIGKILL))
	}
	return nil
}

// spawn starts the process. Its goroutine keeps the thread that started it until
// the process ends, since the kernel sends the parent-death signal when that
// thread, not the whole parent, goes away.
func (s *Server) spawn() error {
	cmd := exec.Command(s.binary, s.args()...)
	cmd.Dir = s.DataDir()
	cmd.SysProcAttr = childAttributes()
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	exited := make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		s.exitErr = cmd.Wait()
		close(exited)
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.exited = cmd, exited
	return nil
}

// args is the server's command line.
func (s *Server) args() []string {
	args := append(baseArgs(),
		"--datadir="+s.DataDir(),
		"--tmpdir="+s.TmpDir(),
		"--socket="+socketName,
		"--pid-file="+filepath.Join(s.dir, "mariadb.pid"),
		"--log-error="+s.ErrorLog(),
		"--bind-address=127.0.0.1",
		"--port="+strconv.Itoa(s.port),
		"--skip-name-resolve",
		"--character-set-server=utf8mb4",
		"--max-allowed-packet=64M",
		"--innodb-buffer-pool-size=32M",
		// A private server is never relied on after a power failure.
		"--innodb-flush-log-at-trx-commit=2",
		"--innodb-fast-shutdown=1",
		"--innodb-buffer-pool-dump-at-shutdown=0",
		"--innodb-buffer-pool-load-at-startup=0",
		// Several servers at once run into the system's limit of native AIO contexts.
		"--innodb-use-native-aio=0",
	)
	return append(args, s.config...)
}

// awaitReady waits until the server's error log says that it accepts connections.
// The port alone would not do: another process may have taken it.
func (s *Server) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if log, err := os.ReadFile(s.ErrorLog()); err == nil && bytes.Contains(log, []byte("ready for connections")) {
			return nil
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s did not become ready: %w%s", s.binary, ctx.Err(), s.logTail())
		case <-s.exited:
			return s.earlyExit()
		}
	}
}

// earlyExit explains why the process ended before it was ready.
func (s *Server) earlyExit() error {
	tail := s.logTail()
	if strings.Contains(tail, "Bind on TCP/IP port") || strings.Contains(tail, "Address already in use") {
		return errPortTaken
	}
	return fmt.Errorf("%s ended before it was ready (%v)%s", s.binary, s.exitErr, tail)
}

// logTail returns the last lines of the error log, indented, for error texts.
func (s *Server) logTail() string {
	const lines = 20
	text, err := os.ReadFile(s.ErrorLog())
	if err != nil {
		return ""
	}
	all := strings.Split(strings.TrimSpace(string(text)), "\n")
	return "\n\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}

// halt signals the process and waits for its end, killing it when it takes too
// long. A process that has already ended is no error.
func (s *Server) halt(signal syscall.Signal) error {
	select {
	case <-s.exited:
		return nil
	default:
	}
	if err := s.cmd.Process.Signal(signal); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("signal the server: %w", err)
	}
	timer := time.NewTimer(stopTimeout)
	defer timer.Stop()
	select {
	case <-s.exited:
		return nil
	case <-timer.C:
	}
	if err := s.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("kill the server: %w", err)
	}
	<-s.exited
	return fmt.Errorf("the server did not stop within %v and was killed", stopTimeout)
}

// freePort returns a TCP port of the loopback interface that is free just now.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, fmt.Errorf("find a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
