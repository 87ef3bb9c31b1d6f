package endtoend

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const migrationsDir = "testdata/migrations"

// journalPolicy protects the tables that the migration tools make. Version 2 of the schema adds the column mood and calls
// body content.
const journalPolicy = `    users:
      columns:
        email: {key: "service:app", search: equality}
    entries:
      owner: user_id
      columns:
        title: {search: equality}
        body: {}
        content: {context: entries.body}
        amount: {}
        happened_on: {}
        details: {}
        mood: {}
    kinds:
      columns:
        a_boolean: {}
        an_integer: {}
        a_small: {}
        a_bigint: {}
        a_double: {}
        a_float: {}
        a_time: {}
        a_datetime: {search: equality, key: "service:app"}
        a_timestamp: {}
        a_duration: {}
        a_binary: {}
        a_uuid: {search: equality, key: "service:app"}
        an_address: {}
        a_slug: {}
        a_choice: {}
        a_set: {}
        a_year: {}
        a_char: {}
        a_text: {}
`

// journalProtected has what is protected in each table, as a condition over COLUMN_NAME.
var journalProtected = map[string]string{
	"users":   "= 'email'",
	"entries": "IN ('title', 'body', 'content', 'amount', 'happened_on', 'details', 'mood')",
	"kinds":   "<> 'id'",
}

// migrationTool is a program that is called with the version of the schema to migrate to, 1 or 2, and with "rows" if it is
// to write and read rows afterwards. It prints what it did and what it sees of the schema.
type migrationTool struct {
	name    string
	command func() ([]string, error)
	// readsRows: its look at the schema reads a row, for which it needs the owner's key.
	readsRows bool
	// reverts: its migrations also lead back from version 2 to version 1. Called with "fresh", it first drops the tables, or
	// truncates them.
	reverts bool
	// repeats: it sends definitions of columns that are already so, to plain tables too.
	repeats bool
}

func migrationTools(t *testing.T) []migrationTool {
	node, gorm := migrationNode(t), migrationGORM(t)
	return []migrationTool{
		{name: "django", command: migrationScript("/usr/bin/python3", "django/migrate.py"), readsRows: true, reverts: true},
		{name: "rails", command: migrationScript("ruby", "--backtrace-limit=4", "rails/migrate.rb"), reverts: true},
		{name: "laravel", command: migrationScript("php", "-d", "display_errors=stderr", "laravel/migrate.php"), reverts: true, repeats: true},
		{name: "sqlalchemy", command: migrationScript("/usr/bin/python3", "sqlalchemy/migrate.py")},
		{name: "gorm", command: gorm, readsRows: true},
		{name: "sequelize", command: node("sequelize.js"), repeats: true},
		{name: "typeorm", command: node("typeorm.js")},
	}
}

// TestMigrationTools lets migration tools make and change a journal through Latchkey and on a plaintext twin. What they do
// and see is equal, a second run sends no definitions, and the backend holds annotated cells only.
func TestMigrationTools(t *testing.T) {
	tools := migrationTools(t)
	b := newMigrationBench(t, tools)
	for _, tool := range tools {
		t.Run(tool.name, func(t *testing.T) { b.migrate(t, tool) })
	}
	b.nothingLogged(t)
}

// migrationBench is two servers with the same databases and accounts: one is plain, one is behind Latchkey.
type migrationBench struct {
	plain, backend *mariadbtest.Server
	proxy          *latchkeytest.Proxy
	token          string
}

func newMigrationBench(t *testing.T, tools []migrationTool) *migrationBench {
	t.Helper()
	log := mariadbtest.WithArgs("--general-log=1", "--log-output=TABLE", "--character-set-server=utf8mb4", "--collation-server=utf8mb4_general_ci")
	b := &migrationBench{plain: mariadbtest.Start(t, log), backend: mariadbtest.Start(t, log)}
	var databases strings.Builder
	for _, tool := range tools {
		fmt.Fprintf(&databases, "  journal_%s:\n%s", tool.name, journalPolicy)
		for _, server := range []*mariadbtest.Server{b.plain, b.backend} {
			server.Exec(t, fmt.Sprintf(`CREATE DATABASE journal_%[1]s; CREATE USER %[1]s@'127.0.0.1' IDENTIFIED BY 'secret'; GRANT ALL ON journal_%[1]s.* TO %[1]s@'127.0.0.1'`, tool.name))
		}
	}
	b.proxy = latchkeytest.Start(t, latchkeytest.Config{
		Server: b.backend, Accounts: []string{"root"}, ServiceKeys: []string{"app"},
		Keystore:  "  password: {memory: 8MiB, time: 1, threads: 1}",
		Databases: databases.String(),
	})
	var ignored sql.RawBytes
	rows, err := b.proxy.Conn(t, "", "", "").QueryContext(context.Background(), "CALL latchkey.enroll('1', 'remarkable password')")
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		if err := rows.Scan(&ignored, &ignored, &b.token, &ignored, &ignored); err != nil {
			t.Fatal(err)
		}
	}
	if b.token == "" {
		t.Fatalf("enrolling gave no token: %v", rows.Err())
	}
	return b
}

// migrationRun is one run of a tool's program.
type migrationRun struct {
	what string
	args []string
	// again: there is nothing left to change.
	again bool
	// empty: the rows are deleted first, since a column of stored cells cannot become shorter.
	empty bool
}

func (b *migrationBench) migrate(t *testing.T, tool migrationTool) {
	command, err := tool.command()
	if err != nil {
		t.Fatal(err)
	}
	runs := []migrationRun{
		{what: "version 1", args: []string{"1"}},
		{what: "version 1 again", args: []string{"1", "rows"}, again: true},
		{what: "version 2", args: []string{"2"}},
		{what: "version 2 again", args: []string{"2", "rows"}, again: true},
	}
	if tool.reverts {
		runs = append(runs, migrationRun{what: "back to version 1", args: []string{"1"}, empty: true}, migrationRun{what: "version 2 once more", args: []string{"2"}},
			migrationRun{what: "version 2 afresh", args: []string{"2", "fresh"}})
	}
	for _, run := range runs {
		token := ""
		if run.again || tool.readsRows {
			token = b.token
		}
		if run.empty {
			b.plain.Exec(t, "DELETE FROM journal_"+tool.name+".entries")
			b.backend.Exec(t, "DELETE FROM journal_"+tool.name+".entries")
		}
		from := b.definitions(t, tool)
		want, got := make(chan migrationReport), make(chan migrationReport)
		go func() { want <- runMigration(tool, b.plain.Addr(), "", slices.Concat(command, run.args)) }()
		go func() { got <- runMigration(tool, b.proxy.Address, token, slices.Concat(command, run.args)) }()
		plain, sealed := <-want, <-got
		if plain.err != nil || sealed.err != nil {
			t.Fatalf("%s\non plain tables: %v\nthrough Latchkey: %v\nreport:\n%s\nlog:\n%s", run.what, plain.err, sealed.err, lastLines(sealed.text, 20), lastLines(b.proxy.Log(), 10))
		}
		sameReport(t, run.what+" through Latchkey, held against plain tables", sealed.text, plain.text)
		sent := b.definitions(t, tool) - from
		if (sent > 0) != (!run.again || tool.repeats) {
			t.Errorf("%s sent %d definitions", run.what, sent)
		}
		b.sameTables(t, tool, run.what)
		b.onlyCells(t, tool, run.what)
	}
}

// sameTables compares what SHOW CREATE TABLE says of all tables of a tool.
func (b *migrationBench) sameTables(t *testing.T, tool migrationTool, after string) {
	t.Helper()
	ctx := context.Background()
	database := "journal_" + tool.name
	sealed := b.proxy.Conn(t, database, "", "")
	defer sealed.Close()
	for _, table := range b.plain.Query(t, "SELECT TABLE_NAME FROM information_schema.TABLES WHERE TABLE_SCHEMA = '"+database+"' ORDER BY 1") {
		var name, got string
		if err := sealed.QueryRowContext(ctx, "SHOW CREATE TABLE "+mariadbtest.Quote(table[0])).Scan(&name, &got); err != nil {
			t.Errorf("after %s: SHOW CREATE TABLE %s: %v", after, table[0], err)
			continue
		}
		sameReport(t, "SHOW CREATE TABLE after "+after, got, b.plain.Query(t, "SHOW CREATE TABLE "+database+"."+mariadbtest.Quote(table[0]))[0][1])
	}
}

// definitions counts the definitions that the backend has had from the tool.
func (b *migrationBench) definitions(t *testing.T, tool migrationTool) int {
	t.Helper()
	return len(b.backend.Query(t, fmt.Sprintf(`SELECT 1 FROM mysql.general_log WHERE user_host LIKE '%s[%%' AND command_type IN ('Query', 'Execute')
  AND argument RLIKE '(?i)^\\s*(CREATE|ALTER|DROP|RENAME|TRUNCATE)\\b'`, tool.name)))
}

// onlyCells reads the backend's tables directly.
func (b *migrationBench) onlyCells(t *testing.T, tool migrationTool, after string) {
	t.Helper()
	for table, protected := range journalProtected {
		name := "journal_" + tool.name + "." + table
		columns := b.backend.Query(t, fmt.Sprintf(`SELECT COLUMN_NAME, DATA_TYPE, COLUMN_COMMENT FROM information_schema.COLUMNS
  WHERE TABLE_SCHEMA = 'journal_%s' AND TABLE_NAME = '%s' AND COLUMN_NAME %s`, tool.name, table, protected))
		if len(columns) == 0 && table != "kinds" {
			t.Fatalf("%s: %s has none of its protected columns", after, name)
		}
		for _, c := range columns {
			if kind := c[1]; kind != "varbinary" && !strings.HasSuffix(kind, "blob") || !strings.Contains(c[2], "latchkey:v1 ") {
				t.Errorf("%s: %s.%s is stored as %s with the comment %q", after, name, c[0], kind, c[2])
			}
			open := b.backend.Query(t, fmt.Sprintf(`SELECT 1 FROM %s WHERE LENGTH(%[2]s) > 0 AND LEFT(%[2]s, 3) <> x'FF4C4B'`, name, mariadbtest.Quote(c[0])))
			if len(open) > 0 {
				t.Errorf("%s: %s.%s holds what is no cell in %d rows", after, name, c[0], len(open))
			}
		}
	}
}

// nothingLogged: no value that the tools wrote has reached the backend.
func (b *migrationBench) nothingLogged(t *testing.T) {
	t.Helper()
	for _, value := range []string{"First day", "first DAY", "It rained", "Zweiter Tag", "ann@example.org", "2024-02-29", "remarkable", b.token} {
		like := "SELECT COUNT(*) FROM mysql.general_log WHERE command_type <> 'x' AND user_host NOT LIKE 'root[%' AND argument LIKE CONCAT('%', '" + value + "', '%')"
		if n := b.backend.Query(t, like)[0][0]; n != "0" {
			t.Errorf("the backend's log has %q in %s statements", value, n)
		}
		if value == "It rained" && b.plain.Query(t, like)[0][0] == "0" {
			t.Error("the plain server's log lacks the values: nothing was logged")
		}
	}
}

type migrationReport struct {
	text string
	err  error
}

// runMigration runs a tool's program to its end.
func runMigration(tool migrationTool, addr, token string, command []string) migrationReport {
	ctx, cancel := context.WithTimeout(context.Background(), programTimeout)
	defer cancel()
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return migrationReport{err: err}
	}
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Env = append(os.Environ(), "LATCHKEY_HOST="+host, "LATCHKEY_PORT="+port, "LATCHKEY_USER="+tool.name, "LATCHKEY_PASSWORD=secret",
		"LATCHKEY_DATABASE=journal_"+tool.name, "LATCHKEY_TOKEN="+token, "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1", "PYTHONIOENCODING=utf-8", "LANG=C.UTF-8")
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err = cmd.Run(); err == nil && stderr.Len() > 0 {
		err = errors.New("it complains")
	}
	if err != nil {
		err = fmt.Errorf("%s: %w\n%s", tool.name, err, lastLines(stderr.String(), 20))
	}
	return migrationReport{text: stdout.String(), err: err}
}

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSuffix(text, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}

// migrationScript gives a command whose last word is a file of migrationsDir.
func migrationScript(words ...string) func() ([]string, error) {
	last := len(words) - 1
	words[last] = filepath.Join(migrationsDir, words[last])
	return func() ([]string, error) { return words, nil }
}

// inBackground starts to make something while other tools run, and gives what waits for it.
func inBackground(t *testing.T, build func(dir string) error) (dir string, wait func() error) {
	t.Helper()
	dir = t.TempDir()
	wait = sync.OnceValue(func() error { return build(dir) })
	go wait()
	t.Cleanup(func() { wait() })
	return dir, wait
}

// migrationNode installs Sequelize and TypeORM beside their programs, and gives their commands.
func migrationNode(t *testing.T) func(file string) func() ([]string, error) {
	dir, wait := inBackground(t, func(dir string) error {
		if err := os.CopyFS(dir, os.DirFS(filepath.Join(migrationsDir, "node"))); err != nil {
			return err
		}
		cmd := exec.Command("npm", "ci", "--omit=dev", "--no-audit", "--no-fund", "--ignore-scripts", "--prefer-offline")
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci: %w\n%s", err, out)
		}
		return nil
	})
	return func(file string) func() ([]string, error) {
		return func() ([]string, error) { return []string{"node", filepath.Join(dir, file)}, wait() }
	}
}

// migrationGORM builds the module of GORM's program.
func migrationGORM(t *testing.T) func() ([]string, error) {
	dir, wait := inBackground(t, func(dir string) error {
		cmd := exec.Command("go", "build", "-o", filepath.Join(dir, "migrate"), ".")
		cmd.Dir = filepath.Join(migrationsDir, "gorm")
		cmd.Env = append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=readonly")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("go build: %w\n%s", err, out)
		}
		return nil
	})
	return func() ([]string, error) { return []string{filepath.Join(dir, "migrate")}, wait() }
}
