package keystore

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"sync"
	"time"
)

// shredList is a file that remembers who was forgotten, outside of the backend and its backups: key slots that come back
// with a restored backup open nothing. Each line is "forget" or "restore", the keyed hash of an owner, and the time; the
// last line about an owner counts. It is safe for concurrent use, and several proxies may share the file.
type shredList struct {
	path string

	mu      sync.Mutex
	size    int64
	changed time.Time
	entries map[string]bool
}

// openShredList reads the list. An empty path is a list that remembers nothing; a file that is not there is made.
func openShredList(path string) (*shredList, error) {
	l := &shredList{path: path, entries: make(map[string]bool)}
	if path == "" {
		return l, nil
	}
	f, err := os.OpenFile(path, os.O_RDONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the shred list: %w", err)
	}
	_ = f.Close()
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
	entries := make(map[string]bool)
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			if err := lines.Err(); err != nil {
				return fmt.Errorf("read the shred list: %w", err)
			}
			break
		}
		word, rest, _ := strings.Cut(lines.Text(), " ")
		id, _, _ := strings.Cut(rest, " ")
		switch word {
		case "forget":
			entries[id] = true
		case "restore":
			delete(entries, id)
		}
	}
	l.entries, l.size, l.changed = entries, info.Size(), info.ModTime()
	return nil
}

// has tells whether an owner was forgotten. A list that cannot be read any more counts as it was last read.
func (l *shredList) has(id string) bool {
	if l.path == "" {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.read(); err != nil && errors.Is(err, fs.ErrNotExist) {
		l.size = -1 // read again when it is back
	}
	return l.entries[id]
}

func (l *shredList) add(id string, now time.Time) error { return l.write("forget", id, now, true) }

func (l *shredList) remove(id string, now time.Time) error { return l.write("restore", id, now, false) }

// write appends a line, unless it would say what is so already, and has it on the disk before it returns.
func (l *shredList) write(word, id string, now time.Time, want bool) error {
	if l.path == "" || l.has(id) == want {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	f, err := os.OpenFile(l.path, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	defer f.Close()
	if _, err := fmt.Fprintf(f, "%s %s %s\n", word, id, now.UTC().Format(time.RFC3339)); err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	if err := f.Sync(); err != nil {
		return fmt.Errorf("write the shred list: %w", err)
	}
	l.entries[id] = want
	if !want {
		delete(l.entries, id)
	}
	return nil
}
