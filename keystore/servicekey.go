package keystore

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"time"

	"latchkey/keystore/cell"
)

// ErrClock is returned for a time before 2020, which no working clock shows, or
// past the last epoch in the year 7481.
var ErrClock = errors.New("keystore: the clock is not set: the time is outside the range of epochs")

// EpochAt returns the epoch of t: the months since January 2020, in UTC. A new
// column key every month keeps the number of cells sealed under one key far
// below the bound of random nonces. The error is ErrClock.
func EpochAt(t time.Time) (uint16, error) {
	t = t.UTC()
	months := (t.Year()-2020)*12 + int(t.Month()) - 1
	if months < 0 || months > math.MaxUint16 {
		return 0, ErrClock
	}
	return uint16(months), nil
}

// ServiceKey is a key held by the operator in a file, for columns that are not
// per user. It derives as a user key does, with an epoch. It is safe for
// concurrent use.
type ServiceKey struct {
	cell.Opaque
	name string
	key  *UserKey
}

// Name returns the name the configuration gives the key.
func (s *ServiceKey) Name() string { return s.name }

// ID returns the key id, which is no secret.
func (s *ServiceKey) ID() cell.KeyID { return s.key.ID() }

// SealingKey returns the key that seals cells of the column named context at the
// time now. Errors are ErrClock, ErrBadName and ErrKeyGone.
func (s *ServiceKey) SealingKey(context string, now time.Time) (*cell.Key, error) {
	epoch, err := EpochAt(now)
	if err != nil {
		return nil, err
	}
	return s.key.ColumnKey(context, epoch)
}

// ColumnKey returns the key that opens cells of the column named context that
// carry epoch. Errors are ErrBadName and ErrKeyGone.
func (s *ServiceKey) ColumnKey(context string, epoch uint16) (*cell.Key, error) {
	return s.key.ColumnKey(context, epoch)
}

// IndexKey returns the key that computes search tags under rule; it has no
// epoch. Errors are ErrBadName and ErrKeyGone.
func (s *ServiceKey) IndexKey(rule TagRule) (*cell.IndexKey, error) { return s.key.IndexKey(rule) }

// ServiceKeys is the set of service keys of a configuration. It does not change
// after loading and is safe for concurrent use.
type ServiceKeys struct {
	cell.Opaque
	keys map[string]*ServiceKey
}

// LoadServiceKeys reads the key files named by paths, from service key name to
// path, each as `latchkey keygen --service` prints it. All faulty files are
// reported together; warnings are about files that were loaded.
func LoadServiceKeys(realm string, paths map[string]string) (*ServiceKeys, []FileWarning, error) {
	set := &ServiceKeys{keys: make(map[string]*ServiceKey, len(paths))}
	var warnings []FileWarning
	var problems []error
	for _, name := range slices.Sorted(maps.Keys(paths)) {
		k, warning, err := LoadAccountKey(paths[name])
		if err != nil {
			problems = append(problems, fmt.Errorf("service key %s: %w", name, err))
			continue
		}
		if warning != nil {
			warnings = append(warnings, *warning)
		}
		u, err := k.userKey(realm, keptService)
		k.Wipe()
		if err != nil {
			problems = append(problems, fmt.Errorf("service key %s: %w", name, err))
			continue
		}
		set.keys[name] = &ServiceKey{name: name, key: u}
	}
	if len(problems) > 0 {
		set.Close()
		return nil, warnings, errors.Join(problems...)
	}
	return set, warnings, nil
}

// Lookup returns the service key with the given name.
func (s *ServiceKeys) Lookup(name string) (*ServiceKey, bool) {
	k, ok := s.keys[name]
	return k, ok
}

// Names returns the names of all keys, sorted.
func (s *ServiceKeys) Names() []string { return slices.Sorted(maps.Keys(s.keys)) }

// Close wipes all keys; they answer ErrKeyGone afterwards. It is called once.
func (s *ServiceKeys) Close() {
	for _, k := range s.keys {
		k.key.Release()
	}
}
