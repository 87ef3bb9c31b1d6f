package tables

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"latchkey/internal/faultconn"
	"latchkey/internal/mariadbtest"
	"latchkey/keystore"
)

func TestMain(m *testing.M) { mariadbtest.Main(m) }

var ctx = context.Background()

func testConfig(t testing.TB, address, database string) Config {
	t.Helper()
	return Config{
		Address: address, User: "root", Password: func() (string, error) { return "", nil },
		Database: database, Realm: "main", Fingerprint: fleet(t).Fingerprint("main"),
	}
}

func fleet(t testing.TB) *keystore.FleetSecret {
	t.Helper()
	f, err := keystore.NewFleetSecret(bytes.NewReader(bytes.Repeat([]byte{7}, 32)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// newStore is a store over a fresh database, or over one that is there.
func newStore(t testing.TB, config Config) *Store {
	t.Helper()
	s := New(config)
	t.Cleanup(s.Close)
	return s
}

func freshDatabase(t testing.TB) (server *mariadbtest.Server, database string) {
	t.Helper()
	server = mariadbtest.Shared(t)
	database = server.NewDatabase(t) + "_keys"
	t.Cleanup(func() { server.Exec(t, "DROP DATABASE IF EXISTS "+database) })
	return server, database
}

func vault(t testing.TB, s keystore.Store) *keystore.Vault {
	t.Helper()
	v, err := keystore.NewVault(keystore.VaultConfig{
		Realm: "main", Fleet: fleet(t), Store: s, Rand: rand.Reader, TokenTTL: time.Hour, ForgetGrace: time.Hour,
		CacheSize: 100, CacheTTL: time.Minute, Cost: keystore.MinPasswordCost,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(v.Close)
	return v
}

func change(owner string, from uint64, put ...keystore.StoredSlot) *keystore.Change {
	return &keystore.Change{
		Owner: owner, From: from, To: from + 1, Record: fmt.Appendf(nil, "record \x00\xff %d", from+1),
		MAC: bytes.Repeat([]byte{byte(from + 1)}, 32), Put: put,
	}
}

func slot(b byte) keystore.StoredSlot {
	return keystore.StoredSlot{ID: keystore.SlotID{b, 0, 15: b}, Body: []byte{b, 0, 0xFF, '\'', '\\'}}
}

func TestChange(t *testing.T) {
	server, database := freshDatabase(t)
	s := newStore(t, testConfig(t, server.Addr(), database))
	for _, owner := range []string{"42", "o'\\ \xc3\xbc", "42 "} {
		if got, err := s.Load(ctx, owner); got != nil || err != nil {
			t.Fatalf("nobody: %v, %v", got, err)
		}
		base := byte(len(owner) * 10)
		if err := s.Change(ctx, change(owner, 0, slot(base), slot(base+1))); err != nil {
			t.Fatal(err)
		}
		if err := s.Change(ctx, change(owner, 0)); !errors.Is(err, keystore.ErrConflict) {
			t.Errorf("a second first record: %v", err)
		}
		got, err := s.Load(ctx, owner)
		if err != nil || got.Owner != owner || len(got.Slots) != 2 || string(got.Record) != "record \x00\xff 1" {
			t.Errorf("loaded %+v, %v", got, err)
		}
		next := change(owner, 1, slot(base+2))
		next.Drop = []keystore.SlotID{slot(base).ID}
		if err := s.Change(ctx, next); err != nil {
			t.Fatal(err)
		}
		if err := s.Change(ctx, change(owner, 1, slot(base+3))); !errors.Is(err, keystore.ErrConflict) {
			t.Errorf("a change from an old generation: %v", err)
		}
		if got, err = s.Load(ctx, owner); err != nil || len(got.Slots) != 2 {
			t.Errorf("after a change: %+v, %v", got, err)
		}
		one, err := s.LoadSlot(ctx, slot(base+2).ID)
		if err != nil || one.Owner != owner || len(one.Slots) != 1 || !bytes.Equal(one.Slots[0].Body, slot(base+2).Body) {
			t.Errorf("by slot: %+v, %v", one, err)
		}
		if one, err = s.LoadSlot(ctx, slot(base).ID); one != nil || err != nil {
			t.Errorf("a dropped slot: %+v, %v", one, err)
		}
		last := change(owner, 2)
		last.DropAll, last.DestroyAfter = true, time.Unix(100, 0)
		if err := s.Change(ctx, last); err != nil {
			t.Fatal(err)
		}
		if got, err = s.Load(ctx, owner); err != nil || len(got.Slots) != 0 {
			t.Errorf("after the last change: %+v, %v", got, err)
		}
	}
	if due, err := s.Due(ctx, time.Unix(99, 0), 10); err != nil || len(due) != 0 {
		t.Errorf("due early: %q, %v", due, err)
	}
	if due, err := s.Due(ctx, time.Unix(100, 0), 2); err != nil || len(due) != 2 {
		t.Errorf("due: %q, %v", due, err)
	}
}

// TestStartingTogether: proxies that start at once make the tables once.
func TestStartingTogether(t *testing.T) {
	server, database := freshDatabase(t)
	var wait sync.WaitGroup
	for range 6 {
		wait.Go(func() {
			if err := newStore(t, testConfig(t, server.Addr(), database)).Setup(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if rows := server.Query(t, "SELECT value FROM "+database+".meta WHERE name = 'version'"); len(rows) != 1 || rows[0][0] != "2" {
		t.Errorf("version %v", rows)
	}
	// As after a crash between the statements of an upgrade.
	server.Exec(t, "UPDATE "+database+".meta SET value = '0' WHERE name = 'version'", "DROP TABLE "+database+".attempts")
	if err := newStore(t, testConfig(t, server.Addr(), database)).Setup(ctx); err != nil {
		t.Error(err)
	}
	server.Query(t, "SELECT * FROM "+database+".attempts")
	other := testConfig(t, server.Addr(), database)
	other.Realm = "staging"
	if err := newStore(t, other).Setup(ctx); !errors.Is(err, ErrRealm) {
		t.Errorf("another realm: %v", err)
	}
	other = testConfig(t, server.Addr(), database)
	other.Fingerprint = []byte("another")
	if err := newStore(t, other).Setup(ctx); !errors.Is(err, ErrFleet) {
		t.Errorf("another fleet secret: %v", err)
	}
	other.Adopt = true
	if err := newStore(t, other).Setup(ctx); err != nil {
		t.Errorf("another fleet secret, where the tables are taken over: %v", err)
	}
	if err := newStore(t, testConfig(t, server.Addr(), database)).Setup(ctx); !errors.Is(err, ErrFleet) {
		t.Errorf("the fleet secret from before: %v", err)
	}
	other.Adopt = false
	if err := newStore(t, other).Setup(ctx); err != nil {
		t.Errorf("the fleet secret that took over: %v", err)
	}
	server.Exec(t, "UPDATE "+database+".meta SET value = '99' WHERE name = 'version'")
	if err := newStore(t, testConfig(t, server.Addr(), database)).Setup(ctx); !errors.Is(err, ErrVersion) {
		t.Errorf("a later version: %v", err)
	}
}

func TestAttemptsOfSeveralProxies(t *testing.T) {
	server, database := freshDatabase(t)
	ids := [][sha256.Size]byte{{9}, {1}}
	var wait sync.WaitGroup
	for i := range 4 {
		wait.Go(func() {
			s := newStore(t, testConfig(t, server.Addr(), database))
			mine := [][sha256.Size]byte{ids[i%2], ids[(i+1)%2]}
			for range 10 {
				err := s.Attempts(ctx, mine, func(counts []keystore.AttemptCount) {
					for i := range counts {
						counts[i].Failures++
						counts[i].Changed, counts[i].Until = 5, -6
					}
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wait.Wait()
	s := newStore(t, testConfig(t, server.Addr(), database))
	err := s.Attempts(ctx, ids, func(counts []keystore.AttemptCount) {
		for _, c := range counts {
			if c != (keystore.AttemptCount{Failures: 40, Changed: 5, Until: -6}) {
				t.Errorf("%+v, want 40 failures", c)
			}
		}
	})
	if err != nil {
		t.Error(err)
	}
	if err := s.DropAttempts(ctx, time.UnixMilli(6)); err != nil {
		t.Error(err)
	}
	if rows := server.Query(t, "SELECT COUNT(*) FROM "+database+".attempts"); rows[0][0] != "0" {
		t.Errorf("%s counters left", rows[0][0])
	}
}

// TestLostConnections: an idle connection that the server closed is replaced.
func TestLostConnections(t *testing.T) {
	server, database := freshDatabase(t)
	relay := faultconn.NewRelay(t, server.Addr(), func(int) faultconn.Faults { return faultconn.Faults{} })
	s := newStore(t, testConfig(t, relay.Addr(), database))
	for i := range uint64(3) {
		if err := s.Change(ctx, change("42", i, slot(byte(i)))); err != nil {
			t.Fatal(err)
		}
		relay.CutAll()
	}
	got, err := s.Load(ctx, "42")
	if err != nil || len(got.Slots) != 3 {
		t.Errorf("%+v, %v", got, err)
	}
}

// TestKilledAnywhere: a proxy that dies at any byte of what it says to the backend, or hears from it, leaves an owner who
// can unlock as before or as after.
func TestKilledAnywhere(t *testing.T) {
	server, database := freshDatabase(t)
	direct := newStore(t, testConfig(t, server.Addr(), database))
	client := func(owner string) keystore.Client { return keystore.Client{Owner: owner} }
	steps := map[string]struct {
		// act does the change; before and after say whether the owner unlocks as before and as after it.
		act           func(v *keystore.Vault, owner string, e *keystore.Opened) error
		before, after func(v *keystore.Vault, owner string, e *keystore.Opened) error
	}{
		"enroll": {
			act: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Enroll(ctx, owner+"-new", []byte("password")))
			},
			before: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Enroll(ctx, owner+"-new", []byte("password")))
			},
			after: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner+"-new"), []byte("password")))
			},
		},
		"change_password": {
			act: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.ChangePassword(ctx, client(owner), []byte("password"), []byte("new")))
			},
			before: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("password")))
			},
			after: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("new")))
			},
		},
		"recover": {
			act: func(v *keystore.Vault, owner string, e *keystore.Opened) error {
				return released(v.Recover(ctx, client(owner), e.Recovery, []byte("new")))
			},
			before: func(v *keystore.Vault, owner string, e *keystore.Opened) error {
				return released(v.Recover(ctx, client(owner), e.Recovery, []byte("other")))
			},
			after: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("new")))
			},
		},
		"rotate": {
			act: func(v *keystore.Vault, _ string, e *keystore.Opened) error {
				k, err := v.Rotate(ctx, e.Key)
				if err == nil {
					k.Release()
				}
				return err
			},
			before: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("password")))
			},
			after: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("password")))
			},
		},
		"forget": {
			act: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				_, err := v.Forget(ctx, owner)
				return err
			},
			before: func(v *keystore.Vault, owner string, _ *keystore.Opened) error {
				return released(v.Unlock(ctx, client(owner), []byte("password")))
			},
			after: func(v *keystore.Vault, owner string, _ *keystore.Opened) error { return v.Restore(ctx, owner) },
		},
	}
	for name, step := range steps {
		t.Run(name, func(t *testing.T) {
			outcomes := map[string]int{}
			for n := range 1000 {
				owner := fmt.Sprintf("%s %d", name, n)
				e, err := vault(t, direct).Enroll(ctx, owner, []byte("password"))
				if err != nil {
					t.Fatal(err)
				}
				failed := step.act(vault(t, dying(t, server, database, n)), owner, e)
				e.Key.Release()
				fresh := vault(t, direct)
				switch {
				case step.before(fresh, owner, e) == nil:
					outcomes["before"]++
					if failed == nil && name != "rotate" {
						t.Errorf("killed at %d: said to be done and is not", n)
					}
				case step.after(vault(t, direct), owner, e) == nil:
					outcomes["after"]++
				default:
					t.Errorf("killed at %d: the owner is locked out", n)
				}
				if failed == nil {
					break
				}
			}
			if name != "rotate" && (outcomes["before"] == 0 || outcomes["after"] == 0) {
				t.Errorf("outcomes %v: the connection was not cut on both sides of the commit", outcomes)
			}
		})
	}
}

// dying is the store of a proxy that is killed: its connection is cut at the nth of a row of bytes, to and fro, and there is
// no other one.
func dying(t *testing.T, server *mariadbtest.Server, database string, n int) *Store {
	t.Helper()
	relay := faultconn.NewRelay(t, server.Addr(), func(conn int) faultconn.Faults {
		at := int64(0)
		if conn == 0 {
			at = int64(n/2+1) * 350
			if n%2 == 1 {
				return faultconn.Faults{Write: []faultconn.Fault{{Kind: faultconn.Cut, At: at / 6}}}
			}
		}
		return faultconn.Faults{Read: []faultconn.Fault{{Kind: faultconn.Cut, At: at}}}
	})
	return newStore(t, testConfig(t, relay.Addr(), database))
}

func released(o *keystore.Opened, err error) error {
	if err == nil {
		o.Key.Release()
	}
	return err
}

// TestNothingReadable: what is stored holds none of the secrets.
func TestNothingReadable(t *testing.T) {
	server, database := freshDatabase(t)
	e, err := vault(t, newStore(t, testConfig(t, server.Addr(), database))).Enroll(ctx, "42", []byte("a remarkable password"))
	if err != nil {
		t.Fatal(err)
	}
	defer e.Key.Release()
	for _, table := range []string{"owners", "slots", "attempts", "meta"} {
		for _, row := range server.Query(t, "SELECT * FROM "+database+"."+table) {
			for _, value := range row {
				for _, secret := range []string{"remarkable", string(e.Token[5:]), string(e.Recovery[5:])} {
					if strings.Contains(value, secret) {
						t.Errorf("table %s holds a secret", table)
					}
				}
			}
		}
	}
}

// TestBinaryLogOfStatements: a server that logs statements in place of rows can be a keystore as well.
func TestBinaryLogOfStatements(t *testing.T) {
	server := mariadbtest.Start(t, mariadbtest.WithArgs("--log-bin=binary", "--binlog-format=STATEMENT"))
	v := vault(t, newStore(t, testConfig(t, server.Addr(), "keys")))
	o, err := v.Enroll(ctx, "anna", []byte("a long password"))
	if err != nil {
		t.Fatal(err)
	}
	o.Key.Release()
	client := keystore.Client{Owner: "anna", Address: "192.0.2.1"}
	if _, err := v.Unlock(ctx, client, []byte("another password")); !errors.Is(err, keystore.ErrUnlock) {
		t.Errorf("a wrong password: %v", err)
	}
	if o, err = v.Unlock(ctx, client, []byte("a long password")); err != nil {
		t.Fatal(err)
	}
	o.Key.Release()
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			c := keystore.Client{Owner: fmt.Sprint("nobody ", i%3), Address: "192.0.2.1"}
			if _, err := v.Unlock(ctx, c, []byte("some password")); !errors.Is(err, keystore.ErrUnlock) {
				t.Errorf("an unknown owner: %v", err)
			}
		})
	}
	wait.Wait()
}
