package keystore

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// maxFileLen bounds a key file in bytes: the text of a key with room for white
// space.
const maxFileLen = 1024

// FileWarning says that a key file is open to more accounts than its owner and
// its owner's group. The file was loaded nevertheless: secrets mounted into
// containers often have such modes.
type FileWarning struct {
	Path string
	Mode fs.FileMode
}

// String returns a sentence that says how to mend it.
func (w FileWarning) String() string {
	return fmt.Sprintf("key file %s has mode %04o: other accounts can read or replace it; chmod 0400", w.Path, w.Mode.Perm())
}

// LoadAccountKey reads an account key or service key from the file at path,
// which holds what `latchkey keygen` prints. The warning may be set without an
// error.
func LoadAccountKey(path string) (*AccountKey, *FileWarning, error) {
	var k *AccountKey
	warning, err := loadFile(path, func(text []byte) (err error) {
		k, err = ParseAccountKey(text)
		return err
	})
	return k, warning, err
}

// LoadUserKey reads the key of an owner from the file at path, which holds an
// account key or a token. token opens one; realm is that of the deployment. The
// caller releases the key.
func LoadUserKey(path, realm string, token func(text []byte) (*UserKey, error)) (*UserKey, *FileWarning, error) {
	var k *UserKey
	warning, err := loadFile(path, func(text []byte) error {
		a, err := ParseAccountKey(text)
		if errors.Is(err, ErrToken) {
			k, err = token(bytes.TrimSpace(text))
			return err
		}
		if err != nil {
			return err
		}
		k, err = a.UserKey(realm)
		a.Wipe()
		return err
	})
	return k, warning, err
}

// LoadFleetSecret reads a fleet secret from the file at path, which holds what
// `latchkey keygen --fleet` prints. The warning may be set without an error.
func LoadFleetSecret(path string) (*FleetSecret, *FileWarning, error) {
	var f *FleetSecret
	warning, err := loadFile(path, func(text []byte) (err error) {
		f, err = ParseFleetSecret(text)
		return err
	})
	return f, warning, err
}

// loadFile hands the content of the file at path to parse and wipes it
// afterwards.
func loadFile(path string, parse func([]byte) error) (*FileWarning, error) {
	// Without O_NONBLOCK a named pipe would hold up the start for ever.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("key file %s is not a regular file", path)
	}
	buf := make([]byte, maxFileLen+1)
	defer clear(buf)
	n, err := io.ReadFull(f, buf)
	switch {
	case err == nil:
		return nil, fmt.Errorf("key file %s is longer than %d bytes", path, maxFileLen)
	case err != io.EOF && err != io.ErrUnexpectedEOF:
		return nil, fmt.Errorf("read key file: %w", err)
	}
	if err := parse(buf[:n]); err != nil {
		return nil, fmt.Errorf("key file %s: %w", path, err)
	}
	// Anything for others, or write for the group.
	if info.Mode().Perm()&0o027 != 0 {
		return &FileWarning{Path: path, Mode: info.Mode()}, nil
	}
	return nil, nil
}
