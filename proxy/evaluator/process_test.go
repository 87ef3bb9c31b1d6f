//go:build linux

package evaluator

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// procLinks reads the links of a process's files.
func openFiles(t *testing.T, pid int) []string {
	t.Helper()
	fds := fmt.Sprintf("/proc/%d/fd", pid)
	entries, err := os.ReadDir(fds)
	if err != nil {
		t.Fatal(err)
	}
	var files []string
	for _, entry := range entries {
		if target, err := os.Readlink(filepath.Join(fds, entry.Name())); err == nil {
			files = append(files, target)
		}
	}
	return files
}

// TestNothingIsWrittenOutsideItsDirectory makes the server spill in every way it has, and looks at what it holds open.
func TestNothingIsWrittenOutsideItsDirectory(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	run(t, c, "CREATE DATABASE d")
	run(t, c, "CREATE TEMPORARY TABLE d.t (a INT, b LONGTEXT)")
	run(t, c, "INSERT INTO d.t SELECT seq, REPEAT(MD5(seq), 20) FROM mysql.seq_1_to_40000")
	run(t, c, "SET sort_buffer_size = 1024, tmp_table_size = 1024, max_heap_table_size = 16384")
	pid := c.server.pid()
	// A result that is not read keeps its temporary files open.
	if err := c.query("SELECT DISTINCT b, GROUP_CONCAT(a) FROM d.t GROUP BY b ORDER BY MD5(b)"); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Wire.Read(1 << 20); err != nil {
		t.Fatal(err)
	}
	dir, inside := c.server.storage.dir, 0
	for _, file := range openFiles(t, pid) {
		switch {
		case strings.HasPrefix(file, dir+"/"):
			inside++
		case strings.HasPrefix(file, "/dev/null"), strings.HasPrefix(file, "socket:"), strings.HasPrefix(file, "pipe:"), strings.HasPrefix(file, "anon_inode:"):
		default:
			t.Errorf("the server holds %s open", file)
		}
	}
	if inside < 2 {
		t.Errorf("%d files of its directory are open: nothing is shown", inside)
	}
	if cwd, _ := os.Readlink(fmt.Sprintf("/proc/%d/cwd", pid)); !strings.HasPrefix(cwd, dir) {
		t.Errorf("it works in %s", cwd)
	}
	if err := memoryBacked(dir); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode of its directory = %v, %v; want 0700", info.Mode(), err)
	}
	c.interrupt()
}

func TestTheProcessHasNoRights(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", c.server.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(status), "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2 || os.Geteuid() != 0:
		case fields[0] == "Uid:" && (fields[1] == "0" || fields[2] == "0"), fields[0] == "Gid:" && fields[1] == "0", fields[0] == "CapEff:" && strings.Trim(fields[1], "0") != "",
			fields[0] == "Groups:" && fields[1] == "0":
			t.Errorf("the server runs with %s", line)
		}
	}
	limits, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", c.server.pid()))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range strings.Split(string(limits), "\n") {
		if soft, ok := strings.CutPrefix(line, "Max core file size"); ok {
			if n, err := strconv.Atoi(strings.Fields(soft)[0]); err != nil || n > 1 {
				t.Errorf("the limit of its core file is %s", strings.Fields(soft)[0])
			}
		}
	}
}

func TestTheServerIsHardened(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	for variable, want := range map[string]string{
		"skip_networking": "1", "log_bin": "0", "general_log": "0", "slow_query_log": "0", "performance_schema": "0",
		"event_scheduler": "DISABLED", "secure_file_priv": c.server.storage.files() + "/", "have_innodb": "",
		"default_storage_engine": "Aria", "join_cache_level": "4", "port": "0", "feedback_url": "",
	} {
		got := query(t, c, "SHOW VARIABLES LIKE '"+variable+"'")
		if want == "" && !strings.Contains(got, "YES") {
			continue
		}
		if got = query(t, c, "SELECT @@"+variable); got != want {
			t.Errorf("@@%s = %s, want %s", variable, got, want)
		}
	}
	outside := filepath.Join(t.TempDir(), "out")
	if err := os.Chmod(filepath.Dir(outside), 0o777); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Exec(t.Context(), "SELECT 'x' INTO OUTFILE '"+outside+"'"); err == nil {
		t.Error("a statement wrote a file outside its directory")
	}
	if got := query(t, c, "SELECT LOAD_FILE('/etc/hostname')"); got != "NULL" {
		t.Errorf("LOAD_FILE = %s, want NULL", got)
	}
	if conns, err := os.ReadFile(fmt.Sprintf("/proc/%d/net/tcp", c.server.pid())); err == nil {
		for _, file := range openFiles(t, c.server.pid()) {
			if inode, ok := strings.CutPrefix(file, "socket:["); ok && strings.Contains(string(conns), " "+strings.TrimSuffix(inode, "]")+" ") {
				t.Error("the server has a TCP socket")
			}
		}
	}
}

func TestStorageThatIsNotMemoryIsRefused(t *testing.T) {
	dir, err := os.MkdirTemp(".", "disk-") // the source tree: a disk
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	if memoryBacked(dir) == nil {
		t.Skip("the source tree is in memory")
	}
	e := New(Config{Dir: dir})
	defer e.Close()
	e.Start(Settings{}, nil)
	if _, err := e.Acquire(t.Context(), BaseCaps); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Acquire = %v, want %v", err, ErrUnavailable)
	}
	if s := e.Status(); s.State != "down" || !strings.Contains(s.Reason, "not memory-backed") {
		t.Errorf("Status = %+v", s)
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("%d entries are on the disk", len(left))
	}
}

func TestOffStartsNothing(t *testing.T) {
	e := New(Config{Binary: Off})
	defer e.Close()
	e.Start(Settings{}, nil)
	if _, err := e.Acquire(t.Context(), BaseCaps); !errors.Is(err, ErrUnavailable) {
		t.Errorf("Acquire = %v, want %v", err, ErrUnavailable)
	}
	if s := e.Status(); s.State != "off" || s.Starts != 0 {
		t.Errorf("Status = %+v", s)
	}
}

// helperVariable makes the test program the process that TestTheServerDiesWithTheProxy kills.
const helperVariable = "LATCHKEY_TEST_EVALUATOR_PARENT"

func TestMain(m *testing.M) {
	if os.Getenv(helperVariable) == "" {
		os.Exit(m.Run())
	}
	e := New(Config{})
	e.Start(Settings{}, nil)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	for ctx.Err() == nil {
		if c, err := e.Acquire(ctx, BaseCaps); err == nil {
			fmt.Println(c.server.pid(), c.server.storage.dir)
			select {}
		}
	}
	os.Exit(1)
}

func TestTheServerDiesWithTheProxy(t *testing.T) {
	parent := exec.Command(os.Args[0])
	parent.Env = append(os.Environ(), helperVariable+"=1")
	out, err := parent.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := parent.Start(); err != nil {
		t.Fatal(err)
	}
	var pid int
	var dir string
	if _, err := fmt.Fscan(out, &pid, &dir); err != nil {
		t.Fatal(err)
	}
	if err := parent.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = parent.Wait()
	gone := func() bool {
		state, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		// An orphan that nobody waits for stays as a zombie.
		return err != nil || strings.Contains(string(state), ") Z ")
	}
	for deadline := time.Now().Add(20 * time.Second); !gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the server outlived the process that started it")
		}
	}
	// What it left is removed by the next one.
	e := start(t, Config{Dir: filepath.Dir(dir)})
	defer e.Close()
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("its directory is left: %v", err)
	}
}

func TestKillEndsARunningStatement(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	watcher := acquire(t, e)
	defer watcher.Release()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := c.Exec(ctx, "SELECT COUNT(*) FROM mysql.seq_1_to_100000 a, mysql.seq_1_to_100000 b, mysql.seq_1_to_100000 c WHERE a.seq + b.seq + c.seq = 7")
		done <- err
	}()
	running := func() bool {
		return query(t, watcher, "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE INFO LIKE '%seq_1_to_100000 a%' AND ID <> CONNECTION_ID()") == "1"
	}
	waitFor(t, "the statement runs", running)
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Exec = %v, want %v", err, context.Canceled)
	}
	waitFor(t, "the statement has ended", func() bool { return !running() })
	c.Release()
}

func waitFor(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

func TestOnlyItsOwnUserMayConnect(t *testing.T) {
	e := start(t, Config{})
	c := acquire(t, e)
	defer c.Release()
	info, err := os.Stat(c.server.storage.dir)
	if err != nil {
		t.Fatal(err)
	}
	as, err := serverAccount()
	if err != nil {
		t.Fatal(err)
	}
	want := uint32(os.Geteuid())
	if as != nil {
		want = as.uid
	}
	if got := info.Sys().(*syscall.Stat_t).Uid; got != want || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("its directory belongs to %d with mode %v, want %d and nobody else", got, info.Mode(), want)
	}
	if conn, err := net.Dial("unix", c.server.storage.socket()); err != nil {
		t.Errorf("the proxy cannot connect: %v", err)
	} else {
		conn.Close()
	}
}
