package mariadbserver

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
)

// templateVersion changes when the content of the template changes.
const templateVersion = "3"

// templateZones are the time zones that a private server knows by name.
var templateZones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"}

const zoneInfoDir = "/usr/share/zoneinfo"

// templateAccounts opens root to TCP connections from this machine. It writes
// the tables: statements about accounts do not run while bootstrapping.
const templateAccounts = `
REPLACE INTO global_priv (Host, User, Priv) SELECT '127.0.0.1', User, Priv FROM global_priv WHERE User = 'root' AND Host = 'localhost';
REPLACE INTO proxies_priv (Host, User, Proxied_host, Proxied_user, With_grant) VALUES ('127.0.0.1', 'root', '', '', 1);
`

// baseArgs are the options common to initialising and running.
func baseArgs() []string {
	args := []string{"--no-defaults", "--innodb-log-file-size=32M"}
	if os.Geteuid() == 0 {
		args = append(args, "--user=root")
	}
	return args
}

// templateDir returns a data directory to copy from, initialising it at first
// use. It lies in the user's cache directory, one per server version.
func templateDir(ctx context.Context, binary string) (string, error) {
	version, err := exec.CommandContext(ctx, binary, "--no-defaults", "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", binary, err)
	}
	if !bytes.Contains(version, []byte("MariaDB")) {
		return "", fmt.Errorf("%s is not a MariaDB server", binary)
	}
	cache, err := cacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%s\n%s", templateVersion, binary, version))
	dir := filepath.Join(cache, fmt.Sprintf("template-%x", sum[:8]))

	unlock, err := lockFile(dir + ".lock")
	if err != nil {
		return "", err
	}
	defer unlock()
	if _, err := os.Stat(dir); err == nil {
		return dir, nil
	}
	if err := makeTemplate(ctx, binary, dir); err != nil {
		return "", fmt.Errorf("initialise a data directory: %w", err)
	}
	return dir, nil
}

// cacheDir returns the directory that keeps templates between runs. Only its
// owner may write there: what it holds becomes the data of servers.
func cacheDir() (string, error) {
	base, err := os.UserCacheDir()
	if err != nil { // no home
		base = filepath.Join(os.TempDir(), fmt.Sprintf("latchkey-%d", os.Getuid()))
	}
	dir := filepath.Join(base, "latchkey", "mariadb")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	info, err := os.Stat(dir)
	if err != nil {
		return "", err
	}
	if owner := info.Sys().(*syscall.Stat_t).Uid; int(owner) != os.Geteuid() || info.Mode().Perm()&0o022 != 0 {
		return "", fmt.Errorf("%s belongs to somebody else or is writable by others", dir)
	}
	return dir, nil
}

// lockFile takes an exclusive lock, so that processes which start together
// initialise the template once.
func lockFile(path string) (unlock func(), err error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return func() { f.Close() }, nil
}

// makeTemplate initialises a data directory beside dir and renames it to dir
// when it is complete.
func makeTemplate(ctx context.Context, binary, dir string) error {
	installer := lookup("mariadb-install-db")
	if installer == "" {
		return errors.New("mariadb-install-db not found; it comes with the MariaDB server package")
	}
	work, err := os.MkdirTemp(filepath.Dir(dir), "template-new-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	data := filepath.Join(work, "data")

	install := append(baseArgs(), "--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve", "--datadir="+data)
	if err := runQuietly(exec.CommandContext(ctx, installer, install...)); err != nil {
		return err
	}
	bootstrap := exec.CommandContext(ctx, binary, append(baseArgs(), "--bootstrap", "--datadir="+data, "--log-warnings=0")...)
	bootstrap.Stdin = strings.NewReader("USE mysql;\n" + templateAccounts + zoneStatements(ctx))
	if err := runQuietly(bootstrap); err != nil {
		return err
	}
	return os.Rename(data, dir)
}

// zoneStatements returns the SQL that makes templateZones known; it is empty on
// a machine without zone files, where only offsets work.
func zoneStatements(ctx context.Context) string {
	tool := lookup("mariadb-tzinfo-to-sql")
	if tool == "" {
		return ""
	}
	var all bytes.Buffer
	for _, zone := range templateZones {
		out, err := exec.CommandContext(ctx, tool, "--skip-write-binlog", filepath.Join(zoneInfoDir, zone), zone).Output()
		if err == nil {
			all.Write(out)
		}
	}
	return all.String()
}

// runQuietly runs a command and puts what it printed into the error.
func runQuietly(cmd *exec.Cmd) error {
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(cmd.Path), err, bytes.TrimSpace(out))
	}
	return nil
}
