package evaluator

import (
	"context"
	"strings"
	"time"
)

// systemTables makes the tables of time zones: a server that starts without them never looks at named zones again. One
// statement stands on one line, as --bootstrap reads them.
// https://mariadb.com/kb/en/mysql-time_zone-table/ and the pages beside it.
var systemTables = strings.Join([]string{
	"CREATE DATABASE mysql",
	"USE mysql",
	"CREATE TABLE time_zone_name (Name char(64) NOT NULL, Time_zone_id int unsigned NOT NULL, PRIMARY KEY (Name)) ENGINE=Aria TRANSACTIONAL=0 CHARACTER SET utf8mb3",
	"CREATE TABLE time_zone (Time_zone_id int unsigned NOT NULL auto_increment, Use_leap_seconds enum('Y','N') COLLATE utf8mb3_general_ci DEFAULT 'N' NOT NULL, " +
		"PRIMARY KEY (Time_zone_id)) ENGINE=Aria TRANSACTIONAL=0 CHARACTER SET utf8mb3",
	"CREATE TABLE time_zone_transition (Time_zone_id int unsigned NOT NULL, Transition_time bigint signed NOT NULL, Transition_type_id int unsigned NOT NULL, " +
		"PRIMARY KEY (Time_zone_id, Transition_time)) ENGINE=Aria TRANSACTIONAL=0 CHARACTER SET utf8mb3",
	"CREATE TABLE time_zone_transition_type (Time_zone_id int unsigned NOT NULL, Transition_type_id int unsigned NOT NULL, `Offset` int signed DEFAULT 0 NOT NULL, " +
		"Is_DST tinyint unsigned DEFAULT 0 NOT NULL, Abbreviation char(8) DEFAULT '' NOT NULL, PRIMARY KEY (Time_zone_id, Transition_type_id)) " +
		"ENGINE=Aria TRANSACTIONAL=0 CHARACTER SET utf8mb3",
	"CREATE TABLE time_zone_leap_second (Transition_time bigint signed NOT NULL, Correction int signed NOT NULL, PRIMARY KEY (Transition_time)) " +
		"ENGINE=Aria TRANSACTIONAL=0 CHARACTER SET utf8mb3",
	"",
}, ";\n")

// ZoneTable is one of the tables in which MariaDB keeps named time zones, in the database mysql.
type ZoneTable struct {
	Name    string
	Columns []string
}

// ZoneTables are the tables to copy from the backend. Leap seconds come first and names last: a zone is looked for by its
// name, and must be complete then.
var ZoneTables = []ZoneTable{
	{"time_zone_leap_second", []string{"Transition_time", "Correction"}},
	{"time_zone", []string{"Time_zone_id", "Use_leap_seconds"}},
	{"time_zone_transition_type", []string{"Time_zone_id", "Transition_type_id", "Offset", "Is_DST", "Abbreviation"}},
	{"time_zone_transition", []string{"Time_zone_id", "Transition_time", "Transition_type_id"}},
	{"time_zone_name", []string{"Name", "Time_zone_id"}},
}

// ZoneSource reads the backend's time zones: it hands over the backend's rows of one table, in the order of its columns; a nil value is NULL. The values are
// copied before add returns. It returns the first error of add.
type ZoneSource func(ctx context.Context, table ZoneTable, add func(values [][]byte) error) error

// zonesTimeout bounds the copying of time zones.
const zonesTimeout = time.Minute

// loadZones copies the backend's time zones into a server that has just been started.
func (e *Evaluator) loadZones(s *server) {
	defer close(s.zoned)
	zones := *e.zones.Load()
	if zones == nil {
		return
	}
	ctx, cancel := context.WithTimeout(s.life, zonesTimeout)
	defer cancel()
	if err := copyZones(ctx, s, zones); err != nil && e.base.Err() == nil {
		e.log.Warn("the backend's time zones are not known to the evaluator: statements that need it work with offsets only", "error", err)
	}
}

// AwaitZones waits until the backend's time zones have been copied, or could not be: that takes longer than the start of the
// server. Who needs a named time zone asks first.
func (c *Conn) AwaitZones(ctx context.Context) error {
	select {
	case <-c.server.zoned:
		return nil
	case <-c.server.life.Done():
		return ErrUnavailable
	case <-ctx.Done():
		return ctx.Err()
	}
}

func copyZones(ctx context.Context, s *server, zones ZoneSource) error {
	conn, err := s.dial(ctx, BaseCaps)
	if err != nil {
		return err
	}
	defer conn.close()
	for _, table := range ZoneTables {
		load, err := conn.Load(ctx, "mysql", table.Name, table.Columns)
		if err != nil {
			return err
		}
		if err := zones(ctx, table, load.Row); err != nil {
			load.Abort()
			return err
		}
		if err := load.Close(); err != nil {
			return err
		}
	}
	return nil
}

// quoteName quotes an identifier.
func quoteName(dst []byte, name string) []byte {
	dst = append(dst, '`')
	dst = append(dst, strings.ReplaceAll(name, "`", "``")...)
	return append(dst, '`')
}
