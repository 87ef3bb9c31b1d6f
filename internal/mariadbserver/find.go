package mariadbserver

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// EnvBinary names the environment variable that says which server program to use.
const EnvBinary = "LATCHKEY_MARIADBD"

// ErrNotInstalled says that no MariaDB server program was found; its text says
// how to get one.
var ErrNotInstalled = errors.New("no MariaDB server found: install one (Debian, Ubuntu: apt-get install mariadb-server mariadb-client; " +
	"Fedora: dnf install mariadb-server) or set " + EnvBinary + " to the path of mariadbd")

// systemDirs are searched after PATH, which for plain users often lacks them.
var systemDirs = []string{"/usr/sbin", "/usr/local/sbin", "/usr/libexec", "/usr/local/bin", "/opt/homebrew/bin"}

// Find returns the path of the MariaDB server program: the one named by the
// environment variable EnvBinary, else mariadbd from PATH or a usual directory.
// A MySQL server is not accepted.
func Find() (string, error) {
	if path := os.Getenv(EnvBinary); path != "" {
		if !isExecutable(path) {
			return "", fmt.Errorf("%s=%s is not an executable file", EnvBinary, path)
		}
		return path, nil
	}
	if path := lookup("mariadbd"); path != "" {
		return path, nil
	}
	return "", ErrNotInstalled
}

// lookup returns the absolute path of a program, or "".
func lookup(name string) string {
	if path, err := exec.LookPath(name); err == nil {
		if abs, err := filepath.Abs(path); err == nil {
			return abs
		}
	}
	for _, dir := range systemDirs {
		if path := filepath.Join(dir, name); isExecutable(path) {
			return path
		}
	}
	return ""
}

func isExecutable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}
