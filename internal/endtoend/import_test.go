package endtoend

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

// laravelValue is one value that a Laravel application encrypts.
type laravelValue struct {
	Key       []byte `json:"key"`
	Cipher    string `json:"cipher"`
	Text      []byte `json:"text"`
	Serialize bool   `json:"serialize"`
}

// encryptLaravel lets Laravel's own Encrypter encrypt values.
func encryptLaravel(t *testing.T, values []laravelValue) []string {
	t.Helper()
	in, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("php", "-d", "display_errors=stderr", "testdata/laravel/encrypt.php")
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || stderr.Len() > 0 {
		t.Fatalf("%v: %s", err, stderr.String())
	}
	var payloads []string
	if err := json.Unmarshal(out, &payloads); err != nil || len(payloads) != len(values) {
		t.Fatalf("%d payloads, %v", len(payloads), err)
	}
	return payloads
}

// laravelSite is a database of an application that has encrypted columns itself.
type laravelSite struct {
	*ledger
	app, previous []byte            // keys of the application
	owners        map[string][]byte // the application's keys of users
	keys          map[string]string // account keys by owner
	want          map[string]string // by `column id`, what is in the payloads
}

const laravelTable = "CREATE TABLE profiles (id INT PRIMARY KEY AUTO_INCREMENT, user_id INT NOT NULL, phone TEXT, city VARCHAR(400) CHARACTER SET latin1, diary MEDIUMTEXT, pin TEXT, KEY (user_id)) CHARACTER SET utf8mb4"

// newLaravelSite fills a table past Latchkey: phone and city under the application's keys, city in latin1, diary under the keys of two users, pin serialized.
func newLaravelSite(t *testing.T) *laravelSite {
	t.Helper()
	server := mariadbtest.Start(t) // the keystore is of one fleet secret
	s := &laravelSite{
		ledger: &ledger{server: server, db: server.NewDatabase(t)}, want: make(map[string]string), keys: make(map[string]string),
		app: bytes.Repeat([]byte{'a'}, 32), previous: bytes.Repeat([]byte{'p'}, 16), owners: map[string][]byte{"1": bytes.Repeat([]byte{1}, 32), "2": bytes.Repeat([]byte{2}, 32)},
	}
	server.Exec(t, "USE "+s.db+";"+laravelTable)
	var values []laravelValue
	var places []string
	add := func(id int, column, text string, key []byte, cipher string, serialize bool) {
		values = append(values, laravelValue{key, cipher, []byte(text), serialize})
		places = append(places, fmt.Sprintf("%s %d", column, id))
		s.want[places[len(places)-1]] = text
	}
	for id := 1; id <= 6; id++ {
		owner := fmt.Sprint(2 - id%2)
		add(id, "phone", fmt.Sprintf("+49 30 %d clear", id), s.app, "AES-256-CBC", false)
		add(id, "city", fmt.Sprintf("M\u00fcnchen %d clear", id), s.previous, []string{"AES-128-CBC", "AES-128-GCM"}[id%2], false)
		add(id, "diary", strings.Repeat(fmt.Sprintf("clear \U0001F600 %d ", id), id*40), s.owners[owner], "AES-256-GCM", false)
		add(id, "pin", fmt.Sprintf("clear \"%d\";", id), s.app, "AES-256-CBC", true)
		server.Exec(t, fmt.Sprintf("INSERT INTO %s.profiles (id, user_id) VALUES (%d, %s)", s.db, id, owner))
	}
	for i, payload := range encryptLaravel(t, values) {
		column, id, _ := strings.Cut(places[i], " ")
		server.Exec(t, fmt.Sprintf("UPDATE %s.profiles SET %s = '%s' WHERE id = %s", s.db, column, payload, id))
	}
	// From before the application encrypted, and nothing.
	server.Exec(t, "INSERT INTO "+s.db+".profiles (id, user_id, phone, city, diary, pin) VALUES (7, 1, 'never encrypted', '', NULL, 'eyJ'), (8, 2, NULL, NULL, '', NULL)")
	s.proxy = latchkeytest.Write(t, latchkeytest.Config{Server: server, ServiceKeys: []string{"app"}, Databases: "  " + s.db + `:
    profiles:
      owner: user_id
      columns:
        phone: {key: "service:app", search: equality, plaintext: accept}
        city: {key: "service:app", plaintext: accept}
        diary: {plaintext: accept}
        pin: {key: "service:app", plaintext: accept}
`})
	for owner := range s.owners {
		s.keys[owner] = latchkeytest.NewAccountKey(t)
		writeText(t, filepath.Join(s.proxy.Dir, "owner"+owner), s.keys[owner])
	}
	base := base64.StdEncoding.EncodeToString
	writeText(t, filepath.Join(s.proxy.Dir, "env"), "APP_KEY=base64:"+base(s.app)+"\nAPP_PREVIOUS_KEYS=base64:"+base(s.previous)+"\n")
	writeText(t, filepath.Join(s.proxy.Dir, "users"), "1 base64:"+base(s.owners["1"])+"\n2 base64:"+base(s.owners["2"])+"\n")
	writeText(t, filepath.Join(s.proxy.Dir, "other"), "base64:"+base(bytes.Repeat([]byte{9}, 32))+"\n")
	latchkeytest.Run(t, 0, "migrate", "prepare", "--config", s.proxy.Config, "--run")
	s.proxy.Serve(t)
	return s
}

func (s *laravelSite) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	return latchkeytest.Run(t, want, append([]string{"migrate", "import", "--config", s.proxy.Config, "--from", "laravel", "--table", s.db + ".profiles"}, args...)...)
}

func (s *laravelSite) file(name string) string { return filepath.Join(s.proxy.Dir, name) }

// stored is every value as the server has it.
func (s *laravelSite) stored(t *testing.T) string {
	t.Helper()
	return fmt.Sprint(s.server.Query(t, "SELECT id, HEX(phone), HEX(city), HEX(diary), HEX(pin) FROM "+s.db+".profiles ORDER BY id"))
}

// TestImportLaravel takes columns that Laravel's own code has encrypted to cells, and reads them back through Latchkey.
func TestImportLaravel(t *testing.T) {
	s := newLaravelSite(t)
	// The application goes on to write payloads, now through Latchkey: they are sealed like any text.
	late := encryptLaravel(t, []laravelValue{{s.app, "AES-256-CBC", []byte("+49 30 clear and late"), false}})
	conn := s.proxy.Conn(t, s.db, "", s.keys["1"])
	mustExec(t, conn, "UPDATE profiles SET phone = '"+late[0]+"' WHERE id = 3")
	s.want["phone 3"] = "+49 30 clear and late"
	if got := s.server.Query(t, "SELECT HEX(LEFT(phone, 3)) FROM "+s.db+".profiles WHERE id = 3"); got[0][0] != "FF4C4B" {
		t.Fatalf("the payload was not sealed: %v", got)
	}

	if out := s.run(t, 0, "--column", "phone", "--column", "city", "--app-key-file", s.file("env")); !strings.Contains(out, ".profiles: 6 rows imported\n") {
		t.Errorf("phone and city: %s", out)
	}
	if out := s.run(t, 0, "--column", "pin", "--app-key-file", s.file("env"), "--serialized"); !strings.Contains(out, ".profiles: 6 rows imported\n") {
		t.Errorf("pin: %s", out)
	}
	for _, owner := range []string{"1", "2"} {
		if out := s.run(t, 0, "--column", "diary", "--app-keys-of-owners", s.file("users"), "--owner", owner, "--key-file", s.file("owner"+owner)); !strings.Contains(out, ".profiles: 3 rows imported\n") {
			t.Errorf("diary of %s: %s", owner, out)
		}
	}
	// A second time there is nothing left to import, and nothing changes.
	before := s.stored(t)
	if out := s.run(t, 0, "--column", "phone", "--column", "city", "--app-key-file", s.file("env")); !strings.Contains(out, ".profiles: 0 rows imported\n") || s.stored(t) != before {
		t.Errorf("a second time: %s", out)
	}
	for place, want := range s.want {
		column, id, _ := strings.Cut(place, " ")
		conn := s.proxy.Conn(t, s.db, "", s.keys[map[bool]string{true: "1", false: "2"}[strings.Contains("135", id)]])
		var got string
		if err := conn.QueryRowContext(t.Context(), "SELECT "+column+" FROM profiles WHERE id = "+id).Scan(&got); err != nil || got != want {
			t.Errorf("%s: %v, %d bytes, want %d", place, err, len(got), len(want))
		}
	}
	if got := run(conn, wayText, "SELECT id FROM profiles WHERE phone = '+49 30 5 clear'", nil); len(got.Rows) != 1 {
		t.Errorf("a search finds %v", got.Rows)
	}
	// What was never encrypted is left to encrypt, and then the columns can be closed.
	if got := s.server.Query(t, "SELECT phone, city, diary, pin FROM "+s.db+".profiles WHERE id >= 7 ORDER BY id"); fmt.Sprint(got) != "[[never encrypted  NULL eyJ] [NULL NULL  NULL]]" {
		t.Errorf("what was not encrypted is %q", got)
	}
	latchkeytest.Run(t, 0, "migrate", "encrypt", "--config", s.proxy.Config)
	for _, owner := range []string{"1", "2"} {
		latchkeytest.Run(t, 0, "migrate", "encrypt", "--config", s.proxy.Config, "--owner", owner, "--key-file", s.file("owner"+owner))
	}
	for _, owner := range []string{"1", "2"} {
		latchkeytest.Run(t, 0, "migrate", "verify", "--config", s.proxy.Config, "--owner", owner, "--key-file", s.file("owner"+owner))
	}
	latchkeytest.Run(t, 0, "migrate", "finish", "--config", s.proxy.Config, "--run")
	if stored := s.stored(t); strings.Contains(stored, "65794A") || strings.Contains(stored, "636C656172") {
		t.Error("payloads or plaintext are left")
	}
}

// TestImportRefuses: what is not authentic under the application's keys stays, byte for byte, and the exit code says so.
func TestImportRefuses(t *testing.T) {
	s := newLaravelSite(t)
	before := s.stored(t)
	if out := s.run(t, 3, "--column", "phone", "--column", "city", "--app-key-file", s.file("other")); !strings.Contains(out, ".profiles: 0 rows imported, 12 values cannot be converted\n") {
		t.Errorf("under another key: %s", out)
	}
	if out := s.run(t, 3, "--column", "pin", "--app-key-file", s.file("other"), "--serialized"); !strings.Contains(out, "6 values cannot be converted") {
		t.Errorf("serialized under another key: %s", out)
	}
	// Values that are not serialized, read as such.
	if out := s.run(t, 3, "--column", "phone", "--app-key-file", s.file("env"), "--serialized"); !strings.Contains(out, "6 values cannot be converted") {
		t.Errorf("not serialized: %s", out)
	}
	if after := s.stored(t); after != before {
		t.Error("values were changed")
	}
	table := []string{"--app-key-file", s.file("env")}
	for name, want := range map[string]struct {
		code int
		args []string
	}{
		"no column":        {2, append(table, "--column", "nothing")},
		"plain column":     {2, append(table, "--column", "user_id")},
		"no key":           {1, []string{"--column", "phone", "--app-key-file", s.file("none")}},
		"not a key":        {1, []string{"--column", "phone", "--app-key-file", s.proxy.Config}},
		"another format":   {2, append(table, "--column", "phone", "--from", "rails")},
		"owner and no key": {2, append(table, "--column", "diary", "--owner", "1")},
	} {
		if out := s.run(t, want.code, want.args...); out != "" {
			t.Errorf("%s: %s", name, out)
		}
	}
	// A value that the declared column could not hold.
	wide := encryptLaravel(t, []laravelValue{{s.app, "AES-256-CBC", []byte("\U0001F600"), false}, {s.app, "AES-256-CBC", []byte{0xff, 0xfe}, false}})
	s.server.Exec(t, fmt.Sprintf("UPDATE %s.profiles SET city = '%s' WHERE id = 7; UPDATE %s.profiles SET phone = '%s' WHERE id = 8", s.db, wide[0], s.db, wide[1]))
	if out := s.run(t, 3, "--column", "phone", "--column", "city", "--app-key-file", s.file("env")); !strings.Contains(out, "6 rows imported, 2 values cannot be converted") {
		t.Errorf("values that do not fit: %s", out)
	}
}
