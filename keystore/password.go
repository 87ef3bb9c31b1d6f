package keystore

import (
	"context"
	"fmt"

	"latchkey/keystore/argon2id"
)

// PasswordCost is what one guess at a password costs: the parameters of Argon2id (RFC 9106).
type PasswordCost struct {
	Memory  uint32 // KiB
	Time    uint32 // passes
	Threads uint8  // lanes
}

// DefaultPasswordCost is 64 MiB, three passes, four lanes: RFC 9106, section 4, second recommendation.
var DefaultPasswordCost = PasswordCost{Memory: 64 << 10, Time: 3, Threads: 4}

// Bounds of what a slot may ask for: below, a guess would be cheap; above, one row of the keystore could exhaust the
// machine. They are checked before any work.
var (
	MinPasswordCost = PasswordCost{Memory: 8 << 10, Time: 1, Threads: 1}
	MaxPasswordCost = PasswordCost{Memory: 1 << 20, Time: 16, Threads: 16}
)

// Check says whether the parameters are within the bounds.
func (c PasswordCost) Check() error {
	low, high := MinPasswordCost, MaxPasswordCost
	if c.Memory < low.Memory || c.Memory > high.Memory || c.Time < low.Time || c.Time > high.Time || c.Threads < low.Threads || c.Threads > high.Threads {
		return fmt.Errorf("%w: %d KiB, %d passes, %d threads", ErrBadCost, c.Memory, c.Time, c.Threads)
	}
	return nil
}

// below tells whether a slot with these parameters should be made anew with want.
func (c PasswordCost) below(want PasswordCost) bool {
	return c.Memory < want.Memory || c.Memory == want.Memory && c.Time < want.Time
}

const maxPasswordLen = 1024

// hasher runs Argon2id, a bounded number at a time, with a bounded number waiting: a storm of logins slows logins and
// nothing else.
type hasher struct {
	running chan struct{}
	waiting chan struct{}
}

func newHasher(running, waiting int) *hasher {
	return &hasher{running: make(chan struct{}, running), waiting: make(chan struct{}, running+waiting)}
}

// hash returns Argon2id of a password, or ErrBusy, or the error of ctx.
func (h *hasher) hash(ctx context.Context, password []byte, salt []byte, cost PasswordCost) (out []byte, err error) {
	if err := cost.Check(); err != nil {
		return nil, err
	}
	select {
	case h.waiting <- struct{}{}:
		defer func() { <-h.waiting }()
	default:
		return nil, ErrBusy
	}
	select {
	case h.running <- struct{}{}:
		defer func() { <-h.running }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	protect(func() { out, err = argon2id.Key(password, salt, cost.Time, cost.Memory, cost.Threads, secretSize) })
	return out, err
}

// checkPassword refuses what cannot be a password.
func checkPassword(password []byte) error {
	if len(password) == 0 || len(password) > maxPasswordLen {
		return ErrBadPassword
	}
	return nil
}
