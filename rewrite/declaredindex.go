package rewrite

import (
	"slices"
	"strconv"
	"strings"
)

// annotationIndex begins the annotation in the COMMENT of an index over protected columns.
const annotationIndex = "index="

// DeclaredIndex is an index over protected columns as the application declared it. The index that stands for it has the
// same columns in the same order; over a protected one it covers the first bytes of the cell.
type DeclaredIndex struct {
	// Kind is KEY, UNIQUE KEY or FULLTEXT KEY.
	Kind string
	// Prefixes has the declared prefix length of each part, 0 for the whole column.
	Prefixes []int
	// Options is what SHOW CREATE TABLE prints behind the parts, the application's own COMMENT included: ` USING BTREE`.
	Options string
}

var declaredKinds = []string{"KEY", "UNIQUE KEY", "FULLTEXT KEY"}

// Unique says that the declared index is UNIQUE.
func (d *DeclaredIndex) Unique() bool { return d.Kind == "UNIQUE KEY" }

// Fulltext says that the declared index is a FULLTEXT one.
func (d *DeclaredIndex) Fulltext() bool { return d.Kind == "FULLTEXT KEY" }

// Comment is the application's own comment.
func (d *DeclaredIndex) Comment() string {
	st := Statement{}
	if st.Scan([]byte(d.Options), &Facts{Charset: CharsetUTF8MB4}) != nil {
		return ""
	}
	for i := range st.Len() {
		if st.Is(i, KwComment) && st.Token(i+1).Kind == TokString {
			if lit, err := st.Literal(i + 1); err == nil {
				return string(lit.Bytes)
			}
		}
	}
	return ""
}

// Ignored says that the application declared the index IGNORED.
func (d *DeclaredIndex) Ignored() bool { return strings.HasSuffix(d.Options, " IGNORED") }

// Annotation is the COMMENT of the index that stands for d. Nothing is decided by it but what the application is shown, so
// it carries no MAC. It does not name columns: they follow a renaming.
func (d *DeclaredIndex) Annotation() (string, error) {
	lengths := make([]string, len(d.Prefixes))
	for i, n := range d.Prefixes {
		lengths[i] = strconv.Itoa(n)
	}
	text := annotationMark + annotationVersion + annotationIndex +
		escapeAnnotation(d.Kind+" ("+strings.Join(lengths, ",")+")"+d.Options, false)
	if len(text) > MaxAnnotation {
		return "", errAnnotationLong
	}
	return text, nil
}

// ParseDeclaredIndex reads the COMMENT of an index; ok is false when it is not an annotation that Annotation makes.
func ParseDeclaredIndex(comment string) (d *DeclaredIndex, ok bool) {
	rest, ok := strings.CutPrefix(comment, annotationMark+annotationVersion+annotationIndex)
	if !ok || len(comment) > MaxAnnotation {
		return nil, false
	}
	if rest, ok = unescapeAnnotation(rest, false); !ok {
		return nil, false
	}
	kind, rest, ok := strings.Cut(rest, " (")
	if !ok || !slices.Contains(declaredKinds, kind) {
		return nil, false
	}
	lengths, options, ok := strings.Cut(rest, ")")
	if !ok || options != "" && options[0] != ' ' {
		return nil, false
	}
	d = &DeclaredIndex{Kind: kind, Options: options}
	for length := range strings.SplitSeq(lengths, ",") {
		n, err := strconv.ParseUint(length, 10, 16)
		if err != nil || strconv.FormatUint(n, 10) != length {
			return nil, false
		}
		d.Prefixes = append(d.Prefixes, int(n))
	}
	return d, true
}

// DeclaredIndex gives what the application declared an index over protected columns to be; nil for other indexes. Without an
// annotation (a schema prepared by hand) it is the index as it is, over whole columns.
func (t *Table) DeclaredIndex(index *Index) *DeclaredIndex {
	over := false
	for _, part := range index.Parts {
		c := t.Column(part.Column)
		over = over || c != nil && c.Protected != nil
	}
	if !over {
		return nil
	}
	if d, ok := ParseDeclaredIndex(index.Comment); ok && len(d.Prefixes) == len(index.Parts) {
		return d
	}
	d := &DeclaredIndex{Kind: "KEY"}
	if index.Unique {
		d.Kind = "UNIQUE KEY"
	}
	for _, part := range index.Parts {
		n := part.Prefix
		if c := t.Column(part.Column); c != nil && c.Protected != nil {
			n = 0
		}
		d.Prefixes = append(d.Prefixes, n)
	}
	if index.Comment != "" {
		d.Options = " COMMENT " + quoteShown(index.Comment)
	}
	if index.Ignored {
		d.Options += " IGNORED"
	}
	return d
}

// quoteShown writes a string literal as SHOW CREATE TABLE does.
func quoteShown(text string) string {
	return "'" + strings.NewReplacer("\x00", `\0`, "\n", `\n`, "\r", `\r`, `\`, `\\`, "'", "''").Replace(text) + "'"
}
