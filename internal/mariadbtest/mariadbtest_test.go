package mariadbtest

import (
	"context"
	"crypto/tls"
	"database/sql"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
)

func TestMain(m *testing.M) { Main(m) }

func TestSharedServerAnswersAsMariaDB(t *testing.T) {
	s := Shared(t)
	if got := s.Query(t, "SELECT VERSION()")[0][0]; !strings.Contains(got, "MariaDB") {
		t.Errorf("VERSION() = %q, want a MariaDB version", got)
	}
	if Shared(t) != s {
		t.Error("Shared started a second server")
	}
}

func TestDatabasesAreFreshAndDropped(t *testing.T) {
	s := Shared(t)
	var name string
	t.Run("inside", func(t *testing.T) {
		name = s.NewDatabase(t)
		if other := s.NewDatabase(t); other == name {
			t.Errorf("both databases are called %s", name)
		}
		s.Exec(t, fmt.Sprintf("CREATE TABLE %s.x (a INT); INSERT INTO %[1]s.x VALUES (1), (NULL)", name))
		got := s.Query(t, "SELECT a FROM "+name+".x ORDER BY a")
		if want := "[[NULL] [1]]"; fmt.Sprint(got) != want {
			t.Errorf("rows = %v, want %s", got, want)
		}
	})
	if got := s.Query(t, "SHOW DATABASES LIKE '"+name+"'"); len(got) != 0 {
		t.Errorf("database %s outlived its test", name)
	}
}

func TestZonesAreKnownByName(t *testing.T) {
	got := Shared(t).Query(t, "SELECT CONVERT_TZ('2024-07-01 12:00:00', 'UTC', 'Europe/Berlin')")
	if want := "2024-07-01 14:00:00"; got[0][0] != want {
		t.Errorf("CONVERT_TZ = %s, want %s", got[0][0], want)
	}
}

func TestServersLiveSideBySideAndEndWithTheirTest(t *testing.T) {
	var addr, dir string
	t.Run("inside", func(t *testing.T) {
		a, b := Start(t), Start(t, WithArgs("--sql-mode=ANSI"))
		addr, dir = a.Addr(), a.Dir()
		if a.Addr() == b.Addr() || a.Dir() == b.Dir() {
			t.Fatalf("two servers share %s or %s", a.Addr(), a.Dir())
		}
		if got := b.Query(t, "SELECT @@GLOBAL.sql_mode")[0][0]; !strings.Contains(got, "ANSI") {
			t.Errorf("sql_mode = %s, want ANSI", got)
		}
	})
	if conn, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
		conn.Close()
		t.Errorf("something still listens on %s", addr)
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("stat %s = %v, want not exist", dir, err)
	}
}

func TestWithAllLogsKeepsTheStatements(t *testing.T) {
	s := Start(t, WithAllLogs())
	db := s.NewDatabase(t)
	s.Exec(t, fmt.Sprintf("CREATE TABLE %s.x (a VARCHAR(40)); INSERT INTO %[1]s.x VALUES ('a marker')", db))
	s.Exec(t, "FLUSH LOGS")
	for _, pattern := range []string{"general.log", "slow.log", "binlog.00*"} {
		files, err := filepath.Glob(filepath.Join(s.DataDir(), pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no file %s: %v", pattern, err)
		}
		var all strings.Builder
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(text)
		}
		if !strings.Contains(all.String(), "a marker") {
			t.Errorf("%s does not hold the statement's value", pattern)
		}
	}
	if got := s.Query(t, "SELECT COUNT(*) > 0 FROM performance_schema.events_statements_history_long"); got[0][0] != "1" {
		t.Error("performance_schema keeps no statements")
	}
}

func TestWithTLSOffersACertificateOfItsAuthority(t *testing.T) {
	s := Start(t, WithTLS())
	config, err := mysql.ParseDSN(s.DSN(""))
	if err != nil {
		t.Fatal(err)
	}
	config.TLS = &tls.Config{RootCAs: s.Certs.Pool(), ServerName: "localhost"}
	connector, err := mysql.NewConnector(config)
	if err != nil {
		t.Fatal(err)
	}
	pool := sql.OpenDB(connector)
	defer pool.Close()
	var name, cipher string
	if err := pool.QueryRow("SHOW STATUS LIKE 'Ssl_cipher'").Scan(&name, &cipher); err != nil {
		t.Fatal(err)
	}
	if cipher == "" {
		t.Error("the connection is not encrypted")
	}
}

func TestACrashedServerRestartsWithItsData(t *testing.T) {
	s := Start(t)
	db := s.NewDatabase(t)
	s.Exec(t, fmt.Sprintf("CREATE TABLE %s.x (a INT); INSERT INTO %[1]s.x VALUES (7)", db))
	if err := s.Kill(); err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := s.Query(t, "SELECT a FROM "+db+".x"); len(got) != 1 || got[0][0] != "7" {
		t.Errorf("rows after a crash = %v, want [[7]]", got)
	}
}

func TestErrorNumbers(t *testing.T) {
	_, err := Shared(t).DB().Exec("SELECT * FROM mysql.no_such_table")
	if got, want := Code(err), 1146; got != want {
		t.Errorf("Code(%v) = %d, want %d", err, got, want)
	}
}
