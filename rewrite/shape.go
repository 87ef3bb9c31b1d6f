package rewrite

// shapeState is what AppendShape finds out about a statement besides the shape itself.
type shapeState struct {
	kept     []int32 // token index of every collapsed token
	groups   []Group
	elements []element
}

func (st *shapeState) reset() {
	st.kept, st.groups, st.elements = st.kept[:0], st.groups[:0], st.elements[:0]
}

// GroupKind tells what repeats in a Group.
type GroupKind uint8

// The kinds of group.
const (
	// GroupRows: the rows of INSERT ... VALUES (..), (..). An element is one parenthesised row.
	GroupRows GroupKind = iota
	// GroupList: the operands of IN (..). An element is one operand.
	GroupList
)

// Group is a comma-separated run of elements of which the shape keeps one of each kind: the rows of a multi-row INSERT or
// the operands of an IN list. Elements are alike when their own shapes are equal.
type Group struct {
	Kind GroupKind
	// First and Last are the real token indexes of the first and last token of the run.
	First, Last int32
	// elements of the Statement from..to-1 belong to the group.
	from, to int32
}

type element struct {
	first, last int32 // real tokens
	like        int32 // index of the kept element with the same shape; its own when it is kept
}

// AppendShape appends the statement's shape to dst: the cache key under which its plan is kept. It holds the facts that
// planning depends on and the tokens' text with literals replaced by a mark of their kind, letter case and spelling of
// words unchanged, comments gone. Multi-row VALUES and IN lists are collapsed to one element of each kind. Two statements
// with equal shapes have the same plan. The values of literals that decide meaning (positions in ORDER BY and GROUP BY,
// string aliases, character set and collation names) stay in the shape. AppendShape does not allocate once dst and the
// Statement have grown; it also prepares Collapsed, Expand and Groups.
func (s *Statement) AppendShape(dst []byte, f *Facts) []byte { return dst }

// CollapsedLen is the number of tokens of the collapsed statement.
func (s *Statement) CollapsedLen() int { return len(s.shape.kept) }

// Collapsed gives the collapsed index of real token i, or -1 when the shape dropped it as a repetition.
func (s *Statement) Collapsed(i int) int { return -1 }

// Real gives the first real token of collapsed token c.
func (s *Statement) Real(c int) int { return int(s.shape.kept[c]) }

// Expand appends to dst the real index of every token that collapsed token c stands for, in order: one, or one for each
// element of its group that is alike.
func (s *Statement) Expand(dst []int32, c int) []int32 { return dst }

// Groups gives the collapsed runs in order. The slice belongs to the Statement.
func (s *Statement) Groups() []Group { return s.shape.groups }

// GroupOf gives the index in Groups of the run that holds real token i, or -1.
func (s *Statement) GroupOf(i int) int { return -1 }

// Elements is the number of elements of g.
func (s *Statement) Elements(g Group) int { return int(g.to - g.from) }

// Element gives the first and last real token of element k of g, and the number of the element that the plan knows it by
// (the first of the same shape; k itself when it is the first).
func (s *Statement) Element(g Group, k int) (first, last, like int) {
	e := s.shape.elements[int(g.from)+k]
	return int(e.first), int(e.last), int(e.like)
}
