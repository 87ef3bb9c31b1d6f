package migrate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
	"latchkey/keystore/tables"
	"latchkey/proxy"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

func TestMain(m *testing.M) { mariadbtest.Main(m) }

var ctx = context.Background()

// bench is a database whose table `t` has the column v under one user key, and no owner column.
type bench struct {
	t      *testing.T
	server *mariadbtest.Server
	db     string
	schema proxy.SchemaConfig
	fleet  *keystore.FleetSecret
	notes  *tables.Store
	keys   *proxy.MigrationKeys
	policy *rewrite.Policy
}

func newBench(t *testing.T, table string) *bench {
	t.Helper()
	server := mariadbtest.Shared(t)
	b := &bench{t: t, server: server, db: server.NewDatabase(t)}
	server.Exec(t, "USE "+b.db+"; "+table)
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+b.db+"_keys") })
	b.schema = proxy.SchemaConfig{Address: server.Addr(), User: "root", KeystoreDatabase: b.db + "_keys", Verify: func(body, mac []byte) bool { return bytes.Equal(mac, b.mac(body)) }}
	var err error
	if b.fleet, err = keystore.NewFleetSecret(bytes.NewReader(bytes.Repeat([]byte{7}, 32))); err != nil {
		t.Fatal(err)
	}
	b.notes = tables.New(tables.Config{Address: server.Addr(), User: "root", Password: func() (string, error) { return "", nil }, Database: b.db + "_keys", Realm: "main", Fingerprint: b.fleet.Fingerprint("main")})
	t.Cleanup(b.notes.Close)
	if err := b.notes.Setup(ctx); err != nil {
		t.Fatal(err)
	}
	user, err := keystore.NewUserKey("main", bytes.Repeat([]byte{1}, 32), bytes.Repeat([]byte{2}, 32))
	if err != nil {
		t.Fatal(err)
	}
	defer user.Release()
	if b.keys, err = proxy.NewMigrationKeys(proxy.MigrationKeysConfig{User: user}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.keys.Close)
	b.policy = &rewrite.Policy{Databases: map[string]map[string]*rewrite.TablePolicy{b.db: {"t": {Columns: map[string]*rewrite.ColumnPolicy{"v": {PlaintextAccept: true}}}}}}
	return b
}

func (b *bench) mac(body []byte) []byte {
	mac := b.fleet.SchemaMAC("main", body)
	return mac[:]
}

// read reads the schema.
func (b *bench) read() *rewrite.Schema {
	b.t.Helper()
	inspection, err := proxy.Inspect(ctx, b.schema)
	if err != nil {
		b.t.Fatal(err)
	}
	inspection.Close()
	rewrite.Protect(inspection.Schema, b.policy, b.schema.Verify)
	return inspection.Schema
}

// passage gives what there is to prepare.
func (b *bench) passage() *rewrite.Passage {
	b.t.Helper()
	all := rewrite.Prepare(b.read(), b.policy, rewrite.AlterOptions{MAC: b.mac})
	if len(all) != 1 || len(all[0].Blocked) > 0 {
		b.t.Fatalf("%d passages: %+v", len(all), all)
	}
	return all[0]
}

func (b *bench) engine(batch int) *migrate.Engine {
	e := migrate.New(migrate.Config{Dial: proxy.MigrationDial(b.schema), Keys: b.keys, Fleet: b.fleet, Realm: "main", Notes: b.notes, Limits: migrate.Limits{Batch: batch}})
	b.t.Cleanup(e.Close)
	return e
}

func (b *bench) prepare() {
	b.t.Helper()
	if err := b.engine(0).Pass(ctx, b.passage()); err != nil {
		b.t.Fatal(err)
	}
}

// job gives the job for table t.
func (b *bench) job(act migrate.Act) migrate.Job {
	b.t.Helper()
	m, why := rewrite.NewMigration(b.read().Table(b.db, "t"))
	if why != nil {
		b.t.Fatal(why)
	}
	return migrate.Job{Act: act, Migration: m, Columns: m.Columns}
}

// stored gives what stands in v, in hexadecimal digits and in the order of id.
func (b *bench) stored() []string {
	b.t.Helper()
	var all []string
	for _, row := range b.server.Query(b.t, "SELECT HEX(v) FROM "+b.db+".t ORDER BY id") {
		all = append(all, row[0])
	}
	return all
}

// TestPassGoesOn cuts a passage short behind each of its steps: what is marked is marked once.
func TestPassGoesOn(t *testing.T) {
	const table = "CREATE TABLE t (id INT PRIMARY KEY, v VARBINARY(40) NOT NULL DEFAULT 'none', u TIMESTAMP NOT NULL DEFAULT '2020-01-01' ON UPDATE CURRENT_TIMESTAMP);" +
		"INSERT INTO t (id, v) VALUES (1, 'plain'), (2, x'ff4c4b70'), (3, x'ff4c4b7401'), (4, ''), (5, x'ff4c')"
	want := fmt.Sprint([]string{"706C61696E", "FF4C4B70FF4C4B70", "FF4C4B70FF4C4B7401", "FF4C4B70", "FF4C"})
	for name, cut := range map[string]func(b *bench, p *rewrite.Passage){
		"before":             func(b *bench, p *rewrite.Passage) {},
		"behind the type":    func(b *bench, p *rewrite.Passage) { p.Update = "UPDATE t SET broken = 1" },
		"behind the marks":   func(b *bench, p *rewrite.Passage) { p.Last = []string{"ALTER TABLE broken ENGINE=InnoDB"} },
		"behind the columns": func(b *bench, p *rewrite.Passage) { p.Last = append(p.Last, "ALTER TABLE broken ENGINE=InnoDB") },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, table)
			p := b.passage()
			cut(b, p)
			if err := b.engine(0).Pass(ctx, p); (err == nil) != (name == "before") {
				t.Fatalf("the first run: %v", err)
			}
			if name == "behind the type" || name == "behind the marks" {
				if c := b.read().Table(b.db, "t").Column("v"); c.Protected.Conflict == nil {
					t.Error("a column on its way may be used")
				}
				b.prepare()
			}
			if got := fmt.Sprint(b.stored()); got != want {
				t.Errorf("the column holds %s, want %s", got, want)
			}
			if c := b.read().Table(b.db, "t").Column("v"); c.Protected.Conflict != nil {
				t.Errorf("the column cannot be used: %v", c.Protected.Conflict)
			}
			if touched := b.server.Query(t, "SELECT COUNT(*) FROM "+b.db+".t WHERE u <> '2020-01-01'")[0][0]; touched != "0" {
				t.Errorf("ON UPDATE has moved in %s rows", touched)
			}
		})
	}
}

// TestEveryKeyIsGoneThrough goes through a table by a key of several columns, a few rows at a time.
func TestEveryKeyIsGoneThrough(t *testing.T) {
	b := newBench(t, "CREATE TABLE t (id INT NOT NULL, a VARCHAR(20) CHARACTER SET latin1 COLLATE latin1_swedish_ci, b DATE, c DECIMAL(6,2), d BINARY(3), e TIME, f UUID, g DATETIME(3), h CHAR(4) CHARACTER SET utf8mb4, v TEXT,"+
		" PRIMARY KEY (a, b, c, d, e, f, g, h));"+
		"INSERT INTO t SELECT seq, ELT(1 + seq % 4, '', '\u00e4', 'B', 'it''s '), '2020-01-01' + INTERVAL seq % 3 DAY, CAST(seq AS SIGNED) % 7 - 3.25, CHAR(seq % 5, 255), SEC_TO_TIME(CAST(seq AS SIGNED) % 3 * 1000 - 1000), '123e4567-e89b-12d3-a456-426655440000',"+
		" '2024-01-01 00:00:00.125' + INTERVAL seq % 2 SECOND, LPAD(seq, 4, 'x'), CONCAT('value ', seq) FROM seq_1_to_400")
	b.prepare()
	result, err := b.engine(7).Run(ctx, b.job(migrate.Encrypt))
	if err != nil || result.Rows != 400 || result.Left != 0 {
		t.Fatalf("Run = %+v, %v, want 400 rows", result, err)
	}
	for i, v := range b.stored() {
		if !strings.HasPrefix(v, "FF4C4B63") {
			t.Fatalf("row %d holds %.20s", i, v)
		}
	}
	if result, err := b.engine(7).Run(ctx, b.job(migrate.Encrypt)); err != nil || result.Rows != 0 {
		t.Errorf("again: %+v, %v, want nothing to do", result, err)
	}
	if result, err := b.engine(7).Run(ctx, b.job(migrate.Rotate)); err != nil || result.Rows != 0 {
		t.Errorf("rotate: %+v, %v, want nothing to do", result, err)
	}
	if result, err := b.engine(7).Run(ctx, b.job(migrate.Decrypt)); err != nil || result.Rows != 400 {
		t.Errorf("decrypt: %+v, %v, want 400 rows", result, err)
	}
	if got := b.server.Query(t, "SELECT COUNT(*) FROM "+b.db+".t WHERE v = CONCAT('value ', id)")[0][0]; got != "400" {
		t.Errorf("%s rows came back, want 400", got)
	}
}

// TestRowsInUseComeLater leaves a row that another session has locked until it is free, and overwrites nothing of it.
func TestRowsInUseComeLater(t *testing.T) {
	b := newBench(t, "CREATE TABLE t (id INT PRIMARY KEY, n INT NOT NULL DEFAULT 0, v VARCHAR(40)); INSERT INTO t (id, v) SELECT seq, CONCAT('v', seq) FROM seq_1_to_20")
	b.prepare()
	tx, err := b.server.DB().Begin()
	if err != nil {
		t.Fatal(err)
	}
	defer tx.Rollback()
	if _, err := tx.Exec("UPDATE " + b.db + ".t SET n = 5, v = 'written meanwhile' WHERE id = 3"); err != nil {
		t.Fatal(err)
	}
	job := b.job(migrate.Encrypt)
	ended := make(chan error, 1)
	go func() {
		_, err := b.engine(5).Run(ctx, job)
		ended <- err
	}()
	sealed := "SELECT COUNT(*) FROM " + b.db + ".t WHERE LEFT(v, 3) = x'ff4c4b'"
	for deadline := time.Now().Add(time.Minute); b.server.Query(t, sealed)[0][0] != "19"; time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the other rows are not sealed")
		}
	}
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if got := b.server.Query(t, sealed)[0][0]; got != "20" {
		t.Errorf("%s rows are sealed, want 20", got)
	}
	if _, err := b.engine(5).Run(ctx, b.job(migrate.Decrypt)); err != nil {
		t.Fatal(err)
	}
	if got := b.server.Query(t, "SELECT n, v FROM "+b.db+".t WHERE id = 3")[0]; got[0] != "5" || got[1] != "written meanwhile" {
		t.Errorf("the row that was written meanwhile holds %v", got)
	}
}

// TestWhatIsNoValueStays leaves plaintext that the declared type cannot hold, and says so.
func TestWhatIsNoValueStays(t *testing.T) {
	b := newBench(t, "CREATE TABLE t (id INT PRIMARY KEY, v INT); INSERT INTO t VALUES (1, 5), (2, 6), (3, NULL)")
	b.prepare()
	b.server.Exec(t, "UPDATE "+b.db+".t SET v = 'six' WHERE id = 2")
	result, err := b.engine(0).Run(ctx, b.job(migrate.Encrypt))
	if !errors.Is(err, migrate.ErrLeft) || result.Rows != 1 || result.Failed == 0 || result.Left != 1 {
		t.Errorf("Run = %+v, %v, want one row sealed and one left", result, err)
	}
	if got := b.stored(); got[1] != fmt.Sprintf("%X", "six") || got[2] != "NULL" {
		t.Errorf("the rows hold %v", got)
	}
}

func TestTablesThatAreRefused(t *testing.T) {
	for name, table := range map[string]string{
		"no key":         "CREATE TABLE t (id INT, v TEXT)",
		"nullable key":   "CREATE TABLE t (id INT UNIQUE, v TEXT)",
		"enum key":       "CREATE TABLE t (id ENUM('a') PRIMARY KEY, v TEXT)",
		"engine":         "CREATE TABLE t (id INT PRIMARY KEY, v TEXT) ENGINE=Aria",
		"trigger":        "CREATE TABLE t (id INT PRIMARY KEY, v TEXT); CREATE TRIGGER r BEFORE UPDATE ON t FOR EACH ROW SET NEW.id = OLD.id",
		"protected key":  "CREATE TABLE t (id INT, v VARCHAR(20) PRIMARY KEY)",
		"character set":  "CREATE TABLE t (id INT PRIMARY KEY, v TEXT CHARACTER SET gbk)",
		"generated":      "CREATE TABLE t (id INT PRIMARY KEY, v TEXT, w TEXT AS (UPPER(v)))",
		"other key only": "CREATE TABLE t (id INT, w VARCHAR(20), v TEXT, UNIQUE (w))",
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, table)
			all := rewrite.Prepare(b.read(), b.policy, rewrite.AlterOptions{MAC: b.mac})
			if len(all) != 1 || len(all[0].Blocked) == 0 || len(all[0].First)+len(all[0].Last) > 0 {
				t.Fatalf("Prepare = %+v, want a reason and no statement", all)
			}
			t.Log(all[0].Blocked)
		})
	}
	b := newBench(t, "CREATE TABLE t (id INT PRIMARY KEY, v TEXT) WITH SYSTEM VERSIONING")
	if err := b.engine(0).Pass(ctx, b.passage()); err == nil || !strings.Contains(err.Error(), "system versioned") {
		t.Errorf("a system versioned table: %v", err)
	}
}
