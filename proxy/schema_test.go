package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/mariadbtest"
	"latchkey/rewrite"
)

// patience bounds waiting for what must happen; no test asserts how long it takes.
const patience = 30 * time.Second

func testSchemaConfig(s *mariadbtest.Server) SchemaConfig {
	return SchemaConfig{
		Address: s.Addr(), User: "root", KeystoreDatabase: "latchkey_keys", Poll: 20 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
	}
}

// startLoader runs a loader until the test ends.
func startLoader(t testing.TB, cfg SchemaConfig, policy *rewrite.Policy) *SchemaLoader {
	t.Helper()
	l := NewSchemaLoader(cfg, policy)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- l.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		select {
		case err := <-done:
			if !errors.Is(err, context.Canceled) {
				t.Errorf("Run ended with %v, want %v", err, context.Canceled)
			}
		case <-time.After(patience):
			t.Error("Run does not end with its context")
		}
	})
	return l
}

func current(t *testing.T, l *SchemaLoader) *Snapshot {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	s, err := l.Current(ctx)
	if err != nil {
		t.Fatalf("Current: %v", err)
	}
	return s
}

// eventuallyShows waits until what holds of a current snapshot.
func eventuallyShows(t *testing.T, l *SchemaLoader, what string, holds func(s *Snapshot) bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if holds(current(t, l)) {
			return
		}
	}
	t.Fatalf("the schema never shows %s", what)
}

func TestSchemaIsReadWhole(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, `CREATE DATABASE journal; USE journal;
		CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(100) COLLATE utf8mb4_bin, j JSON) DEFAULT CHARSET utf8mb4;
		CREATE TABLE entries (
			id INT AUTO_INCREMENT, user_id INT NOT NULL, title VARBINARY(300) NOT NULL DEFAULT '' COMMENT 'a ''comment''',
			body BLOB, twice INT AS (user_id * 2) VIRTUAL, hidden INT INVISIBLE DEFAULT 3,
			changed TIMESTAMP NOT NULL DEFAULT CURRENT_TIMESTAMP ON UPDATE CURRENT_TIMESTAMP,
			PRIMARY KEY (id), UNIQUE KEY u (user_id, title(20)), KEY d (user_id DESC),
			CONSTRAINT positive CHECK (user_id > 0), FOREIGN KEY (user_id) REFERENCES users (id));
		CREATE TABLE parts (a INT, b INT) ENGINE=Aria TRANSACTIONAL=0 PARTITION BY RANGE (a) (PARTITION p0 VALUES LESS THAN (10));
		CREATE VIEW v AS SELECT title FROM entries;
		CREATE SEQUENCE q;
		SET sql_mode='ANSI_QUOTES';
		CREATE TRIGGER tg BEFORE INSERT ON entries FOR EACH ROW SET NEW."user_id" = 1;
		CREATE PROCEDURE p() SELECT "title" FROM entries;
		CREATE FUNCTION f() RETURNS INT RETURN 1;
		CREATE EVENT e ON SCHEDULE EVERY 1 DAY DO DELETE FROM entries;`)
	s := current(t, startLoader(t, testSchemaConfig(server), &rewrite.Policy{})).Schema

	if s.ServerVersion < 100600 || s.ServerVersion > 200000 {
		t.Errorf("ServerVersion = %d, want a MariaDB version such as 101119", s.ServerVersion)
	}
	entries := s.Table("journal", "entries")
	if entries == nil {
		t.Fatal("table journal.entries is missing")
	}
	if entries.Kind != rewrite.BaseTable || !entries.Transactional {
		t.Errorf("entries: kind %d, transactional %t, want a transactional base table", entries.Kind, entries.Transactional)
	}
	title := entries.Column("TITLE")
	if title == nil {
		t.Fatal("column title is missing")
	}
	want := rewrite.Column{Name: "title", DataType: "varbinary", ColumnType: "varbinary(300)", Bytes: 300, HasDefault: true, Default: "''", Comment: "a 'comment'"}
	if *title != want {
		t.Errorf("title = %+v, want %+v", *title, want)
	}
	if c := entries.Column("body"); c.Bytes != 65535 || !c.Nullable || c.Default != "NULL" {
		t.Errorf("body = %+v, want 65535 bytes, nullable, DEFAULT NULL", *c)
	}
	if c := entries.Column("twice"); !c.Generated || !strings.Contains(c.GenerationExpression, "user_id") {
		t.Errorf("twice = %+v, want a generated column over user_id", *c)
	}
	if c := entries.Column("hidden"); !c.Invisible {
		t.Errorf("hidden = %+v, want it invisible", *c)
	}
	if c := entries.Column("id"); !c.AutoIncrement {
		t.Errorf("id = %+v, want AUTO_INCREMENT", *c)
	}
	if c := entries.Column("changed"); !c.OnUpdate {
		t.Errorf("changed = %+v, want ON UPDATE", *c)
	}
	if c := s.Table("journal", "users").Column("email"); c.Charset != "utf8mb4" || c.Collation != "utf8mb4_bin" || c.Bytes != 400 {
		t.Errorf("email = %+v, want utf8mb4_bin and 400 bytes", *c)
	}
	checkIndex(t, entries, rewrite.Index{Name: "u", Unique: true, Kind: "BTREE", Parts: []rewrite.IndexPart{{Column: "user_id"}, {Column: "title", Prefix: 20}}})
	checkIndex(t, entries, rewrite.Index{Name: "d", Kind: "BTREE", Parts: []rewrite.IndexPart{{Column: "user_id", Descending: true}}})
	if want := []rewrite.CheckConstraint{{Name: "positive", Clause: "`user_id` > 0"}}; !slices.Equal(entries.Checks, want) {
		t.Errorf("checks of entries = %+v, want %+v", entries.Checks, want)
	}
	if want := []rewrite.CheckConstraint{{Name: "j", OfColumn: true, Clause: "json_valid(`j`)"}}; !slices.Equal(s.Table("journal", "users").Checks, want) {
		t.Errorf("checks of users = %+v, want %+v", s.Table("journal", "users").Checks, want)
	}
	if got := entries.ForeignKeyColumns; !slices.Equal(got, []string{"user_id"}) {
		t.Errorf("foreign key columns of entries = %q, want user_id", got)
	}
	if got := s.Table("journal", "users").ForeignKeyColumns; !slices.Equal(got, []string{"id"}) {
		t.Errorf("foreign key columns of users = %q, want id", got)
	}
	if parts := s.Table("journal", "parts"); parts.Transactional || !strings.Contains(parts.PartitionExpression, "a") {
		t.Errorf("parts: transactional %t, partitioned by %q, want false and a", parts.Transactional, parts.PartitionExpression)
	}
	if v := s.Table("journal", "v"); v.Kind != rewrite.View || v.Unreadable || !strings.Contains(v.Definition, "`title`") {
		t.Errorf("view v = %+v, want its definition", *v)
	}
	if q := s.Table("journal", "q"); q.Kind != rewrite.SequenceTable {
		t.Errorf("sequence q: kind %d, want %d", q.Kind, rewrite.SequenceTable)
	}
	if v := s.Table("sys", "version"); v == nil || v.Kind != rewrite.View || len(v.Columns) != 0 {
		t.Errorf("sys.version = %+v, want a view without columns", v)
	}
	if len(entries.Triggers) != 1 {
		t.Fatalf("%d triggers on entries, want 1", len(entries.Triggers))
	}
	if tg := entries.Triggers[0]; tg.Name != "tg" || tg.Event != "INSERT" || !tg.Mode.Has(rewrite.ANSIQuotes) || tg.Unreadable || !strings.Contains(tg.Body, "user_id") {
		t.Errorf("trigger = %+v, want tg with its body, under ANSI_QUOTES", *tg)
	}
	for _, want := range []string{"p", "f"} {
		i := slices.IndexFunc(s.Routines, func(r *rewrite.Routine) bool { return r.Database == "journal" && r.Name == want })
		if i < 0 || s.Routines[i].Body == "" || s.Routines[i].Unreadable || !s.Routines[i].Mode.Has(rewrite.ANSIQuotes) {
			t.Errorf("routine %s is missing or without its body", want)
		}
	}
	if len(s.Events) != 1 || !strings.Contains(s.Events[0].Body, "entries") {
		t.Errorf("events = %+v, want e with its body", s.Events)
	}
}

func checkIndex(t *testing.T, table *rewrite.Table, want rewrite.Index) {
	t.Helper()
	for _, index := range table.Indexes {
		if index.Name != want.Name {
			continue
		}
		if index.Unique != want.Unique || index.Kind != want.Kind || !slices.Equal(index.Parts, want.Parts) {
			t.Errorf("index %s = %+v, want %+v", want.Name, *index, want)
		}
		return
	}
	t.Errorf("index %s is missing", want.Name)
}

func TestLoaderNoticesDDLOfOthers(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, `CREATE DATABASE d; USE d; CREATE TABLE a (x INT) ENGINE=InnoDB; CREATE TABLE busy (x INT) ENGINE=InnoDB;
		CREATE PROCEDURE make() CREATE TABLE by_procedure (x INT)`)
	l := startLoader(t, testSchemaConfig(server), &rewrite.Policy{})
	hasTable := func(name string) func(*Snapshot) bool {
		return func(s *Snapshot) bool { return s.Schema.Table("d", name) != nil }
	}
	current(t, l)

	for _, test := range []struct {
		name, sql string
		holds     func(*Snapshot) bool
	}{
		{"CREATE TABLE", "CREATE TABLE d.b (x INT)", hasTable("b")},
		{"prepared", "PREPARE s FROM 'CREATE TABLE d.by_prepare (x INT)'; EXECUTE s", hasTable("by_prepare")},
		{"EXECUTE IMMEDIATE", "EXECUTE IMMEDIATE 'CREATE TABLE d.by_immediate (x INT)'", hasTable("by_immediate")},
		{"procedure", "CALL d.make()", hasTable("by_procedure")},
		{"RENAME TABLE", "RENAME TABLE d.b TO d.c", hasTable("c")},
		{"ADD COLUMN", "ALTER TABLE d.c ADD COLUMN y INT", func(s *Snapshot) bool { return s.Schema.Table("d", "c").Column("y") != nil }},
		{"CREATE INDEX", "CREATE INDEX i ON d.c (y)", func(s *Snapshot) bool { return len(s.Schema.Table("d", "c").Indexes) == 1 }},
		{"CREATE TRIGGER", "CREATE TRIGGER d.t BEFORE INSERT ON d.c FOR EACH ROW SET NEW.y = 1",
			func(s *Snapshot) bool { return len(s.Schema.Table("d", "c").Triggers) == 1 }},
		{"CREATE VIEW", "CREATE VIEW d.v AS SELECT x FROM d.c", hasTable("v")},
		{"CREATE OR REPLACE VIEW", "CREATE OR REPLACE VIEW d.v AS SELECT y FROM d.c",
			func(s *Snapshot) bool { return strings.Contains(s.Schema.Table("d", "v").Definition, "`y`") }},
		{"DROP DATABASE", "DROP DATABASE d", func(s *Snapshot) bool { return s.Schema.Table("d", "c") == nil }},
	} {
		if test.name == "DROP DATABASE" {
			t.Run("ALTER TABLE that waits", func(t *testing.T) { waitingAlter(t, server, l) })
		}
		t.Run(test.name, func(t *testing.T) {
			server.Exec(t, test.sql)
			eventuallyShows(t, l, test.name, test.holds)
		})
	}
}

// waitingAlter: an ALTER that was counted long before it changes anything is noticed when it ends.
func waitingAlter(t *testing.T, server *mariadbtest.Server, l *SchemaLoader) {
	hold, err := server.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec("SELECT * FROM d.busy"); err != nil {
		t.Fatal(err)
	}
	before := server.Query(t, "SHOW GLOBAL STATUS LIKE 'Com_alter_table'")[0][1]
	done := make(chan error, 1)
	go func() {
		_, err := server.DB().Exec("ALTER TABLE d.busy ADD COLUMN late INT")
		done <- err
	}()
	for server.Query(t, "SHOW GLOBAL STATUS LIKE 'Com_alter_table'")[0][1] == before {
		time.Sleep(10 * time.Millisecond)
	}
	// An unrelated change makes the loader read the schema while the ALTER waits, so that it has seen the counter.
	server.Exec(t, "CREATE TABLE d.meanwhile (x INT)")
	eventuallyShows(t, l, "the table made meanwhile", func(s *Snapshot) bool { return s.Schema.Table("d", "meanwhile") != nil })
	if err := hold.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventuallyShows(t, l, "the late column", func(s *Snapshot) bool { return s.Schema.Table("d", "busy").Column("late") != nil })
}

func TestInvalidateMakesCurrentWait(t *testing.T) {
	server := mariadbtest.Start(t)
	cfg := testSchemaConfig(server)
	cfg.Poll, cfg.Reload = time.Hour, time.Hour
	l := startLoader(t, cfg, &rewrite.Policy{})
	server.Exec(t, "CREATE DATABASE d")
	for _, name := range []string{"a", "b", "c", "d"} {
		server.Exec(t, "CREATE TABLE d."+name+" (x INT)")
		l.Invalidate()
		if s := current(t, l); s.Schema.Table("d", name) == nil {
			t.Errorf("Current after Invalidate does not show table %s", name)
		}
	}

	before := current(t, l)
	l.Invalidate()
	if after := current(t, l); after.Planner != before.Planner || after.Epoch() != before.Epoch() {
		t.Errorf("a schema that did not change gives a new planner (epoch %d, before %d)", after.Epoch(), before.Epoch())
	}
	policy := &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{"d": {"a": {Columns: map[string]*rewrite.ColumnPolicy{"x": {}}}}}}
	l.SetPolicy(policy)
	after := current(t, l)
	if after.Policy != policy || after.Epoch() == before.Epoch() {
		t.Errorf("after SetPolicy the snapshot has the old policy or epoch %d", after.Epoch())
	}
	if p := after.Schema.Table("d", "a").Column("x").Protected; p == nil || p.Conflict == nil {
		t.Errorf("the INT column that the new policy names: Protected = %+v, want a conflict", p)
	}
	if before.Schema.Table("d", "a").Column("x").Protected != nil {
		t.Error("SetPolicy changed the snapshot of before")
	}
}

func TestLoaderFailsClosedWithoutBackend(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, "CREATE DATABASE d; CREATE TABLE d.a (x INT)")
	relay := faultconn.NewRelay(t, server.Addr(), nil)
	cfg := testSchemaConfig(server)
	cfg.Address, cfg.MaxStale = relay.Addr(), 2*time.Second
	l := startLoader(t, cfg, &rewrite.Policy{})
	first := current(t, l)
	if err := l.Ready(); err != nil {
		t.Errorf("Ready: %v, want nil", err)
	}

	relay.CutAll()
	if s := current(t, l); s.Schema.Table("d", "a") == nil {
		t.Error("after a broken connection the snapshot lacks table a")
	}
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(20 * time.Millisecond) {
		s, err := l.Current(context.Background())
		if err == nil && s.Epoch() != first.Epoch() {
			t.Fatalf("without a backend the epoch is %d, want %d", s.Epoch(), first.Epoch())
		}
		if errors.Is(err, ErrSchemaUnavailable) {
			break
		}
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("Current without a backend: %v, want %v in the end", err, ErrSchemaUnavailable)
		}
	}
	if err := l.Ready(); !errors.Is(err, ErrSchemaUnavailable) {
		t.Errorf("Ready: %v, want %v", err, ErrSchemaUnavailable)
	}

	if err := server.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); l.Ready() != nil; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("with the backend back: %v", l.Ready())
		}
	}
	if s := current(t, l); s.Schema.Table("d", "a") == nil {
		t.Error("with the backend back the snapshot lacks table a")
	}
}

// TestReadySeesALostBackend: no new session can begin, long before the last snapshot is too old for those that are there.
func TestReadySeesALostBackend(t *testing.T) {
	server := mariadbtest.Start(t)
	cfg := testSchemaConfig(server)
	cfg.MaxStale = patience + time.Minute
	l := startLoader(t, cfg, &rewrite.Policy{})
	current(t, l)
	if err := server.Kill(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); !errors.Is(l.Ready(), ErrSchemaUnavailable); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("Ready without a backend: %v, want %v", l.Ready(), ErrSchemaUnavailable)
		}
	}
	if _, err := l.Current(context.Background()); err != nil {
		t.Errorf("Current without a backend: %v, want the last snapshot", err)
	}
}

func TestCurrentBeforeTheFirstReadingWaits(t *testing.T) {
	server := mariadbtest.Start(t)
	l := NewSchemaLoader(testSchemaConfig(server), &rewrite.Policy{})
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if s, err := l.Current(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Current before Run with an ended context = %v, %v, want %v", s, err, context.Canceled)
	}
	if err := l.Ready(); !errors.Is(err, ErrSchemaUnavailable) {
		t.Errorf("Ready before Run: %v, want %v", err, ErrSchemaUnavailable)
	}
}

func TestLoaderWithoutPrivileges(t *testing.T) {
	server := mariadbtest.Start(t)
	server.Exec(t, `CREATE DATABASE seen; CREATE DATABASE half; CREATE DATABASE by_role; CREATE DATABASE hidden;
		CREATE TABLE seen.a (x INT); CREATE TABLE half.a (x INT); CREATE TABLE by_role.a (x INT); CREATE TABLE hidden.a (x INT);
		CREATE VIEW half.v AS SELECT x FROM half.a; CREATE VIEW seen.v AS SELECT x FROM seen.a;
		CREATE TRIGGER half.t BEFORE INSERT ON half.a FOR EACH ROW SET NEW.x = 1;
		CREATE PROCEDURE half.p() SELECT x FROM half.a;
		CREATE ROLE reader; GRANT SELECT, SHOW VIEW, TRIGGER, EVENT ON by_role.* TO reader;
		CREATE USER latchkey@'127.0.0.1' IDENTIFIED BY 'a b'; GRANT reader TO latchkey@'127.0.0.1'; SET DEFAULT ROLE reader FOR latchkey@'127.0.0.1';
		GRANT ALL ON `+"`se_n`"+`.* TO latchkey@'127.0.0.1'; GRANT SELECT, EXECUTE ON half.* TO latchkey@'127.0.0.1'`)
	password := filepath.Join(t.TempDir(), "password")
	if err := os.WriteFile(password, []byte("a b\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg := testSchemaConfig(server)
	cfg.User, cfg.PasswordFile = "latchkey", password
	l := startLoader(t, cfg, &rewrite.Policy{})
	s := current(t, l)

	if s.Schema.Table("hidden", "a") != nil {
		t.Error("the account sees table hidden.a")
	}
	if v := s.Schema.Table("half", "v"); v == nil || !v.Unreadable {
		t.Errorf("half.v = %+v, want it unreadable", v)
	}
	if v := s.Schema.Table("seen", "v"); v == nil || v.Unreadable {
		t.Errorf("seen.v = %+v, want it readable", v)
	}
	if a := s.Schema.Table("half", "a"); len(a.Triggers) != 1 || !a.Triggers[0].Unreadable {
		t.Errorf("half.a without TRIGGER has triggers %+v, want one that is unreadable", a.Triggers)
	}
	for _, database := range []string{"seen", "by_role"} {
		if a := s.Schema.Table(database, "a"); len(a.Triggers) != 0 {
			t.Errorf("%s.a has triggers %+v, want none", database, a.Triggers)
		}
	}
	i := slices.IndexFunc(s.Schema.Routines, func(r *rewrite.Routine) bool { return r.Database == "half" && r.Name == "p" })
	if i < 0 || !s.Schema.Routines[i].Unreadable {
		t.Error("half.p is missing or readable")
	}
	want := []string{"PROCESS on *.*", "SHOW VIEW on half.*", "TRIGGER on half.*", "EVENT on half.*"}
	if !slices.Equal(s.MissingPrivileges, want) {
		t.Errorf("MissingPrivileges = %q, want %q", s.MissingPrivileges, want)
	}

	server.Exec(t, "CREATE TABLE seen.b (x INT)")
	eventuallyShows(t, l, "a table made by others", func(s *Snapshot) bool { return s.Schema.Table("seen", "b") != nil })
	// Without PROCESS a running ALTER is not seen; the schema is read again until it has ended.
	hold, err := server.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := hold.Exec("SELECT * FROM seen.a"); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := server.DB().Exec("ALTER TABLE seen.a ADD COLUMN late INT")
		done <- err
	}()
	for len(server.Query(t, "SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE 'ALTER TABLE%' AND STATE LIKE 'Waiting%'")) == 0 {
		time.Sleep(10 * time.Millisecond)
	}
	server.Exec(t, "CREATE TABLE seen.meanwhile (x INT)")
	eventuallyShows(t, l, "the table made meanwhile", func(s *Snapshot) bool { return s.Schema.Table("seen", "meanwhile") != nil })
	if err := hold.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventuallyShows(t, l, "the late column", func(s *Snapshot) bool { return s.Schema.Table("seen", "a").Column("late") != nil })
}

func TestLoaderConnectsWithTLS(t *testing.T) {
	server := mariadbtest.Start(t, mariadbtest.WithTLS())
	server.Exec(t, "CREATE USER secure@'127.0.0.1' REQUIRE SSL; GRANT ALL ON *.* TO secure@'127.0.0.1'")
	cfg := testSchemaConfig(server)
	cfg.User = "secure"
	cfg.TLS = &tls.Config{RootCAs: server.Certs.Pool(), ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	current(t, startLoader(t, cfg, &rewrite.Policy{}))

	cfg.TLS = nil
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if i, err := Inspect(ctx, cfg); err == nil {
		i.Close()
		t.Error("an account with REQUIRE SSL connects without TLS")
	}
	cfg.TLS = &tls.Config{ServerName: "127.0.0.1", MinVersion: tls.VersionTLS12}
	if i, err := Inspect(ctx, cfg); err == nil {
		i.Close()
		t.Error("a server certificate of an unknown authority is accepted")
	}
}

func TestLoaderPasswordFile(t *testing.T) {
	cfg := SchemaConfig{Address: "127.0.0.1:1", User: "x", PasswordFile: filepath.Join(t.TempDir(), "missing")}
	if _, err := Inspect(context.Background(), cfg); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Inspect with a missing password file: %v, want %v", err, os.ErrNotExist)
	}
}

func TestServerVersion(t *testing.T) {
	for text, want := range map[string]int{
		"10.11.19-MariaDB-0+deb12u1": 101119, "5.5.5-10.6.2-MariaDB": 100602, "11.4.5-MariaDB-log": 110405,
		"8.0.36": 0, "": 0, "MariaDB": 0, "10.11-MariaDB": 0,
	} {
		if got := serverVersion(text); got != want {
			t.Errorf("serverVersion(%q) = %d, want %d", text, got, want)
		}
	}
}

func TestGrants(t *testing.T) {
	var g grants
	for _, line := range []string{
		"GRANT `r1` TO `u1`@`127.0.0.1`",
		"GRANT USAGE ON *.* TO `r1`",
		"GRANT PROCESS, EVENT ON *.* TO `u`@`%` IDENTIFIED BY PASSWORD '*0' REQUIRE SSL",
		"GRANT SELECT ON `a\\_b`.* TO `u`@`%`",
		"GRANT SELECT (`x`, `y`), SHOW VIEW ON `c`.`t` TO `u`@`%`",
		"GRANT ALL PRIVILEGES ON `d``%`.* TO `u`@`%` WITH GRANT OPTION",
		"GRANT EXECUTE ON PROCEDURE `c`.`p` TO `u`@`%`",
		"SET DEFAULT ROLE `r1` FOR `u1`@`127.0.0.1`",
	} {
		if e, ok := parseGrant(line); ok {
			g.entries = append(g.entries, e)
		}
	}
	for _, test := range []struct {
		privilege, database string
		want                bool
	}{
		{"PROCESS", "", true}, {"EVENT", "c", true}, {"SELECT", "", false}, {"SELECT", "a_b", true}, {"SELECT", "axb", false},
		{"SELECT", "c", false}, {"SHOW VIEW", "c", false}, {"TRIGGER", "d`x", true}, {"TRIGGER", "dx", false}, {"EXECUTE", "c", false},
		{"USAGE", "", true},
	} {
		if got := g.has(test.privilege, test.database); got != test.want {
			t.Errorf("has(%q, %q) = %t, want %t", test.privilege, test.database, got, test.want)
		}
	}
}
