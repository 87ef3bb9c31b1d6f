package proxy

import (
	"encoding/binary"
	"math/bits"
	"strconv"

	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// What narrows the fetch of a residual statement may be left out: the statement itself is run over whatever was fetched.

// loosely renders a range condition, or TRUE where one of its values has no tag or no key is here to compute it with.
func (r *renderer) loosely(p *rewrite.Piece) error {
	out, binds, cells := len(r.out), len(r.binds), len(r.cell)
	if p.Column.Plaintext {
		r.out = append(append(append(r.out, '('), rewrite.PlaintextCondition(p.Left)...), " OR "...)
	}
	if r.rangeCondition(p) != nil {
		r.out, r.binds, r.cell = append(r.out[:out], "TRUE"...), r.binds[:binds], r.cell[:cells]
	} else if p.Column.Plaintext {
		r.out = append(r.out, ')')
	}
	return nil
}

// limit renders ` LIMIT n` with the sum of the values; nothing where that is not known.
func (r *renderer) limit(p *rewrite.Piece) error {
	if r.mode == renderUnbound {
		return nil
	}
	var sum, carry uint64
	for i := range p.Values {
		v := &p.Values[i]
		n, ok := r.count(v)
		if !ok {
			return nil
		}
		if sum, carry = bits.Add64(sum, n, 0); carry != 0 {
			return nil
		}
	}
	r.out = append(r.out, " LIMIT "...)
	r.out = strconv.AppendUint(r.out, sum, 10)
	return nil
}

// count reads a row count: an integer literal, or a parameter that is an integer.
func (r *renderer) count(v *rewrite.Value) (uint64, bool) {
	op, err := r.vals.operand(v, r.real(v.Token))
	if err != nil || op.null || op.dflt || op.in.Negative {
		return 0, false
	}
	b := op.in.Bytes
	switch op.in.Kind {
	case logical.InputInteger:
		n, err := strconv.ParseUint(string(b), 10, 64)
		return n, err == nil
	case logical.InputWireSigned, logical.InputWireUnsigned:
		var wide [8]byte
		if len(b) == 0 || len(b) > len(wide) || op.in.Kind == logical.InputWireSigned && b[len(b)-1]&0x80 != 0 {
			return 0, false
		}
		copy(wide[:], b)
		return binary.LittleEndian.Uint64(wide[:]), true
	}
	return 0, false
}
