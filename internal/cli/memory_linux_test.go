package cli

import (
	"log/slog"
	"os"
	"os/exec"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// guardedChild, in the environment, makes TestGuardMemory the process that is looked at.
const guardedChild = "LATCHKEY_TEST_GUARDED"

// TestGuardMemory guards a process of its own: the settings cannot be undone.
func TestGuardMemory(t *testing.T) {
	if os.Getenv(guardedChild) != "" {
		var log strings.Builder
		guardMemory(slog.New(slog.NewTextHandler(&log, nil)))
		var core unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_CORE, &core); err != nil || core != (unix.Rlimit{}) {
			t.Errorf("core dumps of %d bytes, %v", core.Max, err)
		}
		if dumpable, err := unix.PrctlRetInt(unix.PR_GET_DUMPABLE, 0, 0, 0, 0); err != nil || dumpable != 0 {
			t.Errorf("dumpable %d, %v", dumpable, err)
		}
		var limit unix.Rlimit
		if err := unix.Getrlimit(unix.RLIMIT_MEMLOCK, &limit); err != nil {
			t.Fatal(err)
		}
		if may := limit.Cur == unix.RLIM_INFINITY || mayLock(); may == strings.Contains(log.String(), "memory is not locked") {
			t.Errorf("memory may be locked: %t, and the log says %q", may, log.String())
		}
		// With all memory locked, Go can still reserve and use more.
		kept := make([][]byte, 64)
		for i := range kept {
			kept[i] = make([]byte, 1<<20)
			kept[i][i] = 1
		}
		return
	}
	for _, limit := range []string{"0", "unlimited"} {
		cmd := exec.Command("sh", "-c", "ulimit -l "+limit+" 2>/dev/null; exec \"$@\"", "sh", os.Args[0], "-test.run", "^TestGuardMemory$", "-test.v")
		cmd.Env = append(os.Environ(), guardedChild+"=1")
		if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "--- PASS") {
			t.Errorf("limit %s: %v\n%s", limit, err, out)
		}
	}
}
