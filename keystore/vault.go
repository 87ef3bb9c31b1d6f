package keystore

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"io"
	"runtime"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"

	"latchkey/keystore/cell"
)

// VaultConfig configures a Vault. Realm, Fleet, Store and Rand are required.
type VaultConfig struct {
	Realm string
	Fleet *FleetSecret
	Store Store
	// Rand is crypto/rand.Reader outside tests.
	Rand io.Reader
	// Now is the clock; nil means time.Now.
	Now func() time.Time

	// TokenTTL is how long a token opens its slot; at least a second. With Sliding a token that is used is extended when half
	// of that has passed.
	TokenTTL time.Duration
	Sliding  bool
	// ForgetGrace is how long the slots of a forgotten owner are kept; 0 destroys them at once.
	ForgetGrace time.Duration
	// CacheSize is how many keys opened by token are kept, at least 1. CacheTTL is after how long without use they are dropped,
	// and after how long a key on a keyring is looked up again.
	CacheSize int
	CacheTTL  time.Duration
	// Cost is that of new password slots; the zero value is DefaultPasswordCost.
	Cost PasswordCost
	// Escrow, when set, gets a slot of every new user key.
	Escrow *ServiceKey
	// ShredList is the path of a file that remembers who was forgotten, outside of the backend; empty is none.
	ShredList string
	// Adopt takes over owners whose records were made under a fleet secret that is lost, when they show a recovery code, a
	// secret or the escrow key.
	Adopt bool
	// Hashers is how many passwords are hashed at once, Waiting how many more may wait. 0 is a default.
	Hashers, Waiting int
}

// Vault does what applications ask for with owners, passwords and tokens. It believes nothing of the Store that does not
// carry the fleet's MAC. It is safe for concurrent use.
type Vault struct {
	cell.Opaque
	config   VaultConfig
	attempts *attempts
	hasher   *hasher
	shred    *shredList
	// decoy is looked at in the place of an owner who is not there, decoySlots in that of a slot.
	decoy      *StoredOwner
	decoySlots map[SlotKind]*keySlot

	mu     sync.Mutex
	seen   *simplelru.LRU[string, uint64] // highest generation of each owner
	tokens *simplelru.LRU[SlotID, *cachedToken]
	salt   [sha256.Size]byte
}

// cachedToken is a user key that a token opened. The cache holds the key.
type cachedToken struct {
	digest [sha256.Size]byte // of the token, under the cache's salt
	key    *UserKey
	used   time.Time
}

const (
	// seenKept bounds for how many owners the highest generation is remembered.
	seenKept = 100_000
	// changeAttempts bounds how often a change is tried anew because another one came first.
	changeAttempts = 10
	// maxTokens is how many tokens an owner may have; a new one takes the place of the oldest.
	maxTokens = 32
	// decoyOwner is a name that no owner can have.
	decoyOwner = "\x00 decoy"
	// refusalStep is what the time of a refusal is a multiple of.
	refusalStep = 5 * time.Millisecond
	// maxLostGeneration bounds the generation of a record that nobody authenticates, so that none is the last one.
	maxLostGeneration = 1 << 62
	// maxTombstones bounds how many forgotten owners are looked at at once.
	maxTombstones = 100_000
	// defaultWaiting is how many passwords may wait to be hashed.
	defaultWaiting = 64
)

// NewVault makes a vault. Close wipes what it holds.
func NewVault(config VaultConfig) (*Vault, error) {
	if err := checkNames(config.Realm); err != nil {
		return nil, err
	}
	if config.Now == nil {
		config.Now = time.Now
	}
	if config.Cost == (PasswordCost{}) {
		config.Cost = DefaultPasswordCost
	}
	if err := config.Cost.Check(); err != nil {
		return nil, err
	}
	if config.Hashers == 0 {
		config.Hashers = max(1, runtime.GOMAXPROCS(0)/2)
	}
	if config.Waiting == 0 {
		config.Waiting = defaultWaiting
	}
	if config.TokenTTL < time.Second {
		return nil, errors.New("keystore: a token must live for a second at least")
	}
	v := &Vault{config: config, attempts: newAttempts(config.Store, config.Now), hasher: newHasher(config.Hashers, config.Waiting)}
	var err error
	if v.shred, err = openShredList(config.ShredList); err != nil {
		return nil, err
	}
	if v.seen, err = simplelru.NewLRU[string, uint64](seenKept, nil); err != nil {
		return nil, err
	}
	v.tokens, err = simplelru.NewLRU(config.CacheSize, func(_ SlotID, c *cachedToken) { c.key.Release() })
	if err != nil {
		return nil, err
	}
	if _, err := io.ReadFull(config.Rand, v.salt[:]); err != nil {
		return nil, err
	}
	if err := v.makeDecoys(); err != nil {
		return nil, err
	}
	return v, nil
}

// Opened is a user key that was unlocked.
type Opened struct {
	cell.Opaque
	Owner   string
	Key     *UserKey // the caller releases it
	Token   []byte   // text; the caller wipes it
	Expires time.Time
	// Recovery is a fresh recovery code as text, nil when there is none; the caller wipes it.
	Recovery []byte
	// Adopted tells that the owner's record was made under another fleet secret and is now under this one.
	Adopted bool
}

// Client is who asks: the owner and where the request came from, for counting failures.
type Client struct {
	Owner   string
	Address string // empty is not counted
}

// view is an owner as the store has it, verified.
type view struct {
	record *ownerRecord
	slots  map[SlotID]*keySlot
	// lost tells that the MAC is not this fleet secret's: nothing here is believed but what a slot opens to.
	lost bool
}

// active tells whether a key of the owner may be opened.
func (w *view) active() bool { return w != nil && w.record.state == ownerActive }

// doomed tells whether the owner has a tombstone, and key slots to be destroyed.
func (w *view) doomed() bool {
	return w != nil && w.record.state == ownerForgotten && w.record.destroyAfter != 0
}

// of returns the slots of a kind that have not expired.
func (w *view) of(kind SlotKind, now int64) (slots []*keySlot) {
	if !w.active() {
		return nil
	}
	for i := range w.record.slots {
		if s := w.slots[w.record.slots[i].id]; s != nil && s.kind == kind && !s.expired(now) {
			slots = append(slots, s)
		}
	}
	return slots
}

// edit is what a change does to the slots.
type edit struct {
	put     []*keySlot
	drop    []SlotID
	dropAll bool
}

// load reads and verifies an owner; nil when there is none.
func (v *Vault) load(ctx context.Context, owner string) (*view, error) {
	return v.loadAs(ctx, owner, false)
}

// loadAs is load that, with lost, takes what was made under a lost fleet secret too, if the configuration allows that.
func (v *Vault) loadAs(ctx context.Context, owner string, lost bool) (*view, error) {
	stored, err := v.config.Store.Load(ctx, owner)
	if err != nil {
		return nil, err
	}
	if stored == nil {
		if v.generation(owner) > 0 {
			return nil, ErrRollback
		}
		return nil, nil
	}
	if stored.Owner != owner {
		return nil, ErrTampered
	}
	w, err := v.verify(stored)
	if lost && errors.Is(err, ErrLost) {
		return v.lostView(stored)
	}
	return w, err
}

// verify checks MAC and generation and takes the slots that the record knows.
func (v *Vault) verify(stored *StoredOwner) (*view, error) {
	mac := v.config.Fleet.recordMAC(v.config.Realm, labelOwner, stored.Record)
	if !hmac.Equal(mac[:], stored.MAC) {
		if v.config.Adopt && v.generation(stored.Owner) == 0 {
			return nil, ErrLost
		}
		return nil, ErrTampered
	}
	record, err := parseOwnerRecord(stored.Record, v.config.Realm, stored.Owner)
	if err != nil {
		return nil, err
	}
	if !v.saw(record) {
		return nil, ErrRollback
	}
	return v.viewOf(record, stored)
}

// lostView takes a record whose MAC cannot be checked. Whoever can write the store may have made it.
func (v *Vault) lostView(stored *StoredOwner) (*view, error) {
	record, err := parseOwnerRecord(stored.Record, v.config.Realm, stored.Owner)
	if err != nil || record.generation > maxLostGeneration {
		return nil, ErrTampered
	}
	record.restored = 0
	w, err := v.viewOf(record, stored)
	if err != nil {
		return nil, err
	}
	w.lost = true
	return w, nil
}

// viewOf takes the slots that a record knows, and looks at the shred list.
func (v *Vault) viewOf(record *ownerRecord, stored *StoredOwner) (*view, error) {
	if record.state == ownerActive && v.shred.forgot(v.shredID(record.owner), record.restored) {
		record.state = ownerForgotten
	}
	w := &view{record: record, slots: make(map[SlotID]*keySlot, len(stored.Slots))}
	for _, s := range stored.Slots {
		entry := record.find(s.ID)
		digest := slotDigest(s.Body)
		if entry == nil || !hmac.Equal(entry.digest[:], digest[:]) {
			continue
		}
		slot, err := parseSlot(s.Body, v.config.Realm, record.owner)
		if err != nil || slot.id != s.ID || slot.kind != entry.kind {
			return nil, ErrTampered
		}
		w.slots[s.ID] = slot
	}
	return w, nil
}

// saw remembers the generation of a record, and returns false for one older than was seen before.
func (v *Vault) saw(r *ownerRecord) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	if g, ok := v.seen.Get(r.owner); ok && g > r.generation {
		return false
	}
	v.seen.Add(r.owner, r.generation)
	return true
}

func (v *Vault) generation(owner string) uint64 {
	v.mu.Lock()
	defer v.mu.Unlock()
	g, _ := v.seen.Get(owner)
	return g
}

// change loads an owner, has apply change it and stores it, again when another change came between. The error is apply's,
// ErrNoOwner, ErrConflict or the store's.
func (v *Vault) change(ctx context.Context, owner string, apply func(w *view) (*edit, error)) error {
	return v.changeAs(ctx, owner, false, apply)
}

// changeAs is change that, with lost, also takes an owner whose record was made under a lost fleet secret.
func (v *Vault) changeAs(ctx context.Context, owner string, lost bool, apply func(w *view) (*edit, error)) error {
	for range changeAttempts {
		w, err := v.loadAs(ctx, owner, lost)
		if err != nil {
			return err
		}
		if w == nil {
			return ErrNoOwner
		}
		e, err := apply(w)
		if err != nil {
			return err
		}
		if err = v.commit(ctx, w, e); !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return ErrConflict
}

// commit stores a changed view.
func (v *Vault) commit(ctx context.Context, w *view, e *edit) error {
	r := w.record
	c := &Change{Owner: r.owner, From: r.generation, To: r.generation + 1, Drop: e.drop, DropAll: e.dropAll}
	if e.dropAll {
		r.slots = nil
	}
	for _, id := range e.drop {
		r.drop(id)
	}
	for _, s := range e.put {
		body := s.encode(v.config.Realm, r.owner)
		c.Put = append(c.Put, StoredSlot{ID: s.id, Body: body})
		entry := r.find(s.id)
		if entry == nil {
			r.slots = append(r.slots, slotEntry{id: s.id})
			entry = &r.slots[len(r.slots)-1]
		}
		entry.kind, entry.digest = s.kind, slotDigest(body)
	}
	if len(r.slots) > maxSlots {
		return ErrTooManySlots
	}
	r.generation, r.changed = c.To, v.config.Now().Unix()
	if r.state == ownerForgotten {
		c.DestroyAfter = time.Unix(r.destroyAfter, 0)
	}
	c.Record = r.encode()
	mac := v.config.Fleet.recordMAC(v.config.Realm, labelOwner, c.Record)
	c.MAC = mac[:]
	if err := v.config.Store.Change(ctx, c); err != nil {
		return err
	}
	v.saw(r)
	return nil
}

// newSlot makes a slot without content.
func (v *Vault) newSlot(kind SlotKind) (*keySlot, error) {
	s := &keySlot{kind: kind, created: v.config.Now().Unix()}
	_, err := io.ReadFull(v.config.Rand, s.id[:])
	return s, err
}

// passwordSlot makes an empty password slot with the configured cost, and what opens it.
func (v *Vault) passwordSlot(ctx context.Context, owner string, password []byte) (*keySlot, *slotSecret, error) {
	s, err := v.newSlot(SlotPassword)
	if err != nil {
		return nil, nil, err
	}
	s.cost = v.config.Cost
	if _, err := io.ReadFull(v.config.Rand, s.salt[:]); err != nil {
		return nil, nil, err
	}
	secret, err := v.passwordSecret(ctx, owner, s, password)
	return s, secret, err
}

// passwordSecret is what opens a password slot.
func (v *Vault) passwordSecret(ctx context.Context, owner string, s *keySlot, password []byte) (*slotSecret, error) {
	hash, err := v.hasher.hash(ctx, password, s.salt[:], s.cost)
	if err != nil {
		return nil, err
	}
	defer clear(hash)
	return v.config.Fleet.peppered(hash, labelPasswordSlot, v.config.Realm, owner, s.id), nil
}

// recoverySlot draws a recovery code and fills a slot with keys under it.
func (v *Vault) recoverySlot(owner string, keys *userKeys) (*keySlot, []byte, error) {
	s, err := v.newSlot(SlotRecovery)
	if err != nil {
		return nil, nil, err
	}
	code, err := newRecoveryCode(v.config.Rand)
	if err != nil {
		return nil, nil, err
	}
	defer clear(code[:])
	secret := unpeppered(code[:], labelRecoverySlot, v.config.Realm, owner, s.id)
	defer clear(secret[:])
	if err := s.fill(v.config.Realm, owner, secret, keys, v.config.Rand); err != nil {
		return nil, nil, err
	}
	return s, code.text(), nil
}

// serviceSlot fills a slot with keys under the escrow key.
func (v *Vault) serviceSlot(owner string, keys *userKeys) (*keySlot, error) {
	s, err := v.newSlot(SlotService)
	if err != nil {
		return nil, err
	}
	s.label = v.config.Escrow.Name()
	if len(s.label) > maxSlotLabel {
		s.label = s.label[:maxSlotLabel]
	}
	secret, err := v.serviceSecret(owner, s.id)
	if err != nil {
		return nil, err
	}
	defer clear(secret[:])
	return s, s.fill(v.config.Realm, owner, secret, keys, v.config.Rand)
}

func (v *Vault) serviceSecret(owner string, id SlotID) (*slotSecret, error) {
	if v.config.Escrow == nil {
		return nil, ErrNoEscrow
	}
	service, err := v.config.Escrow.key.keys()
	if err != nil {
		return nil, err
	}
	defer service.wipe()
	return unpeppered(service.search[:], labelServiceSlot, v.config.Realm, owner, id), nil
}

// issue is a token that is being made.
type issue struct {
	slot   *keySlot
	secret *slotSecret
	text   []byte
	digest [sha256.Size]byte
	// opened says that secret and text belong to others now.
	opened bool
}

// drop wipes a token that was not issued.
func (i *issue) drop() {
	if !i.opened {
		clear(i.secret[:])
		clear(i.text)
	}
}

// newIssue draws a token for owner.
func (v *Vault) newIssue(owner string) (*issue, error) {
	s, err := v.newSlot(SlotToken)
	if err != nil {
		return nil, err
	}
	s.notAfter = v.config.Now().Add(v.config.TokenTTL).Unix()
	t := &slotToken{id: s.id}
	if _, err := io.ReadFull(v.config.Rand, t.secret[:]); err != nil {
		return nil, err
	}
	defer clear(t.secret[:])
	return &issue{
		slot: s, text: t.text(), digest: v.digest(t),
		secret: v.config.Fleet.peppered(t.secret[:], labelTokenSlot, v.config.Realm, owner, s.id),
	}, nil
}

// add puts the token's slot into a change, and takes out tokens that expired or are too many.
func (v *Vault) add(i *issue, w *view, e *edit, keys *userKeys) error {
	if err := i.slot.fill(v.config.Realm, w.record.owner, i.secret, keys, v.config.Rand); err != nil {
		return err
	}
	now := v.config.Now().Unix()
	var oldest *keySlot
	live := 0
	for _, s := range w.slots {
		if s.kind != SlotToken || contains(e.drop, s.id) {
			continue
		}
		if s.expired(now) {
			e.drop = append(e.drop, s.id)
			continue
		}
		live++
		if oldest == nil || s.created < oldest.created {
			oldest = s
		}
	}
	if live >= maxTokens {
		e.drop = append(e.drop, oldest.id)
	}
	e.put = append(e.put, i.slot)
	return nil
}

func contains(ids []SlotID, id SlotID) bool {
	for _, x := range ids {
		if x == id {
			return true
		}
	}
	return false
}

// opened makes the answer of a token that was stored, and caches its key.
func (v *Vault) opened(i *issue, owner string, keys *userKeys) (*Opened, error) {
	key, err := keys.userKey(v.config.Realm)
	if err != nil {
		return nil, err
	}
	i.opened = true
	newOrigin(owner, i.slot.id, i.secret).attach(key, i.slot.notAfter, v.config.Now())
	v.remember(i.slot.id, i.digest, key)
	return &Opened{Owner: owner, Key: key, Token: i.text, Expires: time.Unix(i.slot.notAfter, 0)}, nil
}

// begin counts an attempt of a client.
func (v *Vault) begin(ctx context.Context, c Client) (*attempt, error) {
	ids := [][sha256.Size]byte{v.config.Fleet.recordMAC(v.config.Realm, "latchkey/v1/attempts-owner", []byte(c.Owner))}
	rules := []attemptRule{ownerAttempts}
	if c.Address != "" {
		ids = append(ids, v.config.Fleet.recordMAC(v.config.Realm, "latchkey/v1/attempts-address", []byte(c.Address)))
		rules = append(rules, addressAttempts)
	}
	return v.attempts.begin(ctx, ids, rules)
}

// Enroll makes a user key for an owner who has none, with a password and a recovery code, and unlocks it.
func (v *Vault) Enroll(ctx context.Context, owner string, password []byte) (opened *Opened, err error) {
	if err := checkOwner(owner); err != nil {
		return nil, err
	}
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	w, err := v.load(ctx, owner)
	if err != nil {
		return nil, err
	}
	if err := notEnrolled(w); err != nil || v.shred.forgot(v.shredID(owner), 0) {
		return nil, cmpError(err, ErrForgotten)
	}
	s, secret, err := v.passwordSlot(ctx, owner, password)
	if err != nil {
		return nil, err
	}
	defer clear(secret[:])
	keys, err := newUserKeys(v.config.Rand)
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	if err := s.fill(v.config.Realm, owner, secret, keys, v.config.Rand); err != nil {
		return nil, err
	}
	recovery, code, err := v.recoverySlot(owner, keys)
	if err != nil {
		return nil, err
	}
	defer func() {
		if opened == nil {
			clear(code)
		}
	}()
	i, err := v.newIssue(owner)
	if err != nil {
		return nil, err
	}
	defer i.drop()
	e := &edit{put: []*keySlot{s, recovery}}
	if v.config.Escrow != nil {
		service, err := v.serviceSlot(owner, keys)
		if err != nil {
			return nil, err
		}
		e.put = append(e.put, service)
	}
	key, err := keys.userKey(v.config.Realm)
	if err != nil {
		return nil, err
	}
	defer key.Release()
	w = &view{record: &ownerRecord{realm: v.config.Realm, owner: owner, state: ownerActive}}
	if err := w.record.describe(key); err != nil {
		return nil, err
	}
	if err := v.add(i, w, e, keys); err != nil {
		return nil, err
	}
	if err := v.commit(ctx, w, e); err != nil {
		if errors.Is(err, ErrConflict) {
			err = ErrEnrolled
		}
		return nil, err
	}
	o, err := v.opened(i, owner, keys)
	if err != nil {
		return nil, err
	}
	o.Recovery = code
	return o, nil
}

// notEnrolled says why an owner cannot be enrolled or registered.
func notEnrolled(w *view) error {
	switch {
	case w == nil:
		return nil
	case w.record.state == ownerForgotten || w.record.state == ownerDestroyed:
		return ErrForgotten
	}
	return ErrEnrolled
}

func cmpError(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// proof is a slot that a client has shown to be able to open.
type proof struct {
	slot   SlotID
	kind   SlotKind
	secret *slotSecret
	cost   PasswordCost
	try    *attempt
}

func (p *proof) wipe() { clear(p.secret[:]) }

// peppered tells whether slots of a kind need the fleet secret to be opened.
func (k SlotKind) peppered() bool { return k == SlotPassword || k == SlotToken }

// prove counts an attempt, has secretOf make the secret of each of the owner's slots of a kind, and tries them. An owner who is
// not there and one without such a slot cost the work of one that does not open. The error is ErrUnlock, a *TooManyError, or
// one that says nothing about the owner.
func (v *Vault) prove(ctx context.Context, c Client, kind SlotKind, secretOf func(s *keySlot) (*slotSecret, error)) (*proof, error) {
	start := time.Now()
	if err := checkOwner(c.Owner); err != nil {
		return nil, err
	}
	try, err := v.begin(ctx, c)
	if err != nil {
		return nil, err
	}
	w, err := v.loadAs(ctx, c.Owner, !kind.peppered())
	if w == nil && err == nil {
		w, err = v.verify(v.decoy)
	}
	if err != nil {
		return nil, err
	}
	slots := w.of(kind, v.config.Now().Unix())
	if len(slots) == 0 {
		slots = []*keySlot{v.decoySlots[kind]}
	}
	for _, s := range slots {
		secret, err := secretOf(s)
		if err != nil {
			return nil, err
		}
		keys, key, err := v.unwrap(w, s, secret)
		if err == nil {
			keys.wipe()
			key.Release()
			return &proof{slot: s.id, kind: kind, secret: secret, cost: s.cost, try: try}, nil
		}
		clear(secret[:])
		if !errors.Is(err, ErrUnlock) {
			return nil, err
		}
	}
	return nil, refuse(ctx, start)
}

// refuse returns ErrUnlock at the next multiple of refusalStep since start: what is left between a known and an unknown owner,
// such as the rows that the backend reads, is far less.
func refuse(ctx context.Context, start time.Time) error {
	select {
	case <-time.After(refusalStep - time.Since(start)%refusalStep):
		return ErrUnlock
	case <-ctx.Done():
		return ctx.Err()
	}
}

// decoySlot makes a slot that no secret opens.
func (v *Vault) decoySlot(kind SlotKind) (*keySlot, error) {
	s, err := v.newSlot(kind)
	if err != nil {
		return nil, err
	}
	s.cost = v.config.Cost
	keys, err := newUserKeys(v.config.Rand)
	if err != nil {
		return nil, err
	}
	defer keys.wipe()
	var secret slotSecret
	if _, err := io.ReadFull(v.config.Rand, secret[:]); err != nil {
		return nil, err
	}
	defer clear(secret[:])
	return s, s.fill(v.config.Realm, decoyOwner, &secret, keys, v.config.Rand)
}

// makeDecoys makes what is tried in the place of what is not there, for the time that it takes: an owner with the slots that
// one mostly has, and a slot of each kind.
func (v *Vault) makeDecoys() error {
	r := &ownerRecord{realm: v.config.Realm, owner: decoyOwner, generation: 1, state: ownerActive, keyIDs: make([]cell.KeyID, 1)}
	v.decoy, v.decoySlots = &StoredOwner{Owner: decoyOwner}, make(map[SlotKind]*keySlot)
	for kind := range slotKindNames {
		s, err := v.decoySlot(kind)
		if err != nil {
			return err
		}
		v.decoySlots[kind] = s
		if kind != SlotPassword && kind != SlotRecovery && kind != SlotToken {
			continue
		}
		body := s.encode(v.config.Realm, decoyOwner)
		r.slots = append(r.slots, slotEntry{id: s.id, kind: kind, digest: slotDigest(body)})
		v.decoy.Slots = append(v.decoy.Slots, StoredSlot{ID: s.id, Body: body})
	}
	v.decoy.Record = r.encode()
	mac := v.config.Fleet.recordMAC(v.config.Realm, labelOwner, v.decoy.Record)
	v.decoy.MAC = mac[:]
	return nil
}

// unwrap opens a slot and checks that it holds what the record says. The caller wipes the keys and releases the key.
func (v *Vault) unwrap(w *view, s *keySlot, secret *slotSecret) (*userKeys, *UserKey, error) {
	keys, err := s.open(v.config.Realm, w.record.owner, secret)
	if err != nil {
		if errors.Is(err, errWrongSecret) {
			err = ErrUnlock
		}
		return nil, nil, err
	}
	key, err := keys.userKey(v.config.Realm)
	if err != nil {
		keys.wipe()
		return nil, nil, err
	}
	if !w.record.holds(key) {
		keys.wipe()
		key.Release()
		return nil, nil, ErrTampered
	}
	return keys, key, nil
}

// enter changes the owner whose slot was proven: apply says what else changes, and a token is issued.
func (v *Vault) enter(ctx context.Context, owner string, p *proof, apply func(w *view, e *edit, keys *userKeys) error) (*Opened, error) {
	i, err := v.newIssue(owner)
	if err != nil {
		return nil, err
	}
	defer i.drop()
	var keys *userKeys
	var adopted bool
	defer func() { keys.wipe() }()
	err = v.changeAs(ctx, owner, !p.kind.peppered(), func(w *view) (*edit, error) {
		s := w.slots[p.slot]
		if !w.active() || s == nil {
			return nil, ErrUnlock // changed or revoked meanwhile
		}
		keys.wipe()
		var key *UserKey
		var err error
		if keys, key, err = v.unwrap(w, s, p.secret); err != nil {
			return nil, err
		}
		key.Release()
		e := &edit{}
		if err := apply(w, e, keys); err != nil {
			return nil, err
		}
		if adopted = w.lost; adopted {
			v.adopt(w, e, keys)
		}
		return e, v.add(i, w, e, keys)
	})
	if err != nil {
		return nil, err
	}
	if err := p.try.succeeded(ctx); err != nil {
		return nil, err
	}
	o, err := v.opened(i, owner, keys)
	if err == nil {
		o.Adopted = adopted
	}
	return o, err
}

// adopt makes a change the first one of an owner under this fleet secret. Of the slots that lie there those stay which open
// without the lost one and were made by who had the user key: each is wrapped anew, so that it holds keys for certain.
func (v *Vault) adopt(w *view, e *edit, keys *userKeys) {
	e.dropAll = true
	for i := range w.record.slots {
		s := w.slots[w.record.slots[i].id]
		if s == nil || s.kind.peppered() || contains(e.drop, s.id) {
			continue
		}
		if s.rewrap(v.config.Realm, w.record.owner, keys, keys, v.config.Rand) == nil {
			e.put = append(e.put, s)
		}
	}
}

// Unlock opens an owner's key with the password. A slot that was made with a lower cost than the configured one is made anew.
func (v *Vault) Unlock(ctx context.Context, c Client, password []byte) (*Opened, error) {
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	p, err := v.prove(ctx, c, SlotPassword, func(s *keySlot) (*slotSecret, error) {
		return v.passwordSecret(ctx, c.Owner, s, password)
	})
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	var raised *keySlot
	var secret *slotSecret
	if p.cost.below(v.config.Cost) {
		if raised, secret, err = v.passwordSlot(ctx, c.Owner, password); err != nil {
			return nil, err
		}
		defer clear(secret[:])
	}
	return v.enter(ctx, c.Owner, p, func(_ *view, e *edit, keys *userKeys) error {
		if raised == nil {
			return nil
		}
		e.drop, e.put = append(e.drop, p.slot), append(e.put, raised)
		return raised.fill(v.config.Realm, c.Owner, secret, keys, v.config.Rand)
	})
}

// UnlockSecret opens an owner's key with the 32 bytes of a secret slot, which may be given as 64 hexadecimal digits.
func (v *Vault) UnlockSecret(ctx context.Context, c Client, secret []byte) (*Opened, error) {
	raw, err := parseSecret(secret)
	if err != nil {
		return nil, err
	}
	defer clear(raw[:])
	p, err := v.prove(ctx, c, SlotSecret, func(s *keySlot) (*slotSecret, error) {
		return unpeppered(raw[:], labelSecretSlot, v.config.Realm, c.Owner, s.id), nil
	})
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	return v.enter(ctx, c.Owner, p, func(*view, *edit, *userKeys) error { return nil })
}

// ChangePassword replaces the password and revokes all tokens. The recovery code stays. No cell is rewritten: the user key
// is the same.
func (v *Vault) ChangePassword(ctx context.Context, c Client, old, password []byte) (*Opened, error) {
	if checkPassword(old) != nil || checkPassword(password) != nil {
		return nil, ErrBadPassword
	}
	p, err := v.prove(ctx, c, SlotPassword, func(s *keySlot) (*slotSecret, error) {
		return v.passwordSecret(ctx, c.Owner, s, old)
	})
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	return v.replacePassword(ctx, c.Owner, p, password, false)
}

// Recover replaces a lost password by means of the recovery code, which is replaced too, and revokes all tokens.
func (v *Vault) Recover(ctx context.Context, c Client, code, password []byte) (*Opened, error) {
	parsed, err := parseRecoveryCode(code)
	if err != nil {
		return nil, err
	}
	defer clear(parsed[:])
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	p, err := v.prove(ctx, c, SlotRecovery, func(s *keySlot) (*slotSecret, error) {
		return unpeppered(parsed[:], labelRecoverySlot, v.config.Realm, c.Owner, s.id), nil
	})
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	return v.replacePassword(ctx, c.Owner, p, password, true)
}

// RecoverEscrow is Recover with the operator's escrow key in the place of the recovery code.
func (v *Vault) RecoverEscrow(ctx context.Context, c Client, password []byte) (*Opened, error) {
	if v.config.Escrow == nil {
		return nil, ErrNoEscrow
	}
	if err := checkPassword(password); err != nil {
		return nil, err
	}
	p, err := v.prove(ctx, c, SlotService, func(s *keySlot) (*slotSecret, error) { return v.serviceSecret(c.Owner, s.id) })
	if err != nil {
		return nil, err
	}
	defer p.wipe()
	return v.replacePassword(ctx, c.Owner, p, password, true)
}

// replacePassword puts a password slot in the place of those there are, and revokes the tokens; with code, the recovery
// codes are replaced by a fresh one too.
func (v *Vault) replacePassword(ctx context.Context, owner string, p *proof, password []byte, code bool) (*Opened, error) {
	s, secret, err := v.passwordSlot(ctx, owner, password)
	if err != nil {
		return nil, err
	}
	defer clear(secret[:])
	var text []byte
	o, err := v.enter(ctx, owner, p, func(w *view, e *edit, keys *userKeys) error {
		for i := range w.record.slots {
			switch kind := w.record.slots[i].kind; {
			case kind == SlotPassword, kind == SlotToken, kind == SlotRecovery && code:
				e.drop = append(e.drop, w.record.slots[i].id)
			}
		}
		if err := s.fill(v.config.Realm, owner, secret, keys, v.config.Rand); err != nil {
			return err
		}
		e.put = append(e.put, s)
		if !code {
			return nil
		}
		recovery, fresh, err := v.recoverySlot(owner, keys)
		if err != nil {
			return err
		}
		clear(text)
		text = fresh
		e.put = append(e.put, recovery)
		return nil
	})
	if err != nil {
		clear(text)
		return nil, err
	}
	v.revoke(owner, o.Key)
	o.Recovery = text
	return o, nil
}

// parseSecret reads 32 bytes, as such or as 64 hexadecimal digits.
func parseSecret(b []byte) (raw [secretSize]byte, err error) {
	switch len(b) {
	case secretSize:
		copy(raw[:], b)
		return raw, nil
	case 2 * secretSize:
		for i, c := range b {
			var d byte
			switch {
			case c >= '0' && c <= '9':
				d = c - '0'
			case c >= 'a' && c <= 'f':
				d = c - 'a' + 10
			case c >= 'A' && c <= 'F':
				d = c - 'A' + 10
			default:
				return [secretSize]byte{}, ErrBadSecret
			}
			raw[i/2] = raw[i/2]<<4 | d
		}
		return raw, nil
	}
	return raw, ErrBadSecret
}
