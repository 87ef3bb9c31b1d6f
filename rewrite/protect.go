package rewrite

import (
	"fmt"
	"slices"
	"strings"

	"latchkey/rewrite/logical"
)

// Severity says what a Finding means for the promise of Latchkey.
type Severity uint8

// The severities. With an Error, statements are refused or data is not what it should be; a Warning leaks something or costs
// much; Info is good to know.
const (
	Info Severity = iota
	Warning
	Error
)

// String is the word in lower case.
func (s Severity) String() string {
	switch s {
	case Info:
		return "info"
	case Warning:
		return "warning"
	}
	return "error"
}

// Finding is one thing that is not as it should be between policy, schema and server.
type Finding struct {
	Severity Severity
	// Code names the kind of finding and never changes its meaning: `not-binary`.
	Code string
	// Object is `database.table.column`, `database.table`, a routine's name, or `server`.
	Object string
	Reason string
	// Hint says what to do.
	Hint string
}

// String is one line of text.
func (f Finding) String() string {
	text := fmt.Sprintf("%s: %s: %s: %s", f.Severity, f.Code, f.Object, f.Reason)
	if f.Hint != "" {
		text += "; " + f.Hint
	}
	return text
}

// The bytes of a cell around its plaintext frame (docs/format.md, section Cell).
const (
	cellHeader       = 3 + 1 + 1 + 1 + 2 + 8 + 12 // magic, kind, suite, flags, epoch, key id, nonce
	cellTag          = 16
	cellAuth         = 16
	cellFrame        = 2                         // type family and the byte 80
	awayCellOverhead = cellHeader - 12 + 32 + 32 // an encapsulated key for the nonce, and a MAC
)

// TagPrefix is the length in bytes of magic, kind and search tag: the index prefix of a searchable column.
const TagPrefix = 3 + 1 + cellTag

// CellLength is the length in bytes of the cell of a value whose canonical text has n bytes, as the column's policy seals it.
func (c *Protected) CellLength(n int64) int64 { return cellLength(n, c.Search, c.Away, c.Pad) }

func cellLength(n int64, search, away bool, pad int) int64 {
	frame := n + cellFrame
	if pad > 1 {
		if over := frame % int64(pad); over != 0 {
			frame += int64(pad) - over
		}
	}
	overhead := int64(cellHeader)
	if search {
		overhead += cellTag
	}
	if away {
		overhead = max(overhead, awayCellOverhead)
	}
	return overhead + frame + cellAuth
}

// maxLongBlob is what a LONGBLOB holds. A declared LONGTEXT of full length has no wider column to go to; a cell that would
// be longer is refused when it is written.
const maxLongBlob = 1<<32 - 1

// capacity is how many bytes of cell the physical column holds; ok is false when it is not of a type that keeps bytes as
// they are. BINARY is not: it pads with zeros.
func (c *Column) capacity() (n int64, ok bool) {
	switch c.DataType {
	case "varbinary", "tinyblob", "blob", "mediumblob", "longblob":
		return c.Bytes, true
	}
	return 0, false
}

// The reasons for which a protected column is not usable, with the code of the finding and what to do. The texts are the
// closed set of Refusal.Reason.
type conflict struct{ code, reason, hint string }

var (
	conflictAnnotation = conflict{"annotation-malformed", "its annotation cannot be read", "restore the column's COMMENT from a backup of the schema"}
	conflictMAC        = conflict{"annotation-mac", "the MAC of its annotation does not verify", "restore the column's COMMENT, or give this proxy the fleet secret and the realm it was made with"}
	conflictType       = conflict{"type-differs", "policy and annotation declare different types", "remove `type:` from the policy, or migrate the column"}
	conflictContext    = conflict{"context-differs", "policy and annotation name different contexts", "remove `context:` from the policy: the annotation has the one that the cells were sealed for"}
	conflictDefinition = conflict{"annotation-type", "the definition in its annotation is not one that can be protected", "restore the column's COMMENT, or use the version of Latchkey that wrote it"}
	conflictNoType     = conflict{"no-type", "neither policy nor annotation declares its type", "run `latchkey check --sql` for the ALTER TABLE that annotates it, or give `type:` in the policy"}
	conflictGuard      = conflict{"guard-alone", "it has the CHECK of a protected column but neither annotation nor policy", "restore the column's COMMENT, or drop the CHECK if the column is no longer protected"}
	conflictNotBinary  = conflict{"not-binary", "its physical type cannot hold cells", "it needs VARBINARY or a BLOB: run `latchkey check --sql`"}
	conflictTooNarrow  = conflict{"too-narrow", "it is too narrow for any cell", "widen it: run `latchkey check --sql`"}
	conflictGenerated  = conflict{"generated", "a generated column cannot be protected", "make it an ordinary column or take it out of the policy"}
	conflictAutoInc    = conflict{"auto-increment", "an AUTO_INCREMENT column cannot be protected", "take it out of the policy"}
	conflictOnUpdate   = conflict{"on-update", "a column with ON UPDATE cannot be protected", "drop the ON UPDATE clause or take it out of the policy"}
	conflictNull       = conflict{"null-differs", "it allows NULL in the schema and not in its declared type, or the other way round", "make both agree: run `latchkey check --sql`"}
	conflictDefault    = conflict{"default-differs", "its physical DEFAULT must be '' where a default is declared, and absent or NULL where none is", "run `latchkey check --sql`"}
	conflictSearch     = conflict{"not-searchable", "its declared type cannot be searched by equality", "remove `search: equality` or declare another type or collation"}
	conflictOwner      = conflict{"owner-missing", "the table does not have the owner column that the policy names", "correct `owner:` in the policy"}
	conflictOwnerSeal  = conflict{"owner-protected", "the owner column is protected itself", "take the owner column out of the protected columns"}
	conflictBind       = conflict{"bind-missing", "a column under `bind:` does not exist or is protected", "correct `bind:` in the policy"}
	conflictCheck      = conflict{"check-mac", "a CHECK constraint over it is not one that Latchkey wrote", "drop the constraint and add it again through Latchkey"}
	conflictAway       = conflict{"away-without-owner", "`away: accept` needs an owner column", "give `owner:` in the policy"}
)

var conflicts = []*conflict{
	&conflictAnnotation, &conflictMAC, &conflictType, &conflictContext, &conflictDefinition, &conflictNoType, &conflictGuard,
	&conflictNotBinary, &conflictTooNarrow, &conflictGenerated, &conflictAutoInc, &conflictOnUpdate, &conflictNull,
	&conflictDefault, &conflictSearch, &conflictOwner, &conflictOwnerSeal, &conflictBind, &conflictAway, &conflictCheck,
}

func (c *conflict) refusal(p *Protected) *Refusal {
	return &Refusal{Code: CodeDisagree, Column: p.String(), Reason: c.reason, Hint: c.hint}
}

// conflictOf finds the conflict of a column by its reason; nil when it has none.
func conflictOf(p *Protected) *conflict {
	if p == nil || p.Conflict == nil {
		return nil
	}
	for _, c := range conflicts {
		if c.reason == p.Conflict.Reason {
			return c
		}
	}
	return nil
}

// alterable tells whether an ALTER TABLE can resolve the conflict; a column without one (nil) is alterable too.
func (c *conflict) alterable() bool {
	switch c {
	case nil, &conflictNoType, &conflictNotBinary, &conflictTooNarrow, &conflictNull, &conflictDefault:
		return true
	}
	return false
}

// Protect decides which columns of s are protected: those that the policy names and those whose annotation says so. It sets
// Column.Protected, Table.Owner and, for tables, Table.Protects. What does not fit sets Protected.Conflict, so that every
// touch is refused. verify tells whether mac is the MAC of an annotation's body; nil verifies nothing. The findings are the
// conflicts and what the policy names and the schema does not have (it may be created later).
//
// A column that carries the guard CHECK but neither annotation nor policy is protected with a conflict: its COMMENT was lost,
// and what applications write there must not go to the backend in the clear.
func Protect(s *Schema, p *Policy, verify func(body, mac []byte) bool) []Finding {
	var findings []Finding
	for _, t := range s.tables() {
		if t.Kind == View {
			continue
		}
		tp := p.Table(t.Database, t.Name, s.LowerCaseTableNames)
		if tp != nil {
			t.Owner = tp.Owner
			if owner := t.Column(tp.Owner); tp.Owner != "" && owner != nil {
				t.Owner = owner.Name
			}
		}
		for _, c := range t.Columns {
			c.Protected = protectColumn(t, c, tp, verify)
			t.Protects = t.Protects || c.Protected != nil
		}
		if t.Protects {
			protectRelations(t, tp)
			readConstraints(t, verify)
		}
	}
	findings = append(findings, missing(s, p)...)
	return append(findings, conflictFindings(s)...)
}

// protectColumn gives the protection of one column, nil when it has none.
func protectColumn(t *Table, c *Column, tp *TablePolicy, verify func(body, mac []byte) bool) *Protected {
	cp := tp.Column(c.Name)
	annotated := IsAnnotation(c.Comment)
	guarded := t.guard(c.Name) != nil
	if cp == nil && !annotated && !guarded {
		return nil
	}
	capacity, binary := c.capacity()
	p := tp.protected(t, c.Name)
	p.Capacity, p.Nullable, p.Annotated = capacity, c.Nullable, annotated
	refuse := func(why *conflict) *Protected {
		p.Conflict = why.refusal(p)
		if p.Type == nil {
			p.Type = untyped
		}
		return p
	}
	if !annotated && cp == nil {
		return refuse(&conflictGuard)
	}
	if annotated {
		if why := readAnnotation(p, c, cp, verify); why != nil {
			return refuse(why)
		}
	} else if cp.Type != nil {
		p.Type = adoptNullability(cp.Type, c)
	}
	switch {
	case c.Generated:
		return refuse(&conflictGenerated)
	case c.AutoIncrement:
		return refuse(&conflictAutoInc)
	case c.OnUpdate:
		return refuse(&conflictOnUpdate)
	case p.Type == nil:
		return refuse(&conflictNoType)
	case !binary:
		return refuse(&conflictNotBinary)
	case capacity < p.CellLength(0):
		return refuse(&conflictTooNarrow)
	case p.Type.Nullable != c.Nullable:
		return refuse(&conflictNull)
	case !physicalDefaultFits(c, p.Type):
		return refuse(&conflictDefault)
	case p.Search && p.Type.Searchable() != nil:
		return refuse(&conflictSearch)
	}
	if p.Type.HasDefault && !p.HasOnEmpty {
		p.HasOnEmpty, p.OnEmpty = true, p.Type.Default
	}
	return p
}

// protected gives what the policy decides about a column of t, which it need not name.
func (tp *TablePolicy) protected(t *Table, column string) *Protected {
	p := &Protected{Database: t.Database, Table: t.Name, Column: column, Context: t.Name + "." + column, Owner: t.Owner}
	if cp := tp.Column(column); cp != nil {
		p.ServiceKey, p.Search, p.UniquePerOwner = cp.ServiceKey, cp.SearchEquality, cp.UniquePerOwner
		p.Bind, p.OverwriteAllow, p.Locked, p.Pad = cp.Bind, cp.OverwriteAllow, cp.Locked, cp.Pad
		p.Plaintext = cp.PlaintextAccept
		p.Away = tp.AwayAccept && cp.ServiceKey == ""
		if cp.Context != "" {
			p.Context = cp.Context
		}
	}
	return p
}

// untyped stands for the type of a column that has none, so that a Protected always has one. Such a column has a Conflict.
var untyped = &logical.Type{Kind: logical.KindLongBlob, Nullable: true}

// readAnnotation takes context and type from the annotation of c into p and holds them against the policy.
func readAnnotation(p *Protected, c *Column, cp *ColumnPolicy, verify func(body, mac []byte) bool) *conflict {
	a, err := ParseAnnotation(c.Comment)
	if err != nil {
		return &conflictAnnotation
	}
	if verify == nil || !verify([]byte(a.Body()), a.MAC) {
		return &conflictMAC
	}
	declared, err := logical.Parse(a.Definition)
	if err != nil {
		return &conflictDefinition
	}
	p.Type = declared
	p.HasOnEmpty, p.OnEmpty = a.HasEmpty, a.Empty
	if cp != nil && cp.Context != "" && cp.Context != a.Context {
		return &conflictContext
	}
	p.Context = a.Context
	if cp != nil && cp.Type != nil && !sameType(cp.Type, declared) {
		return &conflictType
	}
	return nil
}

// sameType tells whether the type of the policy is what the annotation declares. What the policy leaves open (no NOT NULL, no
// DEFAULT, no COMMENT) the annotation may add.
func sameType(policy, declared *logical.Type) bool {
	if policy.HasDefault && (!declared.HasDefault || string(policy.Default) != string(declared.Default)) {
		return false
	}
	if !policy.Nullable && declared.Nullable {
		return false
	}
	return policy.Kind == declared.Kind && policy.Length == declared.Length && policy.Scale == declared.Scale &&
		policy.Unsigned == declared.Unsigned && policy.Zerofill == declared.Zerofill &&
		policy.Charset == declared.Charset && policy.Collation == declared.Collation &&
		slices.Equal(policy.Members, declared.Members)
}

// adoptNullability makes a type of the policy that does not say NOT NULL follow a column that does.
func adoptNullability(declared *logical.Type, c *Column) *logical.Type {
	if !declared.Nullable || c.Nullable {
		return declared
	}
	t := *declared
	t.Nullable = false
	return &t
}

// physicalDefaultFits tells whether a row that omits the column gets what its declared type promises: the empty value, which
// stands for the declared default, exactly where there is one.
func physicalDefaultFits(c *Column, declared *logical.Type) bool {
	if declared.HasDefault {
		return c.HasDefault && c.Default == "''"
	}
	return !c.HasDefault || strings.EqualFold(c.Default, "NULL")
}

// protectRelations refuses protected columns whose table lacks what their policy leans on.
func protectRelations(t *Table, tp *TablePolicy) {
	owner := t.Column(t.Owner)
	for _, c := range t.Columns {
		p := c.Protected
		if p == nil || !conflictOf(p).alterable() {
			continue
		}
		var why *conflict
		switch {
		case t.Owner != "" && owner == nil:
			why = &conflictOwner
		case t.Owner != "" && owner.Protected != nil:
			why = &conflictOwnerSeal
		case t.Owner == "" && p.Away:
			why = &conflictAway
		}
		if p.Away && t.UniqueOver(c.Name) {
			p.Away, p.AwayUnique = false, true
		}
		t.plaintextInKeys(p)
		for _, name := range p.Bind {
			if b := t.Column(name); b == nil || b.Protected != nil {
				why = &conflictBind
			}
		}
		if why != nil {
			p.Conflict = why.refusal(p)
		}
	}
}

// UniqueOver tells whether a UNIQUE key has the column among its parts.
func (t *Table) UniqueOver(column string) bool {
	for _, x := range t.Indexes {
		if x.Unique && x.has(column) {
			return true
		}
	}
	return false
}

// missing lists what the policy names and the schema does not have.
func missing(s *Schema, p *Policy) []Finding {
	if p == nil {
		return nil
	}
	var findings []Finding
	for _, database := range sortedKeys(p.Databases) {
		for _, table := range sortedKeys(p.Databases[database]) {
			object := database + "." + table
			t := s.Table(database, table)
			switch {
			case t == nil:
				findings = append(findings, Finding{Warning, "table-missing", object, "the policy names a table that does not exist or that Latchkey's account cannot see",
					"create it, grant the account access to it, or correct the policy"})
				continue
			case t.Kind == View:
				findings = append(findings, Finding{Error, "policy-names-view", object, "the policy names a view",
					"name the table behind it: protection follows through views"})
				continue
			}
			for _, column := range sortedKeys(p.Databases[database][table].Columns) {
				if t.Column(column) == nil {
					findings = append(findings, Finding{Warning, "column-missing", object + "." + column, "the policy names a column that does not exist",
						"add it to the table or correct the policy"})
				}
			}
		}
	}
	return findings
}

func conflictFindings(s *Schema) []Finding {
	var findings []Finding
	for _, t := range s.tables() {
		for _, c := range t.Columns {
			if why := conflictOf(c.Protected); why != nil {
				findings = append(findings, Finding{Error, why.code, c.Protected.String(), why.reason, why.hint})
			}
		}
	}
	return findings
}

// tables gives all tables ordered by database and name.
func (s *Schema) tables() []*Table {
	var all []*Table
	for _, database := range sortedKeys(s.Databases) {
		for _, table := range sortedKeys(s.Databases[database]) {
			all = append(all, s.Databases[database][table])
		}
	}
	return all
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
