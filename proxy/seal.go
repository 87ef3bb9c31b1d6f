package proxy

import (
	"bytes"
	"context"
	"errors"
	"time"

	"latchkey/keystore"
	"latchkey/keystore/cell"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// keyset is every key that a session can use: the keyring of its connection and the service keys of the configuration.
type keyset struct {
	ring     *keystore.Keyring
	services *keystore.ServiceKeys
	// owners knows whose key is whose; nil without a keystore. ctx is for asking it.
	owners *keystore.Directory
	// enrolls says that logins of this proxy give owners their keys, so that the keystore knows better than the keyring.
	enrolls bool
	ctx     context.Context
	now     func() time.Time
	// revoked says that a key was taken off the keyring because its token expired or was revoked.
	revoked bool
}

// replace makes key the only one on the keyring, taking over the caller's hold on it.
func (k *keyset) replace(key *keystore.UserKey) {
	k.ring.Replace(key)
	k.revoked = false
}

// empty empties the keyring.
func (k *keyset) empty() {
	k.ring.Empty()
	k.revoked = false
}

// noKey says why there is no key for column.
func (k *keyset) noKey(column *rewrite.Protected) *fault {
	if k.revoked {
		return errRevoked(column)
	}
	return errNoKey(column)
}

// sealing returns the key that seals cells of column: user's, where the column is not under a service key.
func (k *keyset) sealing(column *rewrite.Protected, user *keystore.UserKey) (*cell.Key, error) {
	if column.ServiceKey != "" {
		service, ok := k.services.Lookup(column.ServiceKey)
		if !ok {
			return nil, errNoServiceKey(column)
		}
		key, err := service.SealingKey(column.Context, k.now())
		return key, keyFault(column, err)
	}
	key, err := user.ColumnKey(column.Context, 0)
	return key, keyFault(column, err)
}

// opening returns the key that opens a cell of column with this header, or false when it is not here.
func (k *keyset) opening(column *rewrite.Protected, h cell.Header) (*cell.Key, bool, error) {
	if column.ServiceKey != "" {
		service, ok := k.services.Lookup(column.ServiceKey)
		if !ok || service.ID() != h.KeyID {
			return nil, false, nil
		}
		key, err := service.ColumnKey(column.Context, h.Epoch)
		return key, err == nil, keyFault(column, err)
	}
	user, ok := k.ring.Lookup(h.KeyID)
	if !ok {
		return nil, false, nil
	}
	key, err := user.ColumnKey(column.Context, h.Epoch)
	return key, err == nil, keyFault(column, err)
}

// ids returns the key ids whose cells this session may overwrite in column.
func (k *keyset) ids(column *rewrite.Protected) []cell.KeyID {
	if column.ServiceKey != "" {
		if service, ok := k.services.Lookup(column.ServiceKey); ok {
			return []cell.KeyID{service.ID()}
		}
		return nil
	}
	var ids []cell.KeyID
	for _, user := range k.ring.Keys() {
		ids = append(ids, user.IDs()...)
	}
	return ids
}

// sealIndex returns the index key for the cells that sealing seals.
func (k *keyset) sealIndex(column *rewrite.Protected, user *keystore.UserKey) (*cell.IndexKey, error) {
	if column.ServiceKey != "" {
		indexes, err := k.indexes(column)
		if err != nil {
			return nil, err
		}
		return indexes[0], nil
	}
	index, err := user.IndexKey(tagRule(column))
	return index, keyFault(column, err)
}

// indexes returns the index keys whose cells a search in column sees, in the order of the keyring. There is at least one.
func (k *keyset) indexes(column *rewrite.Protected) ([]*cell.IndexKey, error) {
	rule := tagRule(column)
	if column.ServiceKey != "" {
		service, ok := k.services.Lookup(column.ServiceKey)
		if !ok {
			return nil, errNoServiceKey(column)
		}
		index, err := service.IndexKey(rule)
		return []*cell.IndexKey{index}, keyFault(column, err)
	}
	users := k.ring.Keys()
	if len(users) == 0 {
		return nil, k.noKey(column)
	}
	indexes := make([]*cell.IndexKey, len(users))
	for i, user := range users {
		index, err := user.IndexKey(rule)
		if err != nil {
			return nil, keyFault(column, err)
		}
		indexes[i] = index
	}
	return indexes, nil
}

// writable refuses what no keyring of this session may write: with two keys nobody can say whose the row is when the table
// has no owner column.
func (k *keyset) writable(columns []*rewrite.Protected) error {
	for _, column := range columns {
		if column.ServiceKey == "" && column.Owner == "" && k.ring.Len() > 1 {
			return errNotPossible(column, "with two or more keys on the connection a table without owner: is read-only; push the one key that the row belongs to")
		}
	}
	return nil
}

// tagRule is what index keys of column are derived for.
func tagRule(column *rewrite.Protected) keystore.TagRule {
	rule := keystore.TagRule{Context: column.Context, Collation: column.Type.Collation, Pad: keystore.NoPad, WeightVersion: logical.WeightVersion}
	if rule.Collation == "" {
		rule.Collation = "binary"
	}
	if column.Type.PadSpace() {
		rule.Pad = keystore.PadSpace
	}
	return rule
}

// keyFault hides why a derivation failed: the key was wiped by a concurrent change, or the clock is not set.
func keyFault(column *rewrite.Protected, err error) error {
	if err == nil {
		return nil
	}
	if err == keystore.ErrClock {
		return errNotPossible(column, "the clock of the proxy's host is not set")
	}
	return errNoKey(column)
}

// sealer seals the values of one session. Its buffers are reused from value to value.
type sealer struct {
	keys    *keyset
	weights []byte
	// sealed counts cells for the metrics.
	sealed uint64
	// known are sort weights that the evaluator computed for values of this statement, wanted those that it is still to
	// compute. With gather a value whose weights are not known is only noted.
	known  map[string][]byte
	wanted []wantedWeights
	gather bool
	// keyed are the values that were sealed for columns in UNIQUE keys that may still hold plaintext.
	keyed keyedValues
	// ask, when set, has the evaluator compute what is wanted at once, where values come one by one.
	ask func(*sealer) error
}

// wantedWeights is a value of which the evaluator is asked for the sort weights.
type wantedWeights struct {
	key       string
	column    *rewrite.Protected
	canonical []byte
}

// weigh gives the sort weights of a value. They are valid until the next call.
func (s *sealer) weigh(column *rewrite.Protected, canonical []byte) ([]byte, error) {
	weights, err := column.Type.Weights(s.weights[:0], canonical)
	if err == nil {
		s.weights = weights[:0]
		return weights, nil
	}
	if !errors.Is(err, logical.ErrNotPlain) || !column.Type.Weighable() {
		return nil, errConversion(column, err)
	}
	key := column.Type.Collation + "\x00" + string(canonical)
	if weights, ok := s.known[key]; ok && weights != nil {
		s.weights = append(s.weights[:0], weights...)
		return s.weights, nil
	}
	if !s.gather && s.ask == nil {
		return nil, errUnweighed
	}
	if _, noted := s.known[key]; !noted {
		s.learn(key, nil)
		s.wanted = append(s.wanted, wantedWeights{key, column, bytes.Clone(canonical)})
	}
	if s.gather {
		return nil, nil
	}
	if err := s.ask(s); err != nil {
		return nil, err
	}
	return s.known[key], nil
}

// learn notes the weights of a value, nil while they are only wanted.
func (s *sealer) learn(key string, weights []byte) {
	if s.known == nil {
		s.known = make(map[string][]byte)
	}
	s.known[key] = weights
}

// forgetKnown drops the weights that the evaluator computed.
func (s *sealer) forgetKnown() {
	for _, weights := range s.known {
		clear(weights)
	}
	s.known = nil
}

// forgetWanted wipes the values that the evaluator was asked about.
func (s *sealer) forgetWanted() {
	for _, w := range s.wanted {
		clear(w.canonical)
	}
	s.wanted = nil
}

// seal appends to dst the cell of a value of column in a row of owner, given as its canonical text. canonical must not
// overlap the spare capacity of dst.
func (s *sealer) seal(dst []byte, column *rewrite.Protected, owner rowOwner, canonical []byte) ([]byte, error) {
	var t sealTarget
	if column.ServiceKey == "" {
		var err error
		if t, err = s.keys.target(column, owner); err != nil {
			return dst, err
		}
	}
	return s.sealTo(dst, column, &t, canonical)
}

// sealTo is seal for a target that is known; under a service key t is not looked at.
func (s *sealer) sealTo(dst []byte, column *rewrite.Protected, t *sealTarget, canonical []byte) ([]byte, error) {
	if len(column.Bind) > 0 {
		return dst, errNotPossible(column, "binding cells to other columns of the row is not supported")
	}
	if column.ServiceKey == "" && t.user == nil {
		s.sealed++
		return s.keys.sealAway(dst, column, t, canonical)
	}
	key, err := s.keys.sealing(column, t.user)
	if err != nil {
		return dst, err
	}
	params := cell.Params{Family: column.Type.Family(), Plaintext: canonical, Pad: column.Pad}
	if column.Search {
		index, err := s.keys.sealIndex(column, t.user)
		if err != nil {
			return dst, err
		}
		tag, err := s.tag(column, index, canonical)
		if err != nil {
			return dst, err
		}
		params.Tag = &tag
		s.keyed.add(column, tag)
	}
	if column.Capacity > 0 && int64(cell.SealedLen(len(canonical), column.Pad, column.Search)) > column.Capacity {
		return dst, errTooWide(column)
	}
	s.sealed++
	return key.Seal(dst, params), nil
}

// tag computes the search tag of a value under one index key.
func (s *sealer) tag(column *rewrite.Protected, index *cell.IndexKey, canonical []byte) (cell.Tag, error) {
	weights, err := s.weigh(column, canonical)
	if err != nil {
		return cell.Tag{}, err
	}
	tag := index.Tag(weights)
	clear(weights)
	return tag, nil
}

// prefixRange is a half-open range of cells, as bytes: those that carry one search tag.
type prefixRange struct {
	low, high [cell.PrefixSize]byte
}

// ranges returns where the cells of column lie whose value equals canonical, one range for every key in sight.
func (s *sealer) ranges(column *rewrite.Protected, canonical []byte) ([]prefixRange, error) {
	indexes, err := s.keys.indexes(column)
	if err != nil {
		return nil, err
	}
	ranges := make([]prefixRange, len(indexes))
	for i, index := range indexes {
		tag, err := s.tag(column, index, canonical)
		if err != nil {
			return nil, err
		}
		ranges[i].low, ranges[i].high = cell.PrefixRange(tag)
	}
	return ranges, nil
}

// equalsDefault tells whether a value equals what an empty physical value means under the column's collation. An empty
// value carries no tag, so a search for the declared default looks for both.
func (s *sealer) equalsDefault(column *rewrite.Protected, canonical []byte) (bool, error) {
	if !column.HasOnEmpty || column.OnEmpty == nil {
		return false, nil
	}
	value, err := s.weigh(column, canonical)
	if err != nil {
		return false, err
	}
	value = bytes.Clone(value)
	defer clear(value)
	byDefault, err := s.weigh(column, column.OnEmpty)
	return bytes.Equal(value, byDefault), err
}
