package tables

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// upgrades brings the tables from each version to the next; the first one makes them. A statement may run again after a
// crash behind it, so each is one that does nothing then.
var upgrades = []func(s *Store) []string{
	func(s *Store) []string {
		return []string{
			"CREATE TABLE IF NOT EXISTS " + s.table("owners") + ` (
  owner VARBINARY(255) NOT NULL PRIMARY KEY,
  generation BIGINT UNSIGNED NOT NULL,
  record BLOB NOT NULL,
  mac VARBINARY(32) NOT NULL,
  destroy_after BIGINT NULL,
  KEY destroy_after (destroy_after)
) ENGINE=InnoDB`,
			"CREATE TABLE IF NOT EXISTS " + s.table("slots") + ` (
  slot_id BINARY(16) NOT NULL PRIMARY KEY,
  owner VARBINARY(255) NOT NULL,
  body VARBINARY(4096) NOT NULL,
  KEY owner (owner)
) ENGINE=InnoDB`,
			"CREATE TABLE IF NOT EXISTS " + s.table("attempts") + ` (
  id BINARY(32) NOT NULL PRIMARY KEY,
  failures INT UNSIGNED NOT NULL,
  changed BIGINT NOT NULL,
  until BIGINT NOT NULL,
  KEY changed (changed)
) ENGINE=InnoDB`,
		}
	},
	func(s *Store) []string {
		return []string{
			"CREATE TABLE IF NOT EXISTS " + s.table("notes") + ` (
  kind VARBINARY(32) NOT NULL,
  id BINARY(32) NOT NULL,
  body MEDIUMBLOB NOT NULL,
  mac VARBINARY(32) NOT NULL,
  PRIMARY KEY (kind, id)
) ENGINE=InnoDB`,
		}
	},
}

// What keeps a proxy from using the tables.
var (
	// ErrVersion is for tables that a later version of Latchkey made.
	ErrVersion = errors.New("keystore: the tables were made by a later version")
	// ErrRealm is for a keystore of another realm.
	ErrRealm = errors.New("keystore: the tables belong to another realm; keystore.realm is fixed at first use")
	// ErrFleet is for a keystore of another fleet secret.
	ErrFleet = errors.New("keystore: the tables belong to proxies with another fleet secret; check keystore.secret_file, and keystore.adopt if that secret is lost")
)

// prepare makes the tables, or finds that they are ready.
func (s *Store) prepare(conn *client.Conn) error {
	if s.ready.Load() {
		return nil
	}
	s.setup.Lock()
	defer s.setup.Unlock()
	if s.ready.Load() {
		return nil
	}
	if err := s.create(conn); err != nil {
		return err
	}
	s.ready.Store(true)
	return nil
}

// create makes or upgrades the tables under a lock of the server, so that of several proxies starting at once one does.
func (s *Store) create(conn *client.Conn) error {
	name := literal("latchkey " + s.config.Database)
	r, err := conn.Execute("SELECT GET_LOCK(LEFT(SHA1(" + name + "), 40), 60)")
	if err != nil {
		return err
	}
	locked := len(r.Values) == 1 && r.Values[0][0].AsInt64() == 1
	r.Close()
	if !locked {
		return errors.New("keystore: another proxy is upgrading the tables")
	}
	err = s.upgrade(conn)
	// Ends with the connection when this fails.
	_, unlock := conn.Execute("DO RELEASE_LOCK(LEFT(SHA1(" + name + "), 40))")
	return errors.Join(err, unlock)
}

func (s *Store) upgrade(conn *client.Conn) error {
	for _, statement := range []string{
		"CREATE DATABASE IF NOT EXISTS " + quote(s.config.Database),
		"CREATE TABLE IF NOT EXISTS " + s.table("meta") + " (name VARBINARY(64) NOT NULL PRIMARY KEY, value VARBINARY(1024) NOT NULL) ENGINE=InnoDB",
	} {
		if err := s.define(conn, statement); err != nil {
			return err
		}
	}
	version := 0
	text, err := s.meta(conn, "version", "0")
	if err != nil {
		return err
	}
	if version, err = strconv.Atoi(text); err != nil || version < 0 {
		return ErrVersion
	}
	if version > len(upgrades) {
		return fmt.Errorf("%w: version %d, this program knows %d", ErrVersion, version, len(upgrades))
	}
	for ; version < len(upgrades); version++ {
		for _, statement := range upgrades[version](s) {
			if err := s.define(conn, statement); err != nil {
				return err
			}
		}
		if err := s.define(conn, "REPLACE INTO "+s.table("meta")+" VALUES ('version', '"+strconv.Itoa(version+1)+"')"); err != nil {
			return err
		}
	}
	if realm, err := s.meta(conn, "realm", s.config.Realm); err != nil || realm != s.config.Realm {
		return errors.Join(err, ErrRealm)
	}
	fleet, err := s.meta(conn, "fleet", string(s.config.Fingerprint))
	switch {
	case err != nil:
		return err
	case fleet == string(s.config.Fingerprint):
		return nil
	case !s.config.Adopt:
		return ErrFleet
	}
	return s.define(conn, "UPDATE "+s.table("meta")+" SET value = "+literal(s.config.Fingerprint)+" WHERE name = 'fleet'")
}

// define runs a statement that makes or fills a table. What the account lacks is said in a way that can be acted on.
func (s *Store) define(conn *client.Conn, statement string) error {
	_, err := conn.Execute(statement)
	if err != nil {
		var server *mysql.MyError
		if errors.As(err, &server) && (server.Code == mysql.ER_DBACCESS_DENIED_ERROR || server.Code == mysql.ER_TABLEACCESS_DENIED_ERROR) {
			return fmt.Errorf("keystore: %w; GRANT ALL ON %s.* to the account", err, quote(s.config.Database))
		}
		return fmt.Errorf("keystore: make the tables: %w", err)
	}
	return nil
}

// meta returns a value of the table meta, which is first on the first call.
func (s *Store) meta(conn *client.Conn, name, first string) (string, error) {
	if err := s.define(conn, "INSERT IGNORE INTO "+s.table("meta")+" VALUES ("+literal(name)+", "+literal(first)+")"); err != nil {
		return "", err
	}
	r, err := conn.Execute("SELECT value FROM " + s.table("meta") + " WHERE name = " + literal(name))
	if err != nil {
		return "", err
	}
	defer r.Close()
	if len(r.Values) != 1 {
		return "", errors.New("keystore: the table meta lost a row")
	}
	return string(r.Values[0][0].AsString()), nil
}
