package rewrite

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"latchkey/rewrite/logical"
)

// indexDefinition is an index as a CREATE TABLE, ALTER TABLE or CREATE INDEX declares it.
type indexDefinition struct {
	kind string // of DeclaredIndex, or PRIMARY KEY or SPATIAL KEY
	// kindFrom and kindTo are the tokens of FULLTEXT and, behind it, KEY or INDEX.
	kindFrom, kindTo int
	// open and end are the parentheses around the parts.
	open, end int
	parts     []indexPartDefinition
	// last is the last token of the definition.
	last int
	// using is BTREE, HASH or RTREE where it is said.
	using            string
	blockSize        string
	comment          string
	ignored          bool
	unknown          bool // an option that is not understood
	usingIn          int  // token of a USING in front of the parts, -1 for none
	primary, spatial bool
}

type indexPartDefinition struct {
	name   int // token
	to     int // last token of name and length
	prefix int
	desc   bool
}

// readIndex reads an index from the token of its kind on; last is the last token that may belong to it. kindAt points to
// PRIMARY, UNIQUE, FULLTEXT, SPATIAL, KEY or INDEX.
func (c *tableChange) readIndex(i, last int) (*indexDefinition, error) {
	st := c.st
	d := &indexDefinition{kind: "KEY", kindFrom: i, kindTo: i, last: last, usingIn: -1}
	switch st.Keyword(i) {
	case KwPrimary:
		d.primary = true
	case KwUnique:
		d.kind = "UNIQUE KEY"
	case KwFulltext:
		d.kind = "FULLTEXT KEY"
	case KwSpatial:
		d.spatial = true
	}
	if !st.Is(i, KwKey) && !st.Is(i, KwIndex) && (st.Is(i+1, KwKey) || st.Is(i+1, KwIndex)) {
		d.kindTo = i + 1
	}
	for i = d.kindTo + 1; i <= last && !st.IsOp(i, OpLeftParen); i++ {
		if st.Is(i, KwUsing) || st.isWord(i, "TYPE") && st.Token(i+1).Kind == TokWord && !st.IsOp(i+1, OpLeftParen) {
			d.usingIn, d.using = i, strings.ToUpper(st.Name(i+1))
			i++
		}
	}
	return d, c.readIndexParts(d, i)
}

func (c *tableChange) readIndexParts(d *indexDefinition, i int) error {
	st := c.st
	d.open, d.end = i, st.Match(i)
	if d.end < 0 || d.end > d.last {
		return notUnderstood("an index of a table with protected columns is not understood", "")
	}
	for i++; i < d.end; i++ {
		part := indexPartDefinition{name: i, to: i}
		if !st.Token(i).IsIdentifier() {
			return notUnderstood("an index of a table with protected columns is not understood", "name its columns")
		}
		if st.IsOp(i+1, OpLeftParen) {
			part.to = st.Match(i + 1)
			n, err := strconv.Atoi(string(st.Text(i + 2)))
			if err != nil || part.to != i+3 {
				return notUnderstood("an index of a table with protected columns is not understood", "name its columns")
			}
			part.prefix, i = n, part.to
		}
		if st.Is(i+1, KwAsc) || st.Is(i+1, KwDesc) {
			part.desc = st.Is(i+1, KwDesc)
			i++
		}
		d.parts = append(d.parts, part)
		if i++; i < d.end && !st.IsOp(i, OpComma) {
			return notUnderstood("an index of a table with protected columns is not understood", "name its columns")
		}
	}
	for i = d.end + 1; i <= d.last; {
		i = c.readIndexOption(d, i)
	}
	return nil
}

// readIndexOption reads the option at token i and gives the token behind it.
func (c *tableChange) readIndexOption(d *indexDefinition, i int) int {
	st := c.st
	value := i + 1
	if st.IsOp(value, OpEq) {
		value++
	}
	switch {
	case st.Is(i, KwUsing):
		d.using = strings.ToUpper(st.Name(i + 1))
		return i + 2
	case st.isWord(i, "KEY_BLOCK_SIZE"):
		d.blockSize = string(st.Text(value))
		return value + 1
	case st.Is(i, KwComment):
		lit, err := st.Literal(value)
		if err != nil {
			break
		}
		d.comment = st.toUTF8(lit.Bytes, true)
		return value + lit.Tokens
	case st.isWord(i, "IGNORED"):
		d.ignored = true
		return i + 1
	case st.Is(i, KwNot) && st.isWord(i+1, "IGNORED"):
		return i + 2
	case st.Is(i, KwWith) && st.Is(i+1, KwParser):
		return i + 3
	}
	d.unknown = true
	return d.last + 1
}

// isWord reports whether token i is the unquoted word, in upper case, which need not be a keyword here.
func (s *Statement) isWord(i int, word string) bool {
	return s.Token(i).Kind == TokWord && equalFoldASCII(s.Text(i), word)
}

// index rewrites an index over protected columns: it covers the search tags, or stands in for the declared one by name.
func (c *tableChange) index(d *indexDefinition) error {
	if p := c.indexed(d); p == nil {
		return nil
	} else if d.primary {
		return notPossible(p, "it cannot be part of the PRIMARY KEY: equal values are different cells", "use another key, such as an AUTO_INCREMENT column")
	} else if d.unknown || d.spatial {
		return notPossible(p, "an option of the index over it is not understood", "declare the index without it")
	}
	declared, standIn, err := c.declareIndex(d)
	if err != nil {
		return err
	}
	comment, err := declared.Annotation()
	if err != nil {
		return notPossible(c.indexed(d), "the index over it has too long a COMMENT", "shorten it")
	}
	if declared.Fulltext() {
		c.b.plan.Warnings = append(c.b.plan.Warnings, &Refusal{Code: CodeNotPossible, Column: c.indexed(d).String(),
			Reason: "the FULLTEXT index is kept by name and finds nothing", Hint: "use LIKE or REGEXP; MATCH is refused"})
		if err := c.edit(d.kindFrom, d.kindTo, Piece{Kind: PieceText, Text: "INDEX"}); err != nil {
			return err
		}
	}
	for _, part := range d.parts {
		if err := c.indexPart(part, declared); err != nil {
			return err
		}
	}
	return c.indexOptions(d, comment, standIn)
}

// indexed gives the first protected column of an index.
func (c *tableChange) indexed(d *indexDefinition) *Protected {
	for _, part := range d.parts {
		if column := c.column(c.st.Name(part.name)); column != nil && column.protected != nil {
			return column.protected
		}
	}
	return nil
}

// indexPart gives a part over a protected column the length of a search tag.
func (c *tableChange) indexPart(part indexPartDefinition, declared *DeclaredIndex) error {
	column := c.column(c.st.Name(part.name))
	tag := Piece{Kind: PieceText, Text: fmt.Sprintf("(%d)", TagPrefix)}
	switch {
	case column != nil && column.protected != nil && part.to > part.name:
		return c.edit(part.name+1, part.to, tag)
	case column != nil && column.protected != nil:
		return c.edit(part.name+1, part.name, tag)
	case declared.Fulltext() && column != nil && part.to == part.name:
		// A FULLTEXT index over TEXT has no lengths; the one that stands in for it may need them.
		if column.was == nil || c.isLong(column.was) {
			return notPossible(c.firstProtected(), "a FULLTEXT index over it has plain columns beside it", "make an index of the plain columns alone")
		}
	}
	return nil
}

func (c *tableChange) firstProtected() *Protected {
	for _, column := range c.columns {
		if column.protected != nil {
			return column.protected
		}
	}
	return &Protected{Database: c.table.Database, Table: c.table.Name}
}

// isLong reports whether an index over the whole of a plain column is not possible.
func (c *tableChange) isLong(column *Column) bool {
	return column.Bytes > 3072/4 || strings.HasSuffix(column.DataType, "text")
}

// declareIndex says what the application declares; standIn that the index that takes its place finds nothing.
func (c *tableChange) declareIndex(d *indexDefinition) (declared *DeclaredIndex, standIn bool, err error) {
	declared = &DeclaredIndex{Kind: d.kind}
	hash := false
	index := &Index{Unique: declared.Unique(), Kind: "BTREE", Name: "of the statement"}
	for _, part := range d.parts {
		physical := IndexPart{Column: c.st.Name(part.name), Prefix: part.prefix}
		column := c.column(physical.Column)
		if column != nil && column.protected != nil {
			physical.Prefix = TagPrefix
		}
		index.Parts = append(index.Parts, physical)
	}
	for n, part := range d.parts {
		column := c.column(c.st.Name(part.name))
		prefix := part.prefix
		if column != nil && column.protected != nil {
			p := column.protected
			if p.Conflict != nil {
				return nil, false, p.Conflict
			}
			if declared.Fulltext() {
				prefix, standIn = 0, true
			} else {
				long := false
				if prefix, long, err = p.Type.KeyPart(part.prefix); errors.Is(err, logical.ErrKeyPrefix) {
					return nil, false, refuse(CodeKeyPrefix, p.String(), "Incorrect prefix key; the used key part isn't a string, or the used length is longer than the key part", "")
				}
				if long && declared.Unique() {
					prefix, hash = part.prefix, true
				}
				if declared.Unique() && part.prefix > 0 && prefix > 0 {
					return nil, false, notPossible(p, "UNIQUE over the first characters of a value cannot be seen in its cell", "declare it over the whole column")
				}
			}
			if f := checkIndexPart(c.table, index, index.Parts[n], p); f != nil && f.Severity == Error {
				return nil, false, notPossible(p, strings.Replace(f.Reason, " `of the statement`", "", 1), f.Hint)
			}
			standIn = standIn || n == 0 && !p.Search
		}
		declared.Prefixes = append(declared.Prefixes, prefix)
	}
	declared.Options = d.shownOptions(hash)
	return declared, standIn, nil
}

// shownOptions writes the options as SHOW CREATE TABLE does.
func (d *indexDefinition) shownOptions(hash bool) string {
	var b strings.Builder
	switch {
	case d.kind == "FULLTEXT KEY":
	case hash:
		b.WriteString(" USING HASH")
	case d.using != "":
		b.WriteString(" USING " + d.using)
	}
	if d.blockSize != "" && d.blockSize != "0" {
		b.WriteString(" KEY_BLOCK_SIZE=" + d.blockSize)
	}
	if d.comment != "" {
		b.WriteString(" COMMENT " + quoteShown(d.comment))
	}
	if d.ignored {
		b.WriteString(" IGNORED")
	}
	return b.String()
}

// indexOptions replaces the options behind the parts by those of the index that takes its place.
func (c *tableChange) indexOptions(d *indexDefinition, comment string, standIn bool) error {
	text := ""
	if d.using == "BTREE" && d.usingIn < 0 && d.kind != "FULLTEXT KEY" {
		text = " USING BTREE"
	}
	text += " COMMENT " + quoteText(comment)
	if (standIn || d.ignored) && d.kind != "UNIQUE KEY" && c.b.f.ServerVersion >= 100600 {
		text += " IGNORED"
	}
	if d.usingIn >= 0 && (d.using == "HASH" || d.kind == "FULLTEXT KEY") {
		if err := c.edit(d.usingIn, d.usingIn+1); err != nil {
			return err
		}
	}
	return c.edit(d.end, d.last, Piece{Kind: PieceText, Text: ")" + text})
}

// createIndex plans CREATE INDEX; i is the token of its kind.
func (b *builder) createIndex(i int) error {
	on := b.keywordAt(i, KwOn)
	if on < 0 {
		return notUnderstood("CREATE INDEX is not understood", "")
	}
	c, err := b.newTableChange(on + 1)
	if err != nil {
		return err
	}
	c.alters()
	last := b.st.Len() - 1
	for j := b.st.Match(c.nameToken + 1); j > 0 && j < b.st.Len(); j++ {
		if b.st.Is(j, KwAlgorithm) || b.st.Is(j, KwLock) || b.st.isWord(j, "WAIT") || b.st.isWord(j, "NOWAIT") {
			last = j - 1
			break
		}
	}
	d, err := c.readIndex(i, last)
	if err != nil {
		return err
	}
	if err := b.computesNothing(i, last); err != nil {
		return err
	}
	if err := c.index(d); err != nil {
		return err
	}
	return b.finish()
}
