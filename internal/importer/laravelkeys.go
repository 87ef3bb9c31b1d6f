package importer

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
)

// LaravelKeys are application keys, and those of owners who have keys of their own.
type LaravelKeys struct {
	application [][]byte
	owners      map[string][][]byte
}

const (
	// maxKeyLine bounds a line of a key file in bytes, maxKeyLines the lines.
	maxKeyLine  = 4096
	maxKeyLines = 1_000_000
)

// ReadLaravelKeys reads the keys of an application, the present one first: one or several a line, with commas between, each as APP_KEY has
// it (base64: and 16 or 32 bytes, or that many characters). A line may begin with APP_KEY= or APP_PREVIOUS_KEYS=, as in the
// application's environment. Empty lines and such that begin with # are left out. Errors hold nothing of a line.
func ReadLaravelKeys(r io.Reader) (*LaravelKeys, error) {
	k := &LaravelKeys{}
	err := readKeyLines(r, func(line []byte) error {
		for _, name := range []string{"APP_KEY=", "APP_PREVIOUS_KEYS="} {
			line = bytes.TrimPrefix(line, []byte(name))
		}
		keys, err := parseLaravelKeys(line)
		k.application = append(k.application, keys...)
		return err
	})
	if err == nil && len(k.application) == 0 {
		err = errors.New("it has no key")
	}
	if err != nil {
		k.wipe()
		return nil, err
	}
	return k, nil
}

// ReadLaravelKeysOfOwners reads the keys of owners: on each line an owner, white space, and the keys of that owner, the present one
// first, as ReadLaravelKeys has them. An owner may hold spaces, a key may not.
func ReadLaravelKeysOfOwners(r io.Reader) (*LaravelKeys, error) {
	k := &LaravelKeys{owners: make(map[string][][]byte)}
	err := readKeyLines(r, func(line []byte) error {
		at := bytes.LastIndexAny(line, " \t")
		if at < 0 {
			return errors.New("an owner and a key are expected, with a space between")
		}
		owner := string(bytes.TrimSpace(line[:at]))
		if _, twice := k.owners[owner]; twice {
			return errors.New("the owner stands on a line before")
		}
		keys, err := parseLaravelKeys(line[at+1:])
		k.owners[owner] = keys
		return err
	})
	if err == nil && len(k.owners) == 0 {
		err = errors.New("it has no key")
	}
	if err != nil {
		k.wipe()
		return nil, err
	}
	return k, nil
}

// of gives the keys for a row.
func (k *LaravelKeys) of(owner string, hasOwner bool) [][]byte {
	if k.owners == nil {
		return k.application
	}
	if !hasOwner {
		return nil
	}
	return k.owners[owner]
}

func (k *LaravelKeys) wipe() {
	for _, key := range k.application {
		clear(key)
	}
	for _, keys := range k.owners {
		for _, key := range keys {
			clear(key)
		}
	}
}

// readKeyLines hands the lines of a key file to do, without white space around them.
func readKeyLines(r io.Reader, do func(line []byte) error) error {
	buffer := make([]byte, maxKeyLine)
	defer clear(buffer[:cap(buffer)])
	lines := bufio.NewScanner(r)
	lines.Buffer(buffer, maxKeyLine)
	for n := 1; lines.Scan(); n++ {
		line := bytes.TrimSpace(lines.Bytes())
		if n > maxKeyLines {
			return fmt.Errorf("it has more than %d lines", maxKeyLines)
		}
		if len(line) == 0 || line[0] == '#' {
			continue
		}
		if err := do(line); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return fmt.Errorf("a line is longer than %d bytes", maxKeyLine)
	}
	return lines.Err()
}

// base64Prefix marks a key that is base64.
const base64Prefix = "base64:"

// parseLaravelKeys reads keys with commas between.
func parseLaravelKeys(text []byte) (keys [][]byte, err error) {
	for part := range bytes.SplitSeq(text, []byte{','}) {
		part = bytes.Trim(bytes.TrimSpace(part), `"'`)
		if len(part) == 0 {
			continue
		}
		key := bytes.Clone(part)
		if encoded, ok := bytes.CutPrefix(part, []byte(base64Prefix)); ok {
			key = make([]byte, base64.StdEncoding.DecodedLen(len(encoded)))
			n, err := base64.StdEncoding.Decode(key, encoded)
			if err != nil {
				clear(key)
				return keys, errors.New("what stands behind base64: is not base64")
			}
			key = key[:n]
		}
		if len(key) != 16 && len(key) != 32 {
			clear(key)
			return keys, errors.New("a key has 16 or 32 bytes, as base64: or as they are")
		}
		keys = append(keys, key)
	}
	if len(keys) == 0 {
		return nil, errors.New("a key is expected")
	}
	return keys, nil
}
