package evaluator

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"latchkey/internal/mariadbserver"
)

const (
	startTimeout = 30 * time.Second
	stopTimeout  = 10 * time.Second
	pollInterval = 2 * time.Millisecond
)

// server is one running process of the private MariaDB.
type server struct {
	config  *Config
	number  uint64 // of this start
	binary  string
	storage *storage
	version string
	// maxPacket is the server's max_allowed_packet in bytes.
	maxPacket int
	began     time.Time
	life      context.Context // ends with the process
	end       context.CancelFunc
	zoned     chan struct{} // closed when the time zones have been copied, or could not be

	cmd     *exec.Cmd
	exited  chan struct{} // closed when the process is gone; guards exitErr
	exitErr error

	mu      sync.Mutex
	idle    []*Conn
	open    map[*Conn]struct{}
	stopped bool
}

// startServer starts a server in an empty directory and returns when it answers. The caller calls stop.
func startServer(ctx context.Context, config *Config, settings Settings) (*server, error) {
	s := &server{config: config, binary: config.Binary, began: time.Now(), open: make(map[*Conn]struct{}), zoned: make(chan struct{})}
	if s.binary == "" {
		found, err := mariadbserver.Find()
		if err != nil {
			return nil, err
		}
		s.binary = found
	}
	as, err := serverAccount()
	if err != nil {
		return nil, err
	}
	if s.storage, err = newStorage(config.Dir, as); err != nil {
		return nil, err
	}
	s.maxPacket = cmp.Or(settings.MaxAllowedPacket, 1<<30)
	s.life, s.end = context.WithCancel(context.Background())
	if err := s.launch(ctx, as, settings); err != nil {
		s.stop()
		return nil, err
	}
	return s, nil
}

// launch makes the system tables, starts the process and waits until it answers.
func (s *server) launch(ctx context.Context, as *account, settings Settings) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	if err := forbidCore(); err != nil {
		return fmt.Errorf("forbid core files: %w", err)
	}
	if err := s.bootstrap(ctx, as, settings); err != nil {
		return fmt.Errorf("set up %s: %w", s.binary, err)
	}
	if err := s.spawn(as, settings); err != nil {
		return fmt.Errorf("start %s: %w", s.binary, err)
	}
	return s.awaitAnswer(ctx)
}

// options are what both runs of the server get.
func (s *server) options(settings Settings) []string {
	charset := settings.Charset
	if charset == "" {
		charset = "utf8mb4"
	}
	options := []string{
		// Nothing of this machine's configuration, and nothing that listens, logs, replicates or calls home.
		"--no-defaults", "--skip-networking", "--skip-grant-tables", "--skip-log-bin", "--general-log=0", "--slow-query-log=0",
		"--event-scheduler=DISABLED", "--performance-schema=OFF", "--userstat=OFF", "--profiling-history-size=0", "--skip-symbolic-links", "--feedback=OFF",
		// Everything in one directory. The error log too: the server writes the statement there in which it crashed.
		"--datadir=" + s.storage.data(), "--tmpdir=" + s.storage.tmp(), "--secure-file-priv=" + s.storage.files(),
		"--aria-log-dir-path=" + s.storage.data(), "--log-error=" + s.storage.log(), "--log-warnings=0",
		// One engine, of which a row costs its length.
		"--skip-innodb", "--default-storage-engine=Aria", "--default-tmp-storage-engine=Aria",
		"--aria-pagecache-buffer-size=16M", "--key-buffer-size=8", "--query-cache-type=0", "--query-cache-size=0",
		"--use-stat-tables=NEVER",
		// Without hash joins, a join of 100,000 rows with 5,000 on text takes minutes.
		"--join-cache-level=4", "--join-buffer-size=2M", "--tmp-table-size=16M", "--max-heap-table-size=16M",
		"--tmp-disk-table-size=" + strconv.FormatInt(s.config.TableBytes, 10),
		"--character-set-server=" + charset,
		"--lower-case-table-names=" + strconv.Itoa(settings.LowerCaseTableNames),
	}
	if settings.Collation != "" {
		options = append(options, "--collation-server="+settings.Collation)
	}
	return options
}

// bootstrap makes the system tables that a server looks for while it starts, and that named time zones and stored functions
// need to exist: all empty.
func (s *server) bootstrap(ctx context.Context, as *account, settings Settings) error {
	cmd := exec.CommandContext(ctx, s.binary, append(s.options(settings), "--bootstrap")...)
	cmd.Dir = s.storage.data()
	cmd.SysProcAttr = childAttributes(as)
	cmd.Stdin = strings.NewReader(systemTables)
	runtime.LockOSThread() // for the parent-death signal, see spawn
	defer runtime.UnlockOSThread()
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w%s%s", err, indent(out), s.logTail())
	}
	return nil
}

// spawn starts the process. Its goroutine keeps the thread that started it until the process ends, since the kernel sends the
// parent-death signal when that thread, not the whole parent, goes away.
func (s *server) spawn(as *account, settings Settings) error {
	cmd := exec.Command(s.binary, append(s.options(settings), "--local-infile=0",
		"--socket="+s.storage.socket(), "--pid-file="+s.storage.data()+"/pid",
		"--max-connections="+strconv.Itoa(2*s.config.Connections+reserve), "--thread-cache-size="+strconv.Itoa(s.config.Connections),
		"--max-allowed-packet="+strconv.Itoa(s.maxPacket), "--net-buffer-length=16K", "--wait-timeout=31536000", "--max-prepared-stmt-count=1048576")...)
	cmd.Dir = s.storage.data()
	cmd.SysProcAttr = childAttributes(as)
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
		s.end()
	}()
	if err := <-started; err != nil {
		return err
	}
	s.cmd, s.exited = cmd, exited
	return nil
}

// reserve are connections beyond those of the pool: for KILL and for the zones.
const reserve = 8

// awaitAnswer waits until a connection says which version the server has.
func (s *server) awaitAnswer(ctx context.Context) error {
	tick := time.NewTicker(pollInterval)
	defer tick.Stop()
	for {
		if _, err := os.Stat(s.storage.socket()); err == nil {
			if conn, err := s.dial(ctx, BaseCaps); err == nil {
				s.version = conn.serverVersion
				conn.close()
				return nil
			}
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("%s did not answer: %w%s", s.binary, ctx.Err(), s.logTail())
		case <-s.exited:
			return fmt.Errorf("%s ended before it answered: %w%s", s.binary, s.exitError(), s.logTail())
		}
	}
}

// checkVersion compares the version series with the backend's.
func (s *server) checkVersion(backend string) bool {
	return backend == "" || series(backend) == series(s.version)
}

// series gives 10.11 for 5.5.5-10.11.6-MariaDB.
func series(version string) string {
	version = strings.TrimPrefix(version, "5.5.5-")
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		return version
	}
	return parts[0] + "." + parts[1]
}

func (s *server) pid() int { return s.cmd.Process.Pid }

// exitError says how the process ended; it must have.
func (s *server) exitError() error {
	<-s.exited
	if s.exitErr == nil {
		return errors.New("exit status 0")
	}
	return s.exitErr
}

// stop closes all connections, ends the process and removes its directory. There is nothing to keep: it is killed.
func (s *server) stop() {
	s.mu.Lock()
	s.stopped = true
	for c := range s.open {
		c.interrupt()
	}
	s.idle = nil
	s.mu.Unlock()
	if s.exited != nil {
		_ = s.cmd.Process.Signal(syscall.SIGKILL)
		select {
		case <-s.exited:
		case <-time.After(stopTimeout): // stuck in the kernel; its memory is still removed
		}
	}
	s.end()
	s.storage.remove()
}

// logTail returns the last lines of the server's log from before it served anybody, for error texts.
func (s *server) logTail() string {
	text, err := os.ReadFile(s.storage.log())
	if err != nil {
		return ""
	}
	return indent(text)
}

// indent returns the last lines of a text, indented.
func indent(text []byte) string {
	const lines = 10
	text = bytes.TrimSpace(text)
	if len(text) == 0 {
		return ""
	}
	all := strings.Split(string(text), "\n")
	return "\n\t" + strings.Join(all[max(0, len(all)-lines):], "\n\t")
}
