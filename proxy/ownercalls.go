package proxy

import (
	"context"
	"errors"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"latchkey/keystore"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// right says who may call a procedure.
type right uint8

const (
	// accounts: logins that Protection.KeyAccounts names.
	accounts right = iota
	// owners: whoever has the owner unlocked on the connection, and administrators.
	owners
	// admins: logins that Protection.Admins names.
	admins
)

// procedure is one procedure over owners.
type procedure struct {
	least, most int // arguments
	right       right
	run         func(x *executor, args []argument) (*table, error)
}

// argument is the value of one argument. It is wiped after the call.
type argument struct {
	text []byte // UTF-8, or the bytes of a binary value
	null bool
}

// ownerCalls are the procedures that need the keystore. The first argument of each is the owner.
var ownerCalls map[string]procedure

func init() {
	ownerCalls = map[string]procedure{
		"enroll":          {2, 2, accounts, (*executor).callEnroll},
		"unlock":          {2, 3, accounts, (*executor).callUnlock},
		"change_password": {3, 3, accounts, (*executor).callChangePassword},
		"recover":         {3, 3, accounts, (*executor).callRecover},
		"register":        {1, 1, accounts, (*executor).callRegister},
		"add_slot":        {2, 3, owners, (*executor).callAddSlot},
		"slots":           {1, 1, owners, (*executor).callSlots},
		"drop_slot":       {2, 2, owners, (*executor).callDropSlot},
		"rotate":          {1, 1, owners, (*executor).callRotate},
		"forget":          {1, 1, owners, (*executor).callForget},
		"restore":         {1, 1, admins, (*executor).callRestore},
	}
}

// errNoKeystore is for a proxy without a fleet secret.
var errNoKeystore = newFault(codeNotUnderstood, "this proxy has no keystore, so there is no such procedure; see keystore in docs/config.md")

// callOwner checks who calls, reads the arguments and runs a procedure over an owner.
func (x *executor) callOwner(call *rewrite.Call, v *values) (*table, error) {
	p := ownerCalls[call.Name]
	if x.env.Vault == nil {
		return nil, errNoKeystore
	}
	if n := len(call.Args); n < p.least || n > p.most {
		return nil, arguments(call, min(max(n, p.least), p.most))
	}
	if !x.mayPush() {
		return nil, errInsecurePush
	}
	if p.right == accounts && !slices.Contains(x.env.KeyAccounts, x.user) || p.right == admins && !x.admin() {
		return nil, errMayNot(call.Name)
	}
	args := make([]argument, len(call.Args))
	defer func() {
		for _, a := range args {
			clear(a.text)
		}
	}()
	for i := range call.Args {
		if err := x.argument(call, v, i, &args[i]); err != nil {
			return nil, err
		}
	}
	if args[0].null {
		return nil, vaultFault(keystore.ErrBadOwner)
	}
	if p.right == owners && x.unlocked(string(args[0].text)) == nil && !x.admin() {
		return nil, errMayNot(call.Name)
	}
	answer, err := p.run(x, args)
	x.audit(call.Name, string(args[0].text), err)
	if err == nil && x.server.owners != nil {
		x.server.owners.Forget(string(args[0].text))
	}
	if err != nil {
		return nil, x.keystoreFault(err)
	}
	return answer, nil
}

// audit writes one record about what was done with an owner, and counts it.
func (x *executor) audit(name, owner string, err error) {
	result := "ok"
	if err != nil {
		result = "error"
		var many *keystore.TooManyError
		switch {
		case errors.Is(err, keystore.ErrUnlock), errors.Is(err, keystore.ErrLost):
			result = "denied"
		case errors.As(err, &many), errors.Is(err, keystore.ErrBusy):
			result = "delayed"
		case errors.Is(err, keystore.ErrTampered), errors.Is(err, keystore.ErrRollback):
			result = "tampered"
		}
	}
	x.server.metrics.keyCalls.WithLabelValues(name, result).Inc()
	x.log.Info("key procedure", "procedure", name, "owner", x.env.Vault.OwnerHash(owner), "login", x.user,
		"client", x.clientAddr.Addr(), "result", result)
}

// admin tells whether the login may act for every owner.
func (x *executor) admin() bool { return slices.Contains(x.env.Admins, x.user) }

// unlocked gives the key of an owner who is unlocked on this connection, or nil.
func (x *executor) unlocked(owner string) *keystore.UserKey {
	for _, k := range x.keys.ring.Keys() {
		if name, _, ok := k.Owner(); ok && name == owner {
			return k
		}
	}
	return nil
}

// argumentType is what arguments are converted to: they are UTF-8 whatever the connection's character set is, so that a
// password is the same from every client.
var argumentType = func() *logical.Type {
	t, err := logical.Parse("varchar(2000) character set utf8mb4 collate utf8mb4_bin")
	if err != nil {
		panic("internal error: " + err.Error())
	}
	return t
}()

// argument reads one argument.
func (x *executor) argument(call *rewrite.Call, v *values, i int, a *argument) error {
	value := &call.Args[i]
	token := value.Token
	if value.Kind == rewrite.ValueLiteral || value.Kind == rewrite.ValueParam {
		token = v.st.Real(token)
	}
	op, err := v.operand(value, token)
	defer func() { clear(v.buffer[:cap(v.buffer)]) }()
	wrong := newFault(codeMalformedKey, "argument %d of latchkey.%s must be a string or a number, of at most 2,000 characters", i+1, call.Name)
	switch {
	case err != nil || op.dflt:
		return wrong
	case op.null:
		a.null = true
		return nil
	case op.in.Kind == logical.InputHexString:
		a.text = append([]byte{}, op.in.Bytes...)
		return nil
	}
	if op.in.Kind == logical.InputWireBytes {
		a.text = append([]byte{}, op.in.Bytes...)
		return nil
	}
	a.text, err = argumentType.Canonical(make([]byte, 0, 4*len(op.in.Bytes)+32), op.in, &x.facts.conv)
	if err != nil {
		return wrong
	}
	return nil
}

// clientOf is who asks, for counting failures. Of an IPv6 address the network counts: its owner has all of it.
func (x *executor) clientOf(owner []byte) keystore.Client {
	addr := x.clientAddr.Addr().Unmap().WithZone("")
	c := keystore.Client{Owner: string(owner)}
	switch {
	case addr.Is6():
		if network, err := addr.Prefix(64); err == nil {
			c.Address = network.String()
		}
	case addr != (netip.Addr{}):
		c.Address = addr.String()
	}
	return c
}

// timeText shows a time as MariaDB writes one, in UTC; empty is never.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.DateTime)
}

// entered puts the key that was opened on the keyring and answers with what the client has to keep.
func (x *executor) entered(o *keystore.Opened, recovery bool) *table {
	t := &table{
		columns: []string{"owner", "key_id", "token", "expires_at"},
		rows:    [][][]byte{tableRow(o.Owner, o.Key.ID().String(), "", timeText(o.Expires))},
	}
	t.rows[0][2] = o.Token
	if recovery {
		if o.Recovery == nil {
			o.Recovery = []byte{}
		}
		t.columns, t.rows[0] = append(t.columns, "recovery_code"), append(t.rows[0], o.Recovery)
	}
	if o.Adopted {
		x.log.Warn("an owner's record was made under another fleet secret and is now under this one", "owner", x.env.Vault.OwnerHash(o.Owner))
	}
	x.keys.replace(o.Key)
	return t
}

func (x *executor) callEnroll(args []argument) (*table, error) {
	o, err := x.env.Vault.Enroll(x.ctx, string(args[0].text), args[1].text)
	if err != nil {
		return nil, err
	}
	return x.entered(o, true), nil
}

func (x *executor) callUnlock(args []argument) (*table, error) {
	open := x.env.Vault.Unlock
	if len(args) == 3 {
		switch strings.ToLower(string(args[2].text)) {
		case "password":
		case "secret":
			open = x.env.Vault.UnlockSecret
		default:
			return nil, newFault(codeMalformedKey, "the third argument of latchkey.unlock is not a kind of key slot that unlocks; see docs/keys.md")
		}
	}
	o, err := open(x.ctx, x.clientOf(args[0].text), args[1].text)
	if err != nil {
		return nil, err
	}
	return x.entered(o, false), nil
}

func (x *executor) callChangePassword(args []argument) (*table, error) {
	o, err := x.env.Vault.ChangePassword(x.ctx, x.clientOf(args[0].text), args[1].text, args[2].text)
	if err != nil {
		return nil, err
	}
	return x.entered(o, true), nil
}

// callRecover takes NULL in the place of the code from an administrator: then the operator's escrow key recovers.
func (x *executor) callRecover(args []argument) (*table, error) {
	var o *keystore.Opened
	var err error
	switch {
	case !args[1].null:
		o, err = x.env.Vault.Recover(x.ctx, x.clientOf(args[0].text), args[1].text, args[2].text)
	case !x.admin():
		return nil, errMayNot("recover")
	default:
		o, err = x.env.Vault.RecoverEscrow(x.ctx, x.clientOf(args[0].text), args[2].text)
	}
	if err != nil {
		return nil, err
	}
	return x.entered(o, true), nil
}

func (x *executor) callRegister(args []argument) (*table, error) {
	k, ok := x.keys.ring.Sealing()
	if !ok {
		return nil, newFault(codeNoKey, "there is no key on this connection to register; push the owner's account key before")
	}
	if err := x.env.Vault.Register(x.ctx, string(args[0].text), k); err != nil {
		return nil, err
	}
	return &table{[]string{"owner", "key_id"}, [][][]byte{tableRow(string(args[0].text), k.ID().String())}}, nil
}

// slotKinds are the kinds that can be added.
var slotKinds = map[string]keystore.SlotKind{
	"recovery": keystore.SlotRecovery, "secret": keystore.SlotSecret, "service": keystore.SlotService,
}

func (x *executor) callAddSlot(args []argument) (*table, error) {
	var secret []byte
	if len(args) == 3 {
		secret = args[2].text
	}
	kind := slotKinds[strings.ToLower(string(args[1].text))]
	id, code, err := x.env.Vault.AddSlot(x.ctx, string(args[0].text), x.unlocked(string(args[0].text)), kind, secret)
	if err != nil {
		return nil, err
	}
	row := tableRow(id.String(), kind.String(), "")
	if code != nil {
		row[2] = code
	}
	return &table{[]string{"slot_id", "kind", "recovery_code"}, [][][]byte{row}}, nil
}

func (x *executor) callSlots(args []argument) (*table, error) {
	slots, err := x.env.Vault.Slots(x.ctx, string(args[0].text))
	if err != nil {
		return nil, err
	}
	t := &table{columns: []string{"slot_id", "kind", "label", "created_at", "expires_at"}}
	for _, s := range slots {
		t.rows = append(t.rows, tableRow(s.ID.String(), s.Kind.String(), s.Label, timeText(s.Created), timeText(s.Expires)))
	}
	return t, nil
}

func (x *executor) callDropSlot(args []argument) (*table, error) {
	id, err := keystore.ParseSlotID(string(args[1].text))
	if err == nil {
		err = x.env.Vault.DropSlot(x.ctx, string(args[0].text), id)
	}
	if err != nil {
		return nil, err
	}
	return &table{[]string{"slot_id"}, [][][]byte{tableRow(id.String())}}, nil
}

func (x *executor) callRotate(args []argument) (*table, error) {
	k := x.unlocked(string(args[0].text))
	if k == nil {
		return nil, keystore.ErrNotFromSlot
	}
	n, err := x.env.Vault.Rotate(x.ctx, k)
	if err != nil {
		return nil, err
	}
	old, id := k.ID().String(), n.ID().String()
	x.keys.ring.Exchange(k, n)
	return &table{[]string{"owner", "key_id", "old_key_id"}, [][][]byte{tableRow(string(args[0].text), id, old)}}, nil
}

// receipt is what a forgotten owner's receipt cannot promise.
const receipt = "no proxy opens this owner's key any more; its key slots are destroyed at destroyed_at. Not reached: " +
	"older backups of the keystore, for whoever has a password and the fleet secret, or a recovery code or secret; " +
	"account keys that somebody keeps; what was copied in plaintext"

func (x *executor) callForget(args []argument) (*table, error) {
	owner := string(args[0].text)
	r, err := x.env.Vault.Forget(x.ctx, owner)
	if err != nil {
		return nil, err
	}
	if k := x.unlocked(owner); k != nil {
		x.keys.ring.Exchange(k, nil)
	}
	return &table{[]string{"owner", "slots", "destroyed_at", "receipt"},
		[][][]byte{tableRow(owner, strconv.Itoa(r.Slots), timeText(r.DestroyAt), receipt)}}, nil
}

func (x *executor) callRestore(args []argument) (*table, error) {
	if err := x.env.Vault.Restore(x.ctx, string(args[0].text)); err != nil {
		return nil, err
	}
	return &table{[]string{"owner"}, [][][]byte{tableRow(string(args[0].text))}}, nil
}

// errMayNot is for a login that lacks the right to call a procedure.
func errMayNot(name string) *fault {
	switch ownerCalls[name].right {
	case owners:
		return newFault(codeMayNot, "latchkey.%s is for an owner who is unlocked on this connection, and for the logins of keystore.admins", name)
	case admins:
		return newFault(codeMayNot, "latchkey.%s is for the logins of keystore.admins", name)
	}
	if name == "recover" {
		return newFault(codeMayNot, "latchkey.recover is for the logins of keystore.accounts, and without a code for those of keystore.admins too")
	}
	return newFault(codeMayNot, "latchkey.%s is for the logins of keystore.accounts", name)
}

// keystoreFault is vaultFault that logs what only the operator can mend.
func (s *session) keystoreFault(err error) error {
	f := vaultFault(err)
	if f == errKeystoreDown || errors.Is(err, keystore.ErrTampered) || errors.Is(err, keystore.ErrRollback) || errors.Is(err, keystore.ErrBadCost) {
		s.log.Warn("keystore", "error", err)
	}
	return f
}

// errKeystoreDown is for a keystore that cannot be read or written.
var errKeystoreDown = mariadbFault(codeBackendGone, "Latchkey: the keystore cannot be reached; see the log of Latchkey")

// vaultFault turns what a vault answers into what the client gets.
func vaultFault(err error) *fault {
	var f *fault
	var many *keystore.TooManyError
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &many):
		return newFault(codeTooManyAttempts, "too many attempts failed; try again in %d seconds", int64(many.Wait/time.Second)+1)
	case errors.Is(err, keystore.ErrBusy):
		return newFault(codeTooManyAttempts, "too many passwords are being checked; try again in a few seconds")
	case errors.Is(err, keystore.ErrUnlock):
		return newFault(codeUnlockFailed, "unlock failed: there is no such owner, or what was given does not open this owner's key")
	case errors.Is(err, keystore.ErrTokenGone):
		return newFault(codeTokenGone, "the token expired or was revoked; unlock with the password again")
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errKeystoreDown
	}
	for _, known := range []struct {
		is   error
		code uint16
	}{
		{keystore.ErrMalformedKey, codeMalformedKey},
		{keystore.ErrBadOwner, codeMalformedKey},
		{keystore.ErrBadPassword, codeMalformedKey},
		{keystore.ErrBadSecret, codeMalformedKey},
		{keystore.ErrBadKind, codeMalformedKey},
		{keystore.ErrEnrolled, codeOwnerState},
		{keystore.ErrForgotten, codeOwnerState},
		{keystore.ErrNoOwner, codeOwnerState},
		{keystore.ErrNotForgotten, codeOwnerState},
		{keystore.ErrTampered, codeUnlockFailed},
		{keystore.ErrRollback, codeUnlockFailed},
		{keystore.ErrBadCost, codeUnlockFailed},
		{keystore.ErrNoSlot, codeOwnerState},
		{keystore.ErrLastSlot, codeOwnerState},
		{keystore.ErrTooManySlots, codeOwnerState},
		{keystore.ErrTooManyRotations, codeOwnerState},
		{keystore.ErrConflict, codeOwnerState},
		{keystore.ErrNoEscrow, codeOwnerState},
		{keystore.ErrNotFromSlot, codeOwnerState},
		{keystore.ErrKeyGone, codeTokenGone},
	} {
		if errors.Is(err, known.is) {
			return newFault(known.code, "%s", strings.TrimPrefix(err.Error(), "keystore: "))
		}
	}
	return errKeystoreDown
}
