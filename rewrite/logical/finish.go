package logical

import (
	"strings"
	"time"
)

// finish resolves the character set and derives what the declaration leaves open.
func (p *parser) finish() error {
	t := p.t
	if t.Family() == FamilyInteger && t.Length < 0 {
		t.Length = displayWidths[t.Kind][boolIndex(t.Unsigned)]
	}
	if !t.textual() {
		if p.charset != "" || p.collation != "" || p.binaryAttr {
			return declarationError("a character set or collation is for text types")
		}
		if p.jsonCheck {
			return declarationError("CHECK is not possible on a protected column")
		}
		t.fitBlob(p.textLength)
		return nil
	}
	if err := p.resolveCharset(); err != nil {
		return err
	}
	if t.cs.name == "binary" {
		return p.toBinary()
	}
	if !t.cs.converted() {
		return declarationError("the character set is not possible on a protected column")
	}
	t.Charset, t.Collation = t.cs.name, t.co.name
	if p.jsonCheck && t.Kind != KindJSON {
		if t.Kind != KindLongText || t.Collation != "utf8mb4_bin" {
			return declarationError("CHECK is not possible on a protected column")
		}
		t.Kind = KindJSON
	}
	switch t.Kind {
	case KindVarchar:
		if t.Length*t.cs.maxLen > maxRow {
			return declarationError("VARCHAR is longer than %d bytes", maxRow)
		}
	case KindText:
		if p.textLength >= 0 {
			p.textLength *= t.cs.maxLen
		}
		t.fitBlob(p.textLength)
	case KindEnum, KindSet:
		return p.finishMembers()
	}
	return nil
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

// fitBlob chooses the smallest TEXT or BLOB type for TEXT(n) and BLOB(n), n in bytes.
func (t *Type) fitBlob(n int) {
	if n < 0 {
		return
	}
	kinds := [...]Kind{KindTinyText, KindText, KindMediumText, KindLongText}
	if t.Kind == KindBlob {
		kinds = [...]Kind{KindTinyBlob, KindBlob, KindMediumBlob, KindLongBlob}
	}
	switch {
	case n == 0:
	case n < 1<<8:
		t.Kind = kinds[0]
	case n < 1<<16:
		t.Kind = kinds[1]
	case n < 1<<24:
		t.Kind = kinds[2]
	default:
		t.Kind = kinds[3]
	}
}

func (p *parser) resolveCharset() error {
	t := p.t
	if t.Kind == KindJSON {
		t.cs = charsets["utf8mb4"]
		t.co, _ = findCollation("utf8mb4_bin", "")
		if p.binaryAttr || p.charset != "" && p.charset != "utf8mb4" || p.collation != "" && p.collation != "utf8mb4_bin" {
			return declarationError("JSON has the collation utf8mb4_bin")
		}
		return nil
	}
	set, coll := p.charset, p.collation
	if set == "" && coll == "" && !p.binaryAttr {
		set, coll = p.options.Charset, p.options.Collation
	}
	if set == "" && coll != "" {
		if c, err := findCollation(coll, "utf8mb4"); err == nil {
			set = c.charset
		}
	}
	if set == "" {
		if set = p.options.Charset; set == "" {
			set = "utf8mb4"
		}
	}
	var err error
	if t.cs, err = findCharset(set); err != nil {
		return declarationError("the character set is unknown")
	}
	switch {
	case coll != "":
		if t.co, err = findCollation(coll, t.cs.name); err != nil {
			return declarationError("the collation is unknown")
		}
	case p.binaryAttr && t.cs.name != "binary":
		if t.co, err = findCollation(t.cs.name+"_bin", ""); err != nil {
			return declarationError("the character set has no binary collation")
		}
	default:
		t.co = collationByID(t.cs.defaultID)
	}
	if t.co.charset != t.cs.name {
		return declarationError("the collation does not belong to the character set")
	}
	return nil
}

// toBinary turns a text type with the character set binary into the binary type that it is.
func (p *parser) toBinary() error {
	t := p.t
	t.cs, t.co = nil, nil
	binary := map[Kind]Kind{
		KindChar: KindBinary, KindVarchar: KindVarbinary, KindTinyText: KindTinyBlob, KindText: KindBlob,
		KindMediumText: KindMediumBlob, KindLongText: KindLongBlob,
	}
	kind, ok := binary[t.Kind]
	if !ok {
		return declarationError("the character set binary is not possible on a protected column of this type")
	}
	t.Kind = kind
	t.fitBlob(p.textLength)
	return nil
}

// finishMembers strips the members' trailing spaces, as the server does, and refuses lists that it refuses.
func (p *parser) finishMembers() error {
	t := p.t
	t.spelled = make(map[string]int, len(t.Members))
	t.weighed = make(map[string]int, len(t.Members))
	for i, m := range t.Members {
		m = strings.TrimRight(m, " ")
		t.Members[i] = m
		if t.cs.encodedLen([]byte(m)) < 0 {
			return declarationError("a member has a character that the character set does not have")
		}
		if t.Kind == KindSet && strings.Contains(m, ",") {
			return declarationError("a member of SET has a comma")
		}
		_, twice := t.spelled[m]
		t.spelled[m] = i
		if w, err := t.co.weigh(nil, []byte(m)); err != nil {
			t.unweighed = true
		} else {
			_, again := t.weighed[string(w)]
			twice = twice || again
			t.weighed[string(w)] = i
		}
		if twice {
			return declarationError("a member of ENUM or SET is there twice")
		}
	}
	return nil
}

// finishDefault converts the default to its canonical text.
func (p *parser) finishDefault() error {
	t := p.t
	if !p.hasDefault {
		return nil
	}
	if p.defNull {
		if !t.Nullable {
			return ErrInvalidDefault
		}
		return nil
	}
	zone := p.options.TimeZone
	if zone == nil {
		zone = time.UTC
	}
	s := &Session{ClientCharset: "utf8mb4", TimeZone: zone, Strict: true}
	// Not nil: an empty default is a value.
	canonical, err := t.Canonical([]byte{}, p.def, s)
	if err != nil {
		return ErrInvalidDefault
	}
	t.HasDefault, t.Default = true, canonical
	return nil
}
