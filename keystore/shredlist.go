package keystore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// shredList is a file that remembers who was forgotten, outside of the backend and its backups: key slots that come back
// with a restored backup open nothing. Each line is "forget" or "restore", the keyed hash of an owner, and the time; the
// last line about an owner counts. What is not such a line was torn by a crash and says nothing. It is safe for concurrent
// use, and several proxies may share the file.
//
// The owner records come first: the list follows them, and what it lacks after a crash is added by Vault.Destroy.
type shredList struct {
	path string
	// behind tells that the list may lack a tombstone that the keystore has.
	behind atomic.Bool

	mu      sync.Mutex
	size    int64
	changed time.Time
	entries map[string]int64 // when an owner was forgotten, in seconds since 1970
}

// openShredList reads the list. An empty path is a list that remembers nothing; a file that is not there is made.
func openShredList(path string) (*shredList, error) {
	l := &shredList{path: path, entries: make(map[string]int64)}
	if path == "" {
		return l, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the shred list: %w", err)
	}
	_ = f.Close()
	l.behind.Store(true)
	return l, l.read()
}

// read takes over what is in the file, if it changed.
func (l *shredList) read() error {
	info, err := os.Stat(l.path)
	if err != nil {
		return fmt.Errorf("read the shred list: %w", err)
	}
	if info.Size() == l.size && info.ModTime().Equal(l.changed) {
		return nil
	}
	f, err := os.Open(l.path)
	if err != nil {
		return fmt.Errorf("read the shred list: %w", err)
	}
	defer f.Close()
	entries := make(map[string]int64)
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return fmt.Errorf("read the shred list: %w", err)
			}
			break
		}
		fields := strings.Fields(lines.Text())
		if len(fields) != 3 {
			continue
		}
		at, err := time.Parse(time.RFC3339, fields[2])
		if err != nil {
			continue
		}
		switch fields[0] {
		case "forget":
			entries[fields[1]] = at.Unix()
		case "restore":
			delete(entries, fields[1])
		}
	}
	l.entries, l.size, l.changed = entries, info.Size(), info.ModTime()
	return nil
}

// forgot tells whether an owner was forgotten after restored, in seconds since 1970. A list that cannot be read any more
// counts as it was last read.
func (l *shredList) forgot(id string, restored int64) bool {
	if l.path == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(); err != nil && errors.Is(err, fs.ErrNotExist) {
		l.size = -1 // read again when it is back
	}
	at, ok := l.entries[id]
	return ok && at > restored
}

// add notes that an owner was forgotten at a time, in seconds since 1970.
func (l *shredList) add(id string, at int64) error {
	if l.path == "" || l.forgot(id, at-1) {
		return nil
	}
	err := l.write("forget", id, at)
	if err != nil {
		l.behind.Store(true)
	}
	return err
}

// remove notes that an owner was restored at a time, in seconds since 1970.
func (l *shredList) remove(id string, at int64) error {
	if l.path == "" || !l.forgot(id, 0) {
		return nil
	}
	return l.write("restore", id, at)
}

// write appends a line and has it on the disk before it returns.
func (l *shredList) write(word, id string, at int64) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_RDWR|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	defer f.Close()
	line := fmt.Sprintf("%s %s %s\n", word, id, time.Unix(at, 0).UTC().Format(time.RFC3339))
	if torn, err := endsTorn(f); err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	} else if torn {
		line = "\n" + line
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	if word == "forget" {
		l.entries[id] = at
	} else {
		delete(l.entries, id)
	}
	return nil
}

// writable says why the list cannot be written.
func (l *shredList) writable() error {
	if l.path == "" {
		return nil
	}
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	return f.Close()
}

// endsTorn tells whether the last line of a file has no end, as after a crash.
func endsTorn(f *os.File) (bool, error) {
	info, err := f.Stat()
	if err != nil || info.Size() == 0 {
		return false, err
	}
	var last [1]byte
	_, err = f.ReadAt(last[:], info.Size()-1)
	return last[0] != '\n', err
}
