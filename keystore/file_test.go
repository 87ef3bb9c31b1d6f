package keystore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"latchkey/keystore/cell"
)

// write puts content into a new file with mode and returns its path.
func write(t *testing.T, content string, mode fs.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "key")
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil { // past the umask
		t.Fatal(err)
	}
	return path
}

func TestKeyFilesLoadAsPrinted(t *testing.T) {
	v := loadVectors(t)
	k, warning, err := LoadAccountKey(write(t, v.ServiceKey.Text+"\n", 0o600))
	if err != nil || warning != nil {
		t.Fatalf("warning %v, error %v", warning, err)
	}
	equalSecret(t, "service key", k.secret[:], v.ServiceKey.AccountKey)
	f, warning, err := LoadFleetSecret(write(t, v.Fleet.Text+"\n", 0o400))
	if err != nil || warning != nil {
		t.Fatalf("warning %v, error %v", warning, err)
	}
	equalSecret(t, "fleet secret", f.secret[:], v.Fleet.Secret)
}

func TestOpenKeyFilesAreWarnedAbout(t *testing.T) {
	text := loadVectors(t).UserKey.Text
	for mode, warned := range map[fs.FileMode]bool{
		0o400: false, 0o600: false, 0o640: false, 0o644: true, 0o604: true, 0o660: true, 0o602: true,
	} {
		path := write(t, text, mode)
		_, warning, err := LoadAccountKey(path)
		if err != nil {
			t.Fatal(err)
		}
		if (warning != nil) != warned {
			t.Errorf("mode %04o: warning %v, want one: %v", mode, warning, warned)
		}
		if warning != nil && (warning.Mode.Perm() != mode || warning.Path != path || !strings.Contains(warning.String(), path)) {
			t.Errorf("mode %04o: warning %v", mode, warning)
		}
	}
}

func TestFaultyKeyFilesAreRefused(t *testing.T) {
	v := loadVectors(t)
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for name, path := range map[string]string{
		"missing":             filepath.Join(t.TempDir(), "none"),
		"directory":           t.TempDir(),
		"named pipe":          fifo,
		"empty":               write(t, "", 0o600),
		"raw bytes":           write(t, string(v.UserKey.AccountKey), 0o600),
		"two keys":            write(t, v.UserKey.Text+"\n"+v.ServiceKey.Text+"\n", 0o600),
		"cut":                 write(t, v.UserKey.Text[:40], 0o600),
		"too long":            write(t, v.UserKey.Text+strings.Repeat("\n", maxFileLen), 0o600),
		"mistyped":            write(t, v.UserKey.Text[:20]+"!"+v.UserKey.Text[21:], 0o600),
		"neither kind of key": write(t, token, 0o600),
	} {
		t.Run(name, func(t *testing.T) {
			if _, _, err := LoadFleetSecret(path); err == nil {
				t.Error("loaded as a fleet secret")
			}
			_, _, err := LoadAccountKey(path)
			if err == nil {
				t.Fatal("loaded as an account key")
			}
			if !strings.Contains(err.Error(), path) {
				t.Errorf("the error does not name the file: %v", err)
			}
			if strings.Contains(err.Error(), v.UserKey.Text[8:18]) {
				t.Error("the error repeats part of the file")
			}
		})
	}
	if _, _, err := LoadAccountKey(write(t, v.Fleet.Text, 0o600)); !errors.Is(err, ErrMalformedKey) {
		t.Errorf("fleet secret as account key: error %v, want ErrMalformedKey", err)
	}
	if _, _, err := LoadFleetSecret(write(t, v.UserKey.Text, 0o600)); !errors.Is(err, ErrMalformedKey) {
		t.Errorf("account key as fleet secret: error %v, want ErrMalformedKey", err)
	}
}

func TestServiceKeysSealByMonth(t *testing.T) {
	v := loadVectors(t)
	set, warnings, err := LoadServiceKeys("main", map[string]string{
		"app":  write(t, v.ServiceKey.Text, 0o600),
		"mail": write(t, v.UserKey.Text, 0o644),
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(warnings) != 1 {
		t.Errorf("%d warnings, want 1", len(warnings))
	}
	if got := set.Names(); !slices.Equal(got, []string{"app", "mail"}) {
		t.Errorf("Names() = %q", got)
	}
	if _, ok := set.Lookup("none"); ok {
		t.Error("an unknown name is found")
	}
	k, ok := set.Lookup("app")
	if !ok || k.Name() != "app" || k.ID() != cell.KeyID(v.ServiceKey.KeyID) {
		t.Fatal("the service key app is another one")
	}
	november := time.Date(2026, 11, 30, 23, 59, 59, 0, time.UTC)
	ck, err := k.SealingKey("users.email", november)
	if err != nil {
		t.Fatal(err)
	}
	sealed := ck.Seal(nil, cell.Params{Plaintext: []byte("x")})
	h, err := cell.Parse(sealed)
	if err != nil || h.Epoch != 82 || h.KeyID != k.ID() {
		t.Fatalf("header %+v, error %v, want epoch 82", h, err)
	}
	later, err := k.SealingKey("users.email", november.Add(time.Second))
	if err != nil || later.Epoch() != 83 {
		t.Errorf("a second later: epoch %d, error %v, want 83", later.Epoch(), err)
	}
	if _, _, err := later.Open(nil, sealed, nil); !errors.Is(err, cell.ErrAuthentication) {
		t.Errorf("next month's key: error %v, want ErrAuthentication", err)
	}
	opener, err := k.ColumnKey("users.email", h.Epoch)
	if err != nil {
		t.Fatal(err)
	}
	if _, got, err := opener.Open(nil, sealed, nil); err != nil || string(got) != "x" {
		t.Errorf("the key of the cell's epoch does not open it: %v", err)
	}
	if _, err := k.IndexKey(TagRule{Context: "users.email", Collation: "utf8mb4_bin", Pad: PadSpace}); err != nil {
		t.Error(err)
	}
	set.Close()
	if _, err := k.SealingKey("users.email", november); !errors.Is(err, ErrKeyGone) {
		t.Errorf("after Close: error %v, want ErrKeyGone", err)
	}
}

func TestAllFaultyServiceKeysAreReportedTogether(t *testing.T) {
	good := write(t, loadVectors(t).UserKey.Text, 0o600)
	_, _, err := LoadServiceKeys("main", map[string]string{
		"a": write(t, "", 0o600), "b": good, "c": filepath.Join(t.TempDir(), "none"),
	})
	if err == nil || !strings.Contains(err.Error(), "service key a:") || !strings.Contains(err.Error(), "service key c:") ||
		strings.Contains(err.Error(), "service key b:") {
		t.Errorf("error = %v, want a and c named", err)
	}
	if !errors.Is(err, ErrMalformedKey) || !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("error %v hides its causes", err)
	}
}

func TestEpochCountsMonths(t *testing.T) {
	east := time.FixedZone("east", 14*3600)
	for _, c := range []struct {
		at   time.Time
		want uint16
		ok   bool
	}{
		{time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC), 0, true},
		{time.Date(2020, 2, 1, 0, 0, 0, 0, time.UTC), 1, true},
		{time.Date(2021, 1, 1, 13, 0, 0, 0, east), 11, true}, // December in UTC
		{time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC), 82, true},
		{time.Date(7481, 4, 1, 0, 0, 0, 0, time.UTC), 65535, true},
		{time.Date(7481, 5, 1, 0, 0, 0, 0, time.UTC), 0, false},
		{time.Date(2019, 12, 31, 23, 59, 59, 0, time.UTC), 0, false},
		{time.Time{}, 0, false},
	} {
		got, err := EpochAt(c.at)
		if got != c.want || (err == nil) != c.ok || err != nil && !errors.Is(err, ErrClock) {
			t.Errorf("EpochAt(%v) = %d, %v, want %d", c.at, got, err, c.want)
		}
	}
}
