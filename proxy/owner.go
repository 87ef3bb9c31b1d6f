package proxy

import (
	"errors"
	"fmt"
	"slices"

	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// rowOwner is whose a row is. The zero value is an owner whom nobody knows: the table has no owner column, or the server
// makes its value.
type rowOwner struct {
	name string
	// known says that name is the owner, null that the row has none.
	known, null bool
}

// sealTarget is what seals the cells of one row: a user key on the keyring, or the public key of an owner who is away.
type sealTarget struct {
	user      *keystore.UserKey
	recipient *keystore.Recipient
}

// holds tells whether a cell is under the target's key.
func (t *sealTarget) holds(id cell.KeyID) bool {
	if t.user != nil {
		return slices.Contains(t.user.IDs(), id)
	}
	return t.recipient != nil && t.recipient.Holds(id)
}

// same tells whether two targets are one owner's.
func (t *sealTarget) same(o *sealTarget) bool { return t.user == o.user && t.recipient == o.recipient }

// sole returns the only key on the keyring when it is one that nobody has tied to an owner: the client says whose it is by
// pushing it.
func (k *keyset) sole() *keystore.UserKey {
	users := k.ring.Keys()
	if len(users) != 1 || owned(users[0]) {
		return nil
	}
	return users[0]
}

func owned(user *keystore.UserKey) bool {
	_, _, ok := user.Owner()
	return ok
}

// indifferent says that one key seals all rows of column whoever owns them, and that no keystore knows better.
func (k *keyset) indifferent(column *rewrite.Protected) bool {
	return column.ServiceKey != "" || column.Owner == "" || (k.owners == nil || !k.enrolls && !column.Away) && k.sole() != nil
}

// target finds the key for a row of owner. column is under user keys.
func (k *keyset) target(column *rewrite.Protected, owner rowOwner) (sealTarget, error) {
	users := k.ring.Keys()
	if column.Owner == "" {
		if len(users) == 0 {
			return sealTarget{}, k.noKey(column)
		}
		return sealTarget{user: users[0]}, nil
	}
	sole := k.sole()
	switch {
	case sole != nil && (k.indifferent(column) || !owner.known):
		return sealTarget{user: sole}, nil
	case len(users) == 0 && !column.Away:
		return sealTarget{}, k.noKey(column)
	case !owner.known:
		return sealTarget{}, errOwnerUnknown(column, owner)
	}
	for _, user := range users {
		if name, _, ok := user.Owner(); ok && name == owner.name {
			return sealTarget{user: user}, nil
		}
	}
	return k.recorded(column, owner, sole)
}

// recorded finds the key of an owner of whom only the keystore knows which key it is.
func (k *keyset) recorded(column *rewrite.Protected, owner rowOwner, sole *keystore.UserKey) (sealTarget, error) {
	users := k.ring.Keys()
	if k.owners == nil || !column.Away && !slices.ContainsFunc(users, func(u *keystore.UserKey) bool { return !owned(u) }) {
		return sealTarget{}, errOwnerAbsent(column)
	}
	r, err := k.owners.Recipient(k.ctx, owner.name)
	if err != nil {
		return sealTarget{}, vaultFault(err)
	}
	if !r.Known() && sole != nil {
		return sealTarget{user: sole}, nil
	}
	for _, user := range users {
		if !owned(user) && r.Holds(user.ID()) {
			return sealTarget{user: user}, nil
		}
	}
	switch {
	case !column.Away:
		return sealTarget{}, errOwnerAbsent(column)
	case !r.Known():
		return sealTarget{}, errNoRecipient(column)
	}
	return sealTarget{recipient: r}, nil
}

// names are the owners on the keyring who are known.
func (k *keyset) names() []rowOwner {
	var names []rowOwner
	for _, user := range k.ring.Keys() {
		if name, _, ok := user.Owner(); ok {
			names = append(names, rowOwner{name: name, known: true})
		}
	}
	return names
}

// openingAway returns what opens a cell of kind a with this header, or false when its owner is not here.
func (k *keyset) openingAway(column *rewrite.Protected, h cell.Header) (*cell.AwayOpener, bool, error) {
	user, ok := k.ring.Lookup(h.KeyID)
	if !ok {
		return nil, false, nil
	}
	if k.owners == nil {
		return nil, false, errNotPossible(column, "the cell was written while its owner was away, and this proxy has no fleet secret to check it with")
	}
	opener, err := k.owners.Opener(user, column.Context)
	return opener, err == nil, keyFault(column, err)
}

// sealAway appends to dst the cell of a value for an owner who is away.
func (k *keyset) sealAway(dst []byte, column *rewrite.Protected, t *sealTarget, canonical []byte) ([]byte, error) {
	if column.Capacity > 0 && int64(cell.AwaySealedLen(len(canonical), column.Pad)) > column.Capacity {
		return dst, errTooWide(column)
	}
	s, err := t.recipient.Sealer(column.Context)
	switch {
	case errors.Is(err, keystore.ErrNoRecipient):
		return dst, errNoRecipient(column)
	case err != nil:
		return dst, vaultFault(err)
	}
	out, err := s.Seal(dst, cell.Params{Family: column.Type.Family(), Plaintext: canonical, Pad: column.Pad})
	if err != nil {
		return dst, errNoRecipient(column)
	}
	return out, nil
}

// errOwnerAbsent is for a row whose owner's key is not on the connection.
func errOwnerAbsent(column *rewrite.Protected) *fault {
	if column.AwayUnique {
		return newFault(codeLocked, "%s: the key of the row's owner is not on this connection; nothing was changed; push or unlock it "+
			"(away: accept does not hold for a column in a UNIQUE key)", column)
	}
	return newFault(codeLocked, "%s: the key of the row's owner, by column %s, is not on this connection; nothing was changed; push or unlock it", column, column.Owner)
}

// errNoRecipient is for a row of an owner who is away and to whom nothing can be sealed.
func errNoRecipient(column *rewrite.Protected) *fault {
	return newFault(codeLocked, "%s: the row's owner, by column %s, is away and not in the keystore; nothing was changed; enroll or register the owner", column, column.Owner)
}

// errOwnerUnknown is for a row of which nobody can say whose it is.
func errOwnerUnknown(column *rewrite.Protected, owner rowOwner) *fault {
	if owner.null {
		return newFault(codeNotPossible, "%s: the row has no owner, since column %s is NULL; give it one", column, column.Owner)
	}
	return newFault(codeNotPossible, "%s: the row's owner is not known beforehand; write column %s as a literal or a parameter of its type", column, column.Owner)
}

// errOwnerDiffers is for ON DUPLICATE KEY UPDATE that meets the row of another owner.
func errOwnerDiffers(column *rewrite.Protected) *fault {
	return newFault(codeLocked, "%s: the row that is there belongs to another owner than the one to be inserted; nothing was changed; update it by its key", column)
}

// errTransfer is for a row that gets another owner while its cells cannot be opened.
func errTransfer(column *rewrite.Protected) *fault {
	return newFault(codeLocked, "%s: the row gets another owner, and its cell is sealed under a key that is not on this connection; "+
		"nothing was changed; unlock the old owner too", column)
}

// owner reads whose a row is from the value that the statement gives to the owner column, in the row of the current instance.
func (r *renderer) owner(o *rewrite.RowOwner) (rowOwner, error) {
	if o == nil || o.Stored != "" || o.Value.Kind == rewrite.ValueUnknown || o.Type == nil && o.Value.Kind != rewrite.ValueNull {
		return rowOwner{}, nil
	}
	if o.Value.Kind == rewrite.ValueParam && r.vals.params == nil {
		return rowOwner{}, nil // of SQL-level PREPARE
	}
	op := operand{null: true}
	if o.Value.Kind != rewrite.ValueNull {
		var err error
		if op, err = r.vals.operand(&o.Value, r.real(o.Value.Token)); err != nil {
			if errors.Is(err, errOperand) {
				return rowOwner{}, err
			}
			return rowOwner{}, nil
		}
	}
	if op.null || op.dflt {
		return rowOwner{null: op.null && !o.Replaced}, nil
	}
	return ownerOf(o, op.in, r.conv), nil
}

// ownerOf converts a value as the owner column will. One whose conversion is not certain is nobody's.
func ownerOf(o *rewrite.RowOwner, in logical.Input, conv *logical.Session) rowOwner {
	name, err := o.Type.Canonical(nil, in, conv)
	if err != nil || o.Counted && string(name) == "0" {
		return rowOwner{}
	}
	return rowOwner{name: string(name), known: true}
}

// storedOwner makes an owner of what Before has read.
func storedOwner(value []byte) rowOwner {
	if value == nil {
		return rowOwner{null: true}
	}
	return rowOwner{name: string(value), known: true}
}

// ownersOf gives the owners whose rows an assignment may reach: those that Before has seen, and the one on the keyring for a
// row that comes to be in between. Without Before, all on the keyring.
func (r *renderer) ownersOf(p *rewrite.Piece) []rowOwner {
	names := r.sealer.keys.names()
	if p.Owner.Old == 0 || p.Owner.Old > len(r.old.owners) {
		return names
	}
	owners := slices.Clone(r.old.owners[p.Owner.Old-1])
	if len(names) == 1 && !slices.Contains(owners, names[0]) {
		owners = append(owners, names[0])
	}
	return owners
}

// assignOwned renders an assignment that seals the value for each owner of the rows it reaches. Rows of others make the
// statement fail.
func (r *renderer) assignOwned(p *rewrite.Piece, keep [][]byte) error {
	owners := r.ownersOf(p)
	if r.mode == renderUnbound {
		owners = []rowOwner{{known: true}}
	}
	k := r.sealer.keys
	if len(owners) == 0 && k.ring.Len() == 0 && !p.Column.Away {
		return k.noKey(p.Column)
	}
	r.out = append(r.out, "CASE WHEN "...)
	r.keepers(p, keep)
	for _, owner := range owners {
		r.out = append(r.out, " WHEN "...)
		r.ownerIs(p.Owner.Stored, owner)
		if !p.Column.OverwriteAllow {
			r.out = append(r.out, " AND ("...)
			r.overwritable(p)
			r.out = append(r.out, ')')
		}
		r.out = append(r.out, " THEN "...)
		if err := r.sealedFor(p.Column, &p.Values[0], owner); err != nil {
			return err
		}
	}
	r.raise(p)
	return nil
}

// keepers renders the alternative under which the old cell stays, and the word THEN with what then stands there. There may be
// none.
func (r *renderer) keepers(p *rewrite.Piece, keep [][]byte) {
	if len(keep) == 0 {
		r.out = append(r.out, "1=0 THEN NULL"...)
		return
	}
	r.out = append(append(r.out, p.Left...), " IN ("...)
	r.list(keep)
	r.out = append(append(r.out, ") THEN "...), p.Left...)
}

// ownerIs renders the condition that the row is owner's.
func (r *renderer) ownerIs(stored string, owner rowOwner) {
	r.out = append(r.out, stored...)
	if owner.null {
		r.out = append(r.out, " IS NULL"...)
		return
	}
	r.out = append(r.out, '=')
	r.bound([]byte(owner.name))
}

// raiseOwner is raiseLocked for a row that is not of an owner whom the statement was rendered for.
const raiseOwner = "EXP(97020+LENGTH(COALESCE(%s,x'')))"

// raise renders the end of a CASE at which the statement fails.
func (r *renderer) raise(p *rewrite.Piece) {
	r.out = fmt.Appendf(r.out, " ELSE "+raiseOwner+" END", p.Left)
}

// sameOwner renders the owner column of a row that ON DUPLICATE KEY UPDATE may leave with its owner only.
func (r *renderer) sameOwner(p *rewrite.Piece) {
	r.out = append(append(append(r.out, "CASE WHEN "...), p.Owner.Stored...), "<=>"...)
	r.out = append(append(append(r.out, p.Owner.New...), " THEN "...), p.NewText...)
	r.raise(p)
}

// movedCell is a cell that is sealed anew, and what takes its place.
type movedCell struct{ old, fresh []byte }

// move renders what becomes of a cell whose row gets another owner.
func (r *renderer) move(p *rewrite.Piece) error {
	r.out = append(append(append(r.out, "CASE WHEN "...), p.Left...), " IS NULL OR "...)
	r.out = append(append(r.out, p.Left...), "=x''"...)
	r.orPlaintext(p)
	var moved []movedCell
	if r.mode == renderUnbound {
		r.out = append(append(append(r.out, " OR "...), p.Owner.Stored...), '=')
		r.bound(nil)
	} else {
		value := *p.Owner
		value.Stored = ""
		owner, err := r.owner(&value)
		if err != nil {
			return err
		}
		if owner.known || owner.null {
			r.out = append(r.out, " OR "...)
			r.ownerIs(p.Owner.Stored, owner)
		}
		if t, err := r.sealer.keys.target(p.Column, owner); err == nil && t.user != nil {
			r.keyIs(p, t.user.IDs())
		}
		if p.Old >= 0 && p.Old < len(r.old.moved) {
			moved = r.old.moved[p.Old]
		}
	}
	r.out = append(append(r.out, " THEN "...), p.Left...)
	for i := range moved {
		r.out = append(append(append(r.out, " WHEN "...), p.Left...), '=')
		r.literal(moved[i].old)
		r.out = append(r.out, " THEN "...)
		r.literal(moved[i].fresh)
	}
	r.raise(p)
	return nil
}

// ownerRows is what before notes about owners.
type ownerRows struct {
	// of has, for each column of Before, 1 + the place of its rows' owner among those that a SELECT returns; 0 for none.
	of []int
	// moves says which columns are those of PieceMove.
	moves []bool
	// gives and to are whether and whom an UPDATE gives its rows to.
	gives bool
	to    rowOwner
	// seen are the owners that were noted.
	seen []map[rowOwner]bool
}

// plan finds out which owners belong to which columns.
func (o *ownerRows) plan(r *renderer) error {
	before := r.plan.Before
	o.of, o.moves = make([]int, len(before.Columns)), make([]bool, len(before.Columns))
	for i := range r.plan.Edits {
		pieces := r.plan.Edits[i].Pieces
		for k := range pieces {
			p := &pieces[k]
			if p.Owner == nil || p.Old < 0 || p.Old >= len(o.of) || p.Kind != rewrite.PieceAssign && p.Kind != rewrite.PieceMove {
				continue
			}
			o.of[p.Old], o.moves[p.Old] = p.Owner.Old, p.Kind == rewrite.PieceMove
		}
	}
	if before.NewOwner == nil {
		return nil
	}
	o.gives = true
	var err error
	o.to, err = r.owner(before.NewOwner)
	return err
}

// row gives whose a row is by the owners that a SELECT has returned for it, for column i of Before.
func (o *ownerRows) row(i int, owners [][]byte) rowOwner {
	if o.gives && !o.moves[i] {
		return o.to
	}
	if n := o.of[i]; n > 0 && n <= len(owners) {
		return storedOwner(owners[n-1])
	}
	return rowOwner{}
}

// sawOwners notes the owners of one row.
func (b *before) sawOwners(owners [][]byte) {
	if b.old.owners == nil {
		b.old.owners = make([][]rowOwner, len(owners))
		b.owners.seen = make([]map[rowOwner]bool, len(owners))
	}
	for i, value := range owners {
		o := storedOwner(value)
		if b.owners.seen[i] == nil {
			b.owners.seen[i] = make(map[rowOwner]bool)
		}
		if !b.owners.seen[i][o] {
			b.owners.seen[i][o] = true
			b.old.owners[i] = append(b.old.owners[i], o)
		}
	}
}

// moveCell seals the old cell of column i anew when its row gets another owner.
func (b *before) moveCell(i int, old []byte, was rowOwner) error {
	column := b.r.plan.Before.Columns[i]
	if _, plain := plaintextOf(column, old); plain || len(old) == 0 || was == b.owners.to && (was.known || was.null) {
		return nil // plaintext is under nobody's key
	}
	h, err := cell.Parse(old)
	if err != nil {
		return errBadCell(column)
	}
	t, err := b.x.keys.target(column, b.owners.to)
	if err != nil {
		return err
	}
	if t.user != nil && t.holds(h.KeyID) {
		return nil
	}
	c := openColumn{column: column}
	defer c.wipeAway()
	here, err := b.opener.find(&c, h)
	if err != nil {
		return err
	}
	if !here {
		return errTransfer(column)
	}
	canonical, null, err := b.opener.canonicalOf(&c, old)
	if err != nil || null {
		return err
	}
	fresh, err := b.r.sealer.sealTo(nil, column, &t, canonical)
	if err != nil {
		return err
	}
	b.old.moved[i] = append(b.old.moved[i], movedCell{slices.Clone(old), fresh})
	return nil
}

// staysWith tells whether an old cell may stay in a row of owner: it is under that owner's key.
func (b *before) staysWith(column *rewrite.Protected, old []byte, owner rowOwner) (bool, error) {
	if b.x.keys.indifferent(column) {
		return true, nil
	}
	h, err := cell.Parse(old)
	if err != nil {
		return false, nil // the declared default
	}
	t, err := b.x.keys.target(column, owner)
	return err == nil && t.holds(h.KeyID), err
}

// meets checks that a row of an INSERT gives its cell to the owner of the row that is there.
func (b *before) meets(column *rewrite.Protected, there, inserted rowOwner) error {
	if b.x.keys.indifferent(column) {
		return nil
	}
	t, err := b.x.keys.target(column, there)
	if err != nil || there == inserted && there.known {
		return err
	}
	n, err := b.x.keys.target(column, inserted)
	if err != nil {
		return err
	}
	if !t.same(&n) {
		return errOwnerDiffers(column)
	}
	return nil
}
