//go:build !race

package endtoend

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// haproxyConfig relays TCP and does nothing else. Threads and buffers are HAProxy's defaults.
const haproxyConfig = `global
  maxconn 4096
defaults
  mode tcp
  timeout connect 10s
  timeout client 1h
  timeout server 1h
listen mariadb
  bind %s
  server backend %s
`

// startHAProxy runs a private HAProxy in TCP mode in front of backend until the benchmark ends.
func startHAProxy(b *testing.B, backend string) (addr string, pid int) {
	b.Helper()
	addr = freeLoopback(b)
	config := filepath.Join(b.TempDir(), "haproxy.cfg")
	if err := os.WriteFile(config, fmt.Appendf(nil, haproxyConfig, addr, backend), 0o600); err != nil {
		b.Fatal(err)
	}
	cmd := exec.Command(haproxyBinary(b), "-db", "-f", config)
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for range 500 {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			c.Close()
			return addr, cmd.Process.Pid
		}
		time.Sleep(10 * time.Millisecond)
	}
	b.Fatalf("haproxy does not listen:\n%s", &output)
	return "", 0
}

func haproxyBinary(b *testing.B) string {
	b.Helper()
	for _, name := range []string{"haproxy", "/usr/sbin/haproxy"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	b.Fatal("haproxy is missing: .ci/install bench installs it")
	return ""
}

func freeLoopback(b *testing.B) string {
	b.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// processCPU is the processor time that a process has used so far, in user and in kernel mode, ended threads included. It
// is the sum that /proc/PID/stat shows, without its rounding to hundredths of a second: clock_getcpuclockid(3).
func processCPU(pid int) (time.Duration, error) {
	const clockOfProcess = 2 // CPUCLOCK_SCHED
	var t unix.Timespec
	if err := unix.ClockGettime(int32(^pid<<3|clockOfProcess), &t); err != nil {
		return 0, fmt.Errorf("processor time of process %d: %w", pid, err)
	}
	return time.Duration(t.Nano()), nil
}

// processMemory is the resident memory of a process in bytes, now and at its highest since resetPeak.
func processMemory(b *testing.B, pid int) (now, peak int64) {
	b.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		name, rest, _ := strings.Cut(line, ":")
		if name != "VmRSS" && name != "VmHWM" {
			continue
		}
		kib, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		if name == "VmRSS" {
			now = kib << 10
		} else {
			peak = kib << 10
		}
	}
	return now, peak
}

// resetPeak makes the highest resident memory of a process the present one: proc(5), clear_refs.
func resetPeak(b *testing.B, pid int) {
	b.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0); err != nil {
		b.Fatal(err)
	}
}

// processorName names the machine's processor.
func processorName() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return "unknown processor"
	}
	for line := range strings.SplitSeq(string(text), "\n") {
		if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
			return strings.TrimSpace(value)
		}
	}
	return "unknown processor"
}

// kernelName is the kernel's name and release.
func kernelName() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return "unknown kernel"
	}
	return unix.ByteSliceToString(u.Sysname[:]) + " " + unix.ByteSliceToString(u.Release[:])
}

// haproxyVersion is the first line of haproxy -v.
func haproxyVersion(b *testing.B) string {
	out, err := exec.CommandContext(context.Background(), haproxyBinary(b), "-v").Output()
	if err != nil {
		b.Fatal(err)
	}
	line, _, _ := strings.Cut(string(out), "\n")
	words := strings.Fields(line)
	if len(words) < 3 {
		return line
	}
	return words[2]
}
