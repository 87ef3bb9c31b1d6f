package proxy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/proxy/evaluator"
	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

// MigrationKeysConfig says with which keys rows are converted.
type MigrationKeysConfig struct {
	Services *keystore.ServiceKeys
	// User is the key of the one owner whose rows are converted; nil for rows of many, which are sealed to the owners' public
	// keys. The MigrationKeys hold it until Close.
	User *keystore.UserKey
	// Owners knows whose key is whose; nil without a keystore.
	Owners *keystore.Directory
	// Evaluator computes sort weights that are not computed here; nil for none.
	Evaluator *evaluator.Evaluator
	// Now is the clock; nil means time.Now.
	Now func() time.Time
}

// MigrationKeys seal and open the rows of a conversion as a session would. They are for one goroutine.
type MigrationKeys struct {
	config  MigrationKeysConfig
	keys    keyset
	sealer  sealer
	opener  opener
	columns map[*rewrite.Protected]*openColumn
}

var _ migrate.Keys = (*MigrationKeys)(nil)

// NewMigrationKeys makes the keys. The error says that the user key is gone.
func NewMigrationKeys(config MigrationKeysConfig) (*MigrationKeys, error) {
	if config.Now == nil {
		config.Now = time.Now
	}
	k := &MigrationKeys{config: config, columns: make(map[*rewrite.Protected]*openColumn)}
	k.keys = keyset{ring: new(keystore.Keyring), services: config.Services, owners: config.Owners, ctx: context.Background(), now: config.Now}
	if config.User != nil {
		if !config.User.Retain() {
			return nil, keystore.ErrKeyGone
		}
		k.keys.replace(config.User)
	}
	k.sealer.keys, k.opener.keys = &k.keys, &k.keys
	return k, nil
}

// Close gives up the keys and wipes what was opened with them.
func (k *MigrationKeys) Close() {
	k.opener.finish()
	for _, c := range k.columns {
		c.wipeAway()
	}
	k.sealer.forgetKnown()
	k.keys.empty()
}

// Seal implements migrate.Keys.
func (k *MigrationKeys) Seal(ctx context.Context, values []*migrate.Value) error {
	k.keys.ctx = ctx
	var unweighed []*migrate.Value
	for _, v := range values {
		k.seal(v)
		if errors.Is(v.Err, errUnweighed) {
			v.Err = nil
			unweighed = append(unweighed, v)
		}
	}
	defer k.sealer.forgetKnown()
	if len(unweighed) > 0 {
		k.sealer.gather = true
		for _, v := range unweighed {
			if _, err := k.sealer.weigh(v.Column, v.Canonical); err != nil {
				v.Err = err
			}
		}
		k.sealer.gather = false
		err := weigh(ctx, &k.sealer, func(column *rewrite.Protected) (*evaluator.Conn, error) {
			return acquire(ctx, k.config.Evaluator, column)
		})
		if err != nil {
			return err
		}
		for _, v := range unweighed {
			if v.Err == nil {
				k.seal(v)
			}
		}
	}
	for _, v := range values {
		var f *fault
		if errors.As(v.Err, &f) && f.code == codeNoKey {
			return f // no other value of the column would fare better
		}
	}
	return nil
}

// seal seals one value.
func (k *MigrationKeys) seal(v *migrate.Value) {
	t := sealTarget{user: k.config.User}
	if v.Column.ServiceKey == "" && t.user == nil {
		if t, v.Err = k.recipient(v); v.Err != nil {
			return
		}
	}
	v.Fresh, v.Err = k.sealer.sealTo(nil, v.Column, &t, v.Canonical)
}

// recipient finds the public key of a row's owner.
func (k *MigrationKeys) recipient(v *migrate.Value) (sealTarget, error) {
	switch {
	case !v.HasOwner:
		return sealTarget{}, errOwnerUnknown(v.Column, rowOwner{null: true})
	case k.keys.owners == nil || !v.Column.Away:
		return sealTarget{}, errOwnerAbsent(v.Column)
	}
	r, err := k.keys.owners.Recipient(k.keys.ctx, v.Owner)
	if err != nil {
		return sealTarget{}, vaultFault(err)
	}
	if !r.Known() {
		return sealTarget{}, errNoRecipient(v.Column)
	}
	return sealTarget{recipient: r}, nil
}

// Open implements migrate.Keys.
func (k *MigrationKeys) Open(ctx context.Context, values []*migrate.Value) error {
	k.keys.ctx = ctx
	for _, v := range values {
		v.Canonical, v.Err = k.open(v)
	}
	return nil
}

func (k *MigrationKeys) open(v *migrate.Value) ([]byte, error) {
	c := k.columns[v.Column]
	if c == nil {
		c = &openColumn{column: v.Column}
		k.columns[v.Column] = c
	}
	h, err := cell.Parse(v.Stored)
	if err != nil {
		return nil, errBadCell(v.Column)
	}
	here, err := k.opener.find(c, h)
	if err != nil {
		return nil, err
	}
	if !here {
		return nil, migrate.ErrLocked
	}
	canonical, _, err := k.opener.canonicalOf(c, v.Stored)
	if err != nil {
		return nil, err
	}
	return bytes.Clone(canonical), nil
}

// KeyIDs implements migrate.Keys.
func (k *MigrationKeys) KeyIDs(ctx context.Context, column *rewrite.Protected, owner string, hasOwner bool) ([][]byte, error) {
	var ids []cell.KeyID
	switch {
	case column.ServiceKey != "":
		service, ok := k.config.Services.Lookup(column.ServiceKey)
		if !ok {
			return nil, errNoServiceKey(column)
		}
		ids = append(ids, service.ID())
	case k.config.User != nil && column.Owner == "":
		ids = k.config.User.IDs()
	case hasOwner && k.keys.owners != nil:
		r, err := k.keys.owners.Recipient(ctx, owner)
		if err != nil {
			return nil, err
		}
		ids = r.IDs()
	}
	texts := make([][]byte, len(ids))
	for i := range ids {
		texts[i] = ids[i][:]
	}
	return texts, nil
}
