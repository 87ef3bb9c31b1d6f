package logical

import "errors"

// Canonical appends the canonical text of in, converted to the type as an assignment (INSERT, UPDATE, DEFAULT) does it.
//
// A conversion that MariaDB does without a warning and in one certain way is done. A value that MariaDB surely refuses in
// strict mode is a *[ValueError] with MariaDB's code when s.Strict is set. Everything else (rounding, cutting, a note or
// warning, spellings and rules that are not reproduced here, refusals outside strict mode) is [ErrNotPlain]. On error dst is
// returned as it was. Neither in nor s is kept.
func (t *Type) Canonical(dst []byte, in Input, s *Session) ([]byte, error) {
	out, err := t.convert(dst, in, s)
	if err != nil {
		var refusal *ValueError
		if errors.As(err, &refusal) && !s.Strict {
			err = ErrNotPlain
		}
		return dst, err
	}
	return out, nil
}

func (t *Type) convert(dst []byte, in Input, s *Session) ([]byte, error) {
	if in.Negative && !in.signed() {
		return dst, ErrNotPlain
	}
	switch t.Family() {
	case FamilyString:
		return t.canonicalString(dst, in, s)
	case FamilyJSON:
		return t.canonicalJSON(dst, in, s)
	case FamilyBinary:
		return t.canonicalBinary(dst, in, s)
	case FamilyInteger:
		return t.canonicalInteger(dst, in, s)
	case FamilyDecimal:
		return t.canonicalDecimal(dst, in, s)
	case FamilyFloat, FamilyDouble:
		return t.canonicalFloat(dst, in, s)
	case FamilyDate, FamilyDateTime, FamilyTimestamp, FamilyTime:
		return t.canonicalTemporal(dst, in, s)
	case FamilyYear:
		return t.canonicalYear(dst, in, s)
	case FamilyBit:
		return t.canonicalBit(dst, in, s)
	case FamilyEnum:
		return t.canonicalEnum(dst, in, s)
	case FamilySet:
		return t.canonicalSet(dst, in, s)
	case FamilyUUID:
		return t.canonicalUUID(dst, in, s)
	case FamilyINET4:
		return t.canonicalINET4(dst, in, s)
	}
	return t.canonicalINET6(dst, in, s)
}
