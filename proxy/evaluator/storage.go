package evaluator

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// directoryPrefix begins the name of every directory of an evaluator.
const directoryPrefix = "latchkey-evaluator-"

// lockName is the file whose lock says that the directory's owner lives.
const lockName = "lock"

// candidateDirs are searched for memory-backed storage when none is configured.
func candidateDirs() []string {
	dirs := []string{"/dev/shm"}
	if dir := os.Getenv("XDG_RUNTIME_DIR"); dir != "" {
		dirs = append(dirs, dir)
	}
	return append(dirs, "/run", os.TempDir())
}

// storage is a directory of one evaluator on memory-backed storage. Everything that the server writes is in it.
type storage struct {
	dir  string
	lock *os.File
}

// newStorage makes an empty directory in parent, or in one of this machine's memory-backed directories when parent is empty,
// and removes those that evaluators left there which were killed. The directory belongs to the given user and nobody else may
// enter it.
func newStorage(parent string, owner *account) (*storage, error) {
	parents := candidateDirs()
	if parent != "" {
		parents = []string{parent}
	}
	var problems []error
	for _, p := range parents {
		if err := memoryBacked(p); err != nil {
			problems = append(problems, err)
			continue
		}
		sweep(p)
		s, err := makeStorage(p, owner)
		if err == nil {
			return s, nil
		}
		problems = append(problems, err)
	}
	return nil, fmt.Errorf("no memory-backed directory: %w", errors.Join(problems...))
}

func makeStorage(parent string, owner *account) (*storage, error) {
	dir, err := os.MkdirTemp(parent, directoryPrefix)
	if err != nil {
		return nil, err
	}
	s := &storage{dir: dir}
	if s.lock, err = lock(filepath.Join(dir, lockName)); err == nil {
		err = s.prepare(owner)
	}
	if err != nil {
		s.remove()
		return nil, err
	}
	return s, nil
}

// prepare makes the directories that the server expects.
func (s *storage) prepare(owner *account) error {
	if len(s.socket()) > maxSocketPath {
		return fmt.Errorf("the path of %s is too long for a socket", s.dir)
	}
	for _, dir := range []string{s.dir, s.data(), s.tmp(), s.files()} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		if err := owner.own(dir); err != nil {
			return err
		}
	}
	return nil
}

func (s *storage) data() string   { return filepath.Join(s.dir, "data") }
func (s *storage) tmp() string    { return filepath.Join(s.dir, "tmp") }
func (s *storage) files() string  { return filepath.Join(s.dir, "files") }
func (s *storage) log() string    { return filepath.Join(s.dir, "log") }
func (s *storage) socket() string { return filepath.Join(s.dir, "socket") }

// remove removes the directory with everything in it.
func (s *storage) remove() {
	_ = os.RemoveAll(s.dir)
	if s.lock != nil {
		_ = s.lock.Close()
	}
}

// maxSocketPath is the longest path of a unix socket: the size of sockaddr_un's field without its NUL.
const maxSocketPath = 107

// lock takes the lock of a file, which it makes; the error is ErrExist when somebody else holds it.
func lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// sweep removes what evaluators of this user left behind: directories that nobody holds the lock of.
func sweep(parent string) {
	entries, err := os.ReadDir(parent)
	if err != nil {
		return
	}
	for _, entry := range entries {
		if !entry.IsDir() || !strings.HasPrefix(entry.Name(), directoryPrefix) {
			continue
		}
		dir := filepath.Join(parent, entry.Name())
		// A directory without a lock file is just being made, or is not ours.
		held, err := os.OpenFile(filepath.Join(dir, lockName), os.O_RDWR|syscall.O_CLOEXEC|syscall.O_NOFOLLOW, 0)
		if err != nil {
			continue
		}
		if syscall.Flock(int(held.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil {
			_ = os.RemoveAll(dir)
		}
		_ = held.Close()
	}
}
