package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/hashicorp/golang-lru/v2/simplelru"

	"latchkey/keystore"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

// The rows of an owner that still hold plaintext are sealed in the background of the session in which the owner has unlocked,
// for as long as the key is on its keyring. It has a connection of its own, of the proxy's own account: the statements of the
// session never wait for it.

// ConversionConfig says how sessions convert the rows of their owners.
type ConversionConfig struct {
	// Rate is how many rows a second one session converts, at least 1.
	Rate int
	// Dial connects with the proxy's own account.
	Dial func(ctx context.Context, setup func(*client.Conn)) (*client.Conn, error)
	// Fleet, Realm and Notes tell which tables are on their way back to plaintext.
	Fleet *keystore.FleetSecret
	Realm string
	Notes migrate.Notes
}

const (
	// backgroundRuns is how many owners are converted at a time; those of other sessions wait.
	backgroundRuns = 4
	// backgroundDone is for how many owners and tables it is remembered that nothing is left.
	backgroundDone = 100_000
	// backgroundAgain is after how long it is looked again: plaintext can come in past Latchkey.
	backgroundAgain = 10 * time.Minute
	// backgroundBatch is how many rows one transaction writes: few, so that the session's own statements do not find them locked for
	// long.
	backgroundBatch = 20
)

// background is what the conversions of all sessions share.
type background struct {
	slots chan struct{}

	mu sync.Mutex
	// done are the owners and tables of which all rows were converted.
	done *simplelru.LRU[ownedTable, convertedAt]
}

// convertedAt is the epoch of the schema at which there was nothing left to convert, and when that was.
type convertedAt struct {
	epoch uint64
	at    time.Time
}

// ownedTable are the rows of an owner in a table.
type ownedTable struct{ owner, table string }

func newBackground() *background {
	done, err := simplelru.NewLRU[ownedTable, convertedAt](backgroundDone, nil)
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return &background{slots: make(chan struct{}, backgroundRuns), done: done}
}

// left tells whether there may be rows to convert.
func (b *background) left(t ownedTable, epoch uint64) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	then, ok := b.done.Get(t)
	return !ok || then.epoch != epoch || time.Since(then.at) > backgroundAgain
}

func (b *background) finished(t ownedTable, epoch uint64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.done.Add(t, convertedAt{epoch, time.Now()})
}

// ownerRun is the conversion in the background of one session.
type ownerRun struct {
	// keys are those of the keyring for which it was begun.
	keys   []*keystore.UserKey
	cancel context.CancelFunc
	done   chan struct{}
}

// tendBackground begins and ends the conversion in the background as the keyring changes.
func (x *executor) tendBackground() {
	if x.env.Conversion == nil || slices.Equal(x.keys.ring.Keys(), x.converting.keys) {
		return
	}
	x.stopBackground()
	x.converting.keys = slices.Clone(x.keys.ring.Keys())
	var jobs []*ownerKeys
	for _, user := range x.converting.keys {
		owner, _, ok := user.Owner()
		if !ok {
			continue // nobody can say whose rows they are
		}
		keys, err := NewMigrationKeys(MigrationKeysConfig{Services: x.env.Services, User: user, Owners: x.keys.owners, Evaluator: x.env.Evaluator, Now: x.keys.now})
		if err == nil {
			jobs = append(jobs, &ownerKeys{owner: owner, keys: keys})
		}
	}
	if len(jobs) == 0 {
		return
	}
	ctx, cancel := context.WithCancel(x.ctx)
	x.converting.cancel, x.converting.done = cancel, make(chan struct{})
	go x.convertOwners(ctx, jobs, x.converting.done)
}

// stopBackground ends the conversion, if there is one, and waits for it.
func (x *executor) stopBackground() {
	if x.converting.cancel != nil {
		x.converting.cancel()
		<-x.converting.done
	}
	x.converting = ownerRun{}
}

// ownerKeys are the keys of one owner.
type ownerKeys struct {
	owner string
	keys  *MigrationKeys
}

// convertOwners converts the rows of owners. It touches nothing of the session.
func (x *executor) convertOwners(ctx context.Context, jobs []*ownerKeys, done chan<- struct{}) {
	defer close(done)
	defer func() {
		if v := recover(); v != nil {
			x.log.Error("the conversion of an owner's rows failed", "panic", panicText(v), "at", panicFrames())
		}
	}()
	defer func() {
		for _, job := range jobs {
			job.keys.Close()
		}
	}()
	for _, job := range jobs {
		err := x.convertOwner(ctx, job)
		if err != nil && ctx.Err() == nil {
			x.log.Warn("the rows of an owner are not converted yet", "error", err)
		}
	}
}

// convertOwner converts the rows of one owner in all tables.
func (x *executor) convertOwner(ctx context.Context, job *ownerKeys) error {
	shared := x.server.background
	snapshot, err := x.env.Schema.Current(ctx)
	if err != nil {
		return err
	}
	var engine *migrate.Engine
	var problems []error
	for _, t := range snapshot.Schema.Tables() {
		columns := convertible(t)
		table := ownedTable{job.owner, t.String()}
		if len(columns) == 0 || !shared.left(table, snapshot.Epoch()) {
			continue
		}
		m, why := rewrite.NewMigration(t)
		if why != nil {
			problems = append(problems, why)
			continue
		}
		if engine == nil {
			select {
			case shared.slots <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			defer func() { <-shared.slots }()
			engine = x.newEngine(job.keys)
			defer engine.Close()
		}
		if decrypts, err := engine.Decrypts(ctx, m); decrypts || err != nil {
			problems = append(problems, err)
			continue
		}
		began := time.Now()
		result, err := engine.Run(ctx, migrate.Job{Act: migrate.Encrypt, Migration: m, Columns: columns, Owner: job.owner, OfOwner: true})
		x.server.metrics.rowsConverted.Add(float64(result.Rows))
		if result.Rows > 0 {
			x.log.Info("rows of an owner were sealed", "table", t.String(), "rows", result.Rows, "took", time.Since(began).Round(time.Millisecond))
		}
		if err != nil {
			problems = append(problems, err)
			continue
		}
		shared.finished(table, snapshot.Epoch())
	}
	return errors.Join(problems...)
}

// newEngine makes the engine for the background.
func (x *executor) newEngine(keys *MigrationKeys) *migrate.Engine {
	c := x.env.Conversion
	return migrate.New(migrate.Config{
		Dial: c.Dial, Keys: keys, Fleet: c.Fleet, Realm: c.Realm, Notes: c.Notes, Logger: x.log,
		Limits: migrate.Limits{Rate: c.Rate, Batch: min(backgroundBatch, c.Rate)},
	})
}

// convertible gives the columns of a table that may hold plaintext and are under the keys of the rows' owners.
func convertible(t *rewrite.Table) []*rewrite.Protected {
	var columns []*rewrite.Protected
	for _, c := range t.Columns {
		if p := c.Protected; p != nil && p.Plaintext && p.Conflict == nil && p.ServiceKey == "" && p.Owner != "" {
			columns = append(columns, p)
		}
	}
	return columns
}
