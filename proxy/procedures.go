package proxy

import (
	"cmp"
	"crypto/rand"
	"strconv"
	"strings"

	"latchkey/keystore"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// table is a resultset that the proxy makes itself, of text columns. Its values are wiped once they are sent.
type table struct {
	columns []string
	rows    [][][]byte
}

// tableRow makes a row of values that are no secrets.
func tableRow(values ...string) [][]byte {
	row := make([][]byte, len(values))
	for i, v := range values {
		row[i] = []byte(v)
	}
	return row
}

func (t *table) wipe() {
	for _, row := range t.rows {
		for _, value := range row {
			clear(value)
		}
	}
}

// local answers a statement that the backend never sees.
func (x *executor) local(j *job) (ok bool, err error) {
	if j.plan.Call == nil {
		push, err := x.openPush(j)
		if err != nil {
			return false, x.refuse(err)
		}
		defer push.drop()
		push.apply(x)
		return true, x.answerOK(j.more)
	}
	v := secretValues(j.st, x.facts.conv.ClientCharset)
	answer, err := x.call(j.plan.Call, v)
	if err != nil {
		return false, x.refuse(err)
	}
	return true, x.answerTable(answer, false, j.more)
}

// call runs a procedure of the schema latchkey.
func (x *executor) call(call *rewrite.Call, v *values) (*table, error) {
	switch call.Name {
	case "new_key":
		return x.callNewKey(call)
	case "add_key":
		return x.callAddKey(call, v)
	case "status":
		return x.callStatus(call)
	case "lock":
		return x.callLock(call)
	}
	if _, ok := ownerCalls[call.Name]; ok {
		return x.callOwner(call, v)
	}
	return nil, newFault(codeNotUnderstood, "there is no such procedure in schema latchkey; docs/keys.md lists them")
}

// arguments checks how many arguments a procedure got.
func arguments(call *rewrite.Call, want int) error {
	if len(call.Args) != want {
		return &fault{code: 1318, state: "42000", message: "Incorrect number of arguments for PROCEDURE latchkey." + call.Name +
			"; expected " + strconv.Itoa(want) + ", got " + strconv.Itoa(len(call.Args))}
	}
	return nil
}

// callNewKey makes a fresh account key. It is stored nowhere.
func (x *executor) callNewKey(call *rewrite.Call) (*table, error) {
	if err := arguments(call, 0); err != nil {
		return nil, err
	}
	if !x.mayPush() {
		return nil, errInsecurePush
	}
	key, err := keystore.NewAccountKey(rand.Reader)
	if err != nil {
		return nil, newFault(codeNotPossible, "no random numbers can be had")
	}
	defer key.Wipe()
	return &table{[]string{"account_key"}, [][][]byte{{key.Text()}}}, nil
}

// callAddKey adds a key to the keyring.
func (x *executor) callAddKey(call *rewrite.Call, v *values) (*table, error) {
	if err := arguments(call, 1); err != nil {
		return nil, err
	}
	token := call.Args[0].Token
	if kind := call.Args[0].Kind; kind == rewrite.ValueLiteral || kind == rewrite.ValueParam {
		token = v.st.Real(token)
	}
	push, err := x.pushOf(v, &call.Args[0], token)
	if err != nil {
		return nil, err
	}
	defer push.drop()
	if push.key == nil {
		return nil, errNoKeyText
	}
	id := push.key.ID().String()
	err = x.keys.ring.Add(push.key)
	push.key = nil // the keyring took it over, whatever it said
	if err != nil {
		return nil, newFault(codeNotPossible, "no more keys fit on the keyring of one connection")
	}
	return &table{[]string{"key_id"}, [][][]byte{tableRow(id)}}, nil
}

// callStatus tells what is on the keyring: how many keys, their ids, the id of the one that seals, whether keys may be pushed
// over this connection, and, for a key that came from a key slot, whose it is and until when.
func (x *executor) callStatus(call *rewrite.Call) (*table, error) {
	if err := arguments(call, 0); err != nil {
		return nil, err
	}
	var ids []string
	for _, key := range x.keys.ring.Keys() {
		ids = append(ids, key.ID().String())
	}
	sealing, mayPush, owner, expires := "", "no", "", ""
	if len(ids) > 0 {
		sealing = ids[0]
		if name, until, ok := x.keys.ring.Keys()[0].Owner(); ok {
			owner, expires = name, timeText(until)
		}
	}
	if x.mayPush() {
		mayPush = "yes"
	}
	return &table{
		[]string{"keys", "key_ids", "sealing_key_id", "may_push", "owner", "expires_at"},
		[][][]byte{tableRow(strconv.Itoa(len(ids)), strings.Join(ids, ","), sealing, mayPush, owner, expires)},
	}, nil
}

// callLock empties the keyring, drops its keys from the cache and revokes the tokens that opened them. When they cannot be revoked the keyring is empty
// all the same, and the client is told.
func (x *executor) callLock(call *rewrite.Call) (*table, error) {
	if err := arguments(call, 0); err != nil {
		return nil, err
	}
	var failed error
	for _, k := range x.keys.ring.Keys() {
		owner, _, ok := k.Owner()
		if !ok {
			x.env.Cache.Forget(k)
			continue
		}
		err := x.env.Vault.Lock(x.ctx, k)
		x.audit("lock", owner, err)
		failed = cmp.Or(failed, err)
	}
	x.keys.empty()
	if failed != nil {
		return nil, x.keystoreFault(failed)
	}
	return &table{[]string{"keys"}, [][][]byte{tableRow("0")}}, nil
}

// answerMore is answer for one of several statements of a packet.
func (x *executor) answerMore(more bool) wire.Answer {
	a := x.answer()
	if more {
		a.Status |= wire.StatusMoreResults
	}
	return a
}

// answerOK answers with an OK packet.
func (x *executor) answerOK(more bool) error {
	if err := x.answerMore(more).OK(0, 0, 0); err != nil {
		return err
	}
	return x.client.Flush()
}

// collationUTF8MB4 is utf8mb4_general_ci, which text of the proxy's own is in unless the session's is known. All of it is
// ASCII.
const collationUTF8MB4 uint16 = 45

// answerTable answers with a resultset, and wipes it.
func (x *executor) answerTable(t *table, binary, more bool) error {
	defer t.wipe()
	a := x.answerMore(more)
	x.client.Secret()
	columns := x.tableColumns(t)
	if err := a.Columns(columns); err != nil {
		return err
	}
	for _, row := range t.rows {
		var err error
		if binary {
			err = a.BinaryRow(row...)
		} else {
			err = a.TextRow(row...)
		}
		if err != nil {
			return err
		}
	}
	if err := a.End(0); err != nil {
		return err
	}
	return x.client.Flush()
}

// tableColumns defines the columns of a table of the proxy's own.
func (x *executor) tableColumns(t *table) []wire.Column {
	columns := make([]wire.Column, len(t.columns))
	for i, name := range t.columns {
		longest := 64
		for _, row := range t.rows {
			longest = max(longest, len(row[i]))
		}
		columns[i] = wire.Column{
			Catalog: []byte("def"), Name: []byte(name), Charset: cmp.Or(x.facts.conv.ResultsCollation, collationUTF8MB4),
			Length: uint32(4 * longest), Type: wire.TypeVarString, Flags: wire.FlagNotNull, Decimals: 39,
		}
	}
	return columns
}
