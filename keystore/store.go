package keystore

import (
	"context"
	"crypto/sha256"
	"time"
)

// Store is where owner records and key slots lie: a table that others can read and write. Nothing that comes from it is
// believed before its MAC was verified. Implementations are safe for concurrent use; errors of their own mean that the
// store cannot be reached.
type Store interface {
	// Load returns the record of an owner with all slots, in one consistent view; nil when there is none.
	Load(ctx context.Context, owner string) (*StoredOwner, error)
	// LoadSlot returns the record of the owner of a slot, with that slot alone; nil when there is no such slot.
	LoadSlot(ctx context.Context, id SlotID) (*StoredOwner, error)
	// Change replaces a record and slots, all or nothing. It returns ErrConflict, and has changed nothing, when the stored
	// generation is not change.From.
	Change(ctx context.Context, change *Change) error
	// Due returns owners that are to be destroyed at or before now, at most limit.
	Due(ctx context.Context, now time.Time, limit int) ([]string, error)
	// Attempts replaces the counters named by ids by what update makes of them, in one transaction. update may be called
	// again when the transaction has to be.
	Attempts(ctx context.Context, ids [][sha256.Size]byte, update func([]AttemptCount)) error
	// DropAttempts deletes counters that did not change since before.
	DropAttempts(ctx context.Context, before time.Time) error
}

// StoredOwner is what a Store holds about one owner.
type StoredOwner struct {
	Owner  string
	Record []byte
	MAC    []byte
	Slots  []StoredSlot
}

// StoredSlot is a key slot as it is stored.
type StoredSlot struct {
	ID   SlotID
	Body []byte
}

// Change is one change of an owner.
type Change struct {
	Owner string
	// From is the generation that must be stored, 0 when there must be no record. To is the one stored afterwards.
	From, To uint64
	Record   []byte
	MAC      []byte
	// DestroyAfter is when Due begins to return the owner; the zero time is never.
	DestroyAfter time.Time
	Put          []StoredSlot // replaces slots of the same id
	Drop         []SlotID
	DropAll      bool // every slot of the owner but those of Put
}

// AttemptCount is how often something was tried without success lately.
type AttemptCount struct {
	Failures uint32
	Changed  int64 // milliseconds since 1970
	Until    int64 // the same: no attempt before
}
