package logical

// Declassify appends the bytes of which [Type.Plaintext] makes the canonical text again, and ALTER TABLE ... MODIFY the same
// value, by way of [Type.WayBack] and in a session with time_zone='+00:00'. Text that the declared character set does not
// have, which no cell of the type holds, is an error, and dst is returned as it was.
func (t *Type) Declassify(dst, canonical []byte) ([]byte, error) {
	if t.cs == nil {
		return append(dst, canonical...), nil
	}
	out, err := t.cs.fromUTF8(dst, canonical, false)
	if err != nil {
		return dst, ErrNotPlain
	}
	return out, nil
}

// WayBack returns the types, in order, that a VARBINARY or a BLOB has to become before it becomes a column of the type, so
// that no value is lost: the server reads binary text as a signed number.
func (t *Type) WayBack() []string {
	switch {
	case t.Kind == KindBit:
		return []string{"DECIMAL(20,0)", "BIGINT UNSIGNED"}
	case t.Kind == KindBigInt && t.Unsigned:
		return []string{"DECIMAL(20,0)"}
	case t.Intermediate() != "":
		return []string{t.Intermediate()}
	}
	return nil
}
