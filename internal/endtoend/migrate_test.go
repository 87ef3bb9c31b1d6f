package endtoend

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
	"latchkey/rewrite/logical"
)

// typesPerTable is how many columns of different types a table of migrateTypes has.
const typesPerTable = 10

// migrateTypes makes tables with columns of every type and rows, each twice: one is converted, the other stays. Half of the columns
// are under a service key, the other half under the keys of two owners.
func migrateTypes(t *testing.T, server *mariadbtest.Server) (converted, twin, policy string) {
	t.Helper()
	converted, twin = server.NewDatabase(t), server.NewDatabase(t)
	var b strings.Builder
	fmt.Fprintf(&b, "  %s:\n", converted)
	for n, cases := range slices.Collect(slices.Chunk(typeCases, typesPerTable)) {
		var columns, names []string
		fmt.Fprintf(&b, "    t%d:\n      owner: user_id\n      columns:\n", n)
		most := 0
		for i, c := range cases {
			name := fmt.Sprintf("v%d", i)
			columns, names = append(columns, name+" "+c.declared), append(names, name)
			most = max(most, len(c.values)+1)
			typ, err := logical.Parse(c.declared)
			if err != nil {
				t.Fatal(err)
			}
			options := "plaintext: accept"
			if typ.Searchable() == nil {
				options += ", search: equality"
			}
			if i%2 == 0 {
				options += `, key: "service:app"`
			}
			fmt.Fprintf(&b, "        %s: {%s}\n", name, options)
		}
		for _, database := range []string{converted, twin} {
			server.Exec(t, fmt.Sprintf("CREATE TABLE %s.t%d (id INT AUTO_INCREMENT PRIMARY KEY, user_id INT NOT NULL, %s, touched TIMESTAMP NOT NULL DEFAULT '2020-01-01' "+
				"ON UPDATE CURRENT_TIMESTAMP, KEY (user_id))", database, n, strings.Join(columns, ", ")))
			for row := range 2 * most {
				values := []string{fmt.Sprint(1 + row%2)}
				for _, c := range cases {
					v := "NULL"
					if at := row / 2 % (len(c.values) + 1); at < len(c.values) {
						v = c.values[at]
					} else if strings.Contains(c.declared, "NOT NULL") {
						v = c.values[0]
					}
					values = append(values, v)
				}
				server.Exec(t, fmt.Sprintf("INSERT INTO %s.t%d (user_id, %s) VALUES (%s)", database, n, strings.Join(names, ","), strings.Join(values, ",")))
			}
		}
	}
	return converted, twin, b.String()
}

// sealPolicy takes plaintext: accept out of the configuration.
func sealPolicy(t *testing.T, p *latchkeytest.Proxy) {
	t.Helper()
	text, err := os.ReadFile(p.Config)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p.Config, []byte(strings.ReplaceAll(string(text), "plaintext: accept", "plaintext: reject")), 0o600); err != nil {
		t.Fatal(err)
	}
}

// serveRefused runs serve, which has to end by itself with an error, and gives what it says.
func serveRefused(t *testing.T, p *latchkeytest.Proxy) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	out, err := exec.CommandContext(ctx, latchkeytest.Binary(t), "serve", "--config", p.Config).CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != 1 {
		t.Errorf("serve: %v, want exit code 1", err)
	}
	return string(out)
}

// verdicts runs migrate verify and counts its lines by what they say about the digest.
func verdicts(t *testing.T, want int, p *latchkeytest.Proxy, args ...string) map[string]int {
	t.Helper()
	out := latchkeytest.Run(t, want, append([]string{"migrate", "verify", "--config", p.Config, "--format", "json"}, args...)...)
	var lines []struct {
		Table, Column, Digest string
		Damaged               int
	}
	if err := json.Unmarshal([]byte(out), &lines); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	count := make(map[string]int)
	for _, l := range lines {
		count[l.Digest]++
		if l.Digest != "same" && l.Digest != "unknown" || l.Damaged > 0 {
			t.Errorf("%s.%s: digest %s, %d values damaged", l.Table, l.Column, l.Digest, l.Damaged)
		}
	}
	return count
}

// TestMigrateEveryType takes columns of every type from plaintext to cells and compares what is read afterwards with a twin.
func TestMigrateEveryType(t *testing.T) {
	server := mariadbtest.Shared(t)
	converted, twin, policy := migrateTypes(t, server)
	p := latchkeytest.Write(t, latchkeytest.Config{Server: server, Databases: policy, ServiceKeys: []string{"app"}, Keystore: "  database: " + converted + "_keys"})
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+converted+"_keys") })
	owners := []string{latchkeytest.NewAccountKey(t), latchkeytest.NewAccountKey(t)}
	keyFiles := []string{filepath.Join(p.Dir, "1.key"), filepath.Join(p.Dir, "2.key")}
	for i, file := range keyFiles {
		if err := os.WriteFile(file, []byte(owners[i]), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	migrate := func(want int, args ...string) string {
		return latchkeytest.Run(t, want, append([]string{"migrate", args[0], "--config", p.Config}, args[1:]...)...)
	}
	if out := migrate(0, "prepare"); !strings.Contains(out, "LOCK TABLES") || strings.Contains(out, "cannot be converted") {
		t.Fatalf("prepare prints\n%s", out)
	}
	migrate(0, "prepare", "--run")
	if out := migrate(0, "prepare", "--run"); !strings.Contains(out, "nothing to do") {
		t.Errorf("prepare again says\n%s", out)
	}
	if same := verdicts(t, 0, p)["same"]; same != 2*len(typeCases) {
		t.Errorf("behind prepare %d digests are the same, want %d", same, 2*len(typeCases))
	}
	migrate(3, "status")
	migrate(0, "encrypt", "--batch", "2")
	migrate(3, "finish", "--run")
	for i, file := range keyFiles {
		migrate(0, "encrypt", "--owner", fmt.Sprint(i+1), "--key-file", file)
	}
	migrate(0, "status")
	verdicts(t, 3, p)
	for i, file := range keyFiles {
		if same := verdicts(t, 0, p, "--owner", fmt.Sprint(i+1), "--key-file", file)["same"]; same != len(typeCases)/2 {
			t.Errorf("behind encrypt %d digests of an owner are the same, want %d", same, len(typeCases)/2)
		}
	}
	migrate(0, "finish", "--run")
	if out := serveRefused(t, p); !strings.Contains(out, "t0.v0") || !strings.Contains(out, "plaintext: accept") {
		t.Errorf("serve with plaintext: accept behind finish says %.300s", out)
	}
	sealPolicy(t, p)
	p.Serve(t)
	for owner, key := range owners {
		conn := p.Conn(t, converted, "", key)
		for n := range (len(typeCases) + typesPerTable - 1) / typesPerTable {
			query := fmt.Sprintf("SELECT * FROM t%d WHERE user_id = %d ORDER BY id", n, owner+1)
			got := textOf(t, conn, query)
			want := server.Query(t, strings.Replace(query, "FROM ", "FROM "+twin+".", 1))
			if len(got) != len(want) {
				t.Fatalf("table %d: %d rows, want %d", n, len(got), len(want))
			}
			for i := range want {
				for c := range want[i] {
					if got[i][c] != want[i][c] {
						t.Errorf("table %d, row %d, column %d: reads %.80q, want %.80q", n, i, c, got[i][c], want[i][c])
					}
				}
			}
		}
	}
}

// TestMigrateBack takes columns of every type to cells and back, and compares tables and rows with a twin.
func TestMigrateBack(t *testing.T) {
	server := mariadbtest.Shared(t)
	converted, twin, policy := migrateTypes(t, server)
	for _, db := range []string{converted, twin} {
		server.Exec(t, fmt.Sprintf("ALTER TABLE %[1]s.t0 ADD UNIQUE KEY u (user_id, id, v0), ADD KEY k (v1(5) DESC), ADD KEY c (v2) COMMENT 'it''s'", db))
	}
	p := latchkeytest.Write(t, latchkeytest.Config{Server: server, Databases: policy, ServiceKeys: []string{"app"}, Keystore: "  database: " + converted + "_keys"})
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+converted+"_keys") })
	migrate := func(want int, args ...string) string {
		return latchkeytest.Run(t, want, append([]string{"migrate", args[0], "--config", p.Config}, args[1:]...)...)
	}
	var keyFiles []string
	for owner := 1; owner <= 2; owner++ {
		file := filepath.Join(p.Dir, fmt.Sprintf("%d.key", owner))
		if err := os.WriteFile(file, []byte(latchkeytest.NewAccountKey(t)), 0o600); err != nil {
			t.Fatal(err)
		}
		keyFiles = append(keyFiles, file)
	}
	all := func(act string) {
		migrate(0, act)
		for i, file := range keyFiles {
			migrate(0, act, "--owner", fmt.Sprint(i+1), "--key-file", file)
		}
	}
	migrate(0, "prepare", "--run")
	all("encrypt")
	migrate(0, "finish", "--run")
	all("rotate")
	if out := migrate(3, "decrypt"); !strings.Contains(out, "is open for plaintext") {
		t.Errorf("decrypt of closed columns says %.300s", out)
	}
	migrate(3, "decrypt", "--owner", "1", "--key-file", keyFiles[0])
	migrate(3, "finish", "--decrypted", "--run")
	all("decrypt")
	verdicts(t, 0, p)
	if out := migrate(0, "finish", "--decrypted"); !strings.Contains(out, "LOCK TABLES") {
		t.Errorf("finish --decrypted prints %.300s", out)
	}
	migrate(0, "finish", "--decrypted", "--run")
	for n := range (len(typeCases) + typesPerTable - 1) / typesPerTable {
		// Indexes come back behind those that were not touched.
		show := func(db string) string {
			lines := strings.Split(strings.ReplaceAll(server.Query(t, fmt.Sprintf("SHOW CREATE TABLE %s.t%d", db, n))[0][1], ",\n", "\n"), "\n")
			keys := slices.IndexFunc(lines, func(line string) bool { return strings.Contains(line, "KEY") })
			slices.Sort(lines[keys : len(lines)-1])
			return strings.Join(lines, "\n")
		}
		if got, want := show(converted), show(twin); got != want {
			t.Errorf("table %d came back as\n%s\nwant\n%s", n, got, want)
		}
		rows := func(db string) [][]string {
			return server.Query(t, fmt.Sprintf("SELECT * FROM %s.t%d ORDER BY id", db, n))
		}
		got, want := rows(converted), rows(twin)
		for i := range want {
			for c := range want[i] {
				if got[i][c] != want[i][c] {
					t.Errorf("table %d, row %d, column %d: came back as %.80q, want %.80q", n, i, c, got[i][c], want[i][c])
				}
			}
		}
	}
}

// textOf gives the rows of a query as text, NULL as "NULL".
func textOf(t *testing.T, db interface {
	QueryContext(context.Context, string, ...any) (*sql.Rows, error)
}, query string) [][]string {
	t.Helper()
	rows, err := db.QueryContext(context.Background(), query)
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		t.Fatal(err)
	}
	var all [][]string
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		targets := make([]any, len(columns))
		for i := range values {
			targets[i] = &values[i]
		}
		if err := rows.Scan(targets...); err != nil {
			t.Fatal(err)
		}
		row := make([]string, len(columns))
		for i, v := range values {
			if row[i] = "NULL"; v.Valid {
				row[i] = v.String
			}
		}
		all = append(all, row)
	}
	if err := rows.Err(); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return all
}
