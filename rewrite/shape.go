package rewrite

import (
	"bytes"
	"encoding/binary"
	"sort"
)

// shapeState is what AppendShape finds out about a statement besides the shape itself.
type shapeState struct {
	kept     []int32 // token index of every collapsed token
	groups   []Group
	elements []element
	spans    []span // shapes of the kept elements of the group at hand
}

func (st *shapeState) reset() {
	st.kept, st.groups, st.elements = st.kept[:0], st.groups[:0], st.elements[:0]
}

// span is the place of a kept element's shape in the output.
type span struct{ start, end, element int32 }

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
//
// The shape is unambiguous: marks are control characters, which no token outside quotes can hold, and a space stands
// wherever the client's tokens were apart, except next to a comma or inside a parenthesis, where it means nothing.
func (s *Statement) AppendShape(dst []byte, f *Facts) []byte {
	s.shape.reset()
	dst = append(dst, byte(f.Charset))
	dst = binary.LittleEndian.AppendUint64(dst, uint64(f.Mode))
	dst = binary.LittleEndian.AppendUint32(dst, uint32(f.ServerVersion))
	dst = binary.AppendUvarint(dst, uint64(len(f.Database)))
	dst = append(dst, f.Database...)
	verb := s.insertVerb()
	e := shaper{s: s, out: dst, rows: verb >= 0, verb: verb}
	for i := 0; i < len(s.tokens); {
		i = e.token(i)
	}
	return e.out
}

// insertVerb gives the index of the INSERT or REPLACE that is the statement's verb, or -1.
func (s *Statement) insertVerb() int {
	i := 0
	if s.Is(0, KwSet) && s.Is(1, KwStatement) {
		if i = s.setStatementEnd(0); i < 0 {
			return -1
		}
	}
	for s.Is(i, KwExplain) || s.Is(i, KwAnalyze) || s.Is(i, KwDescribe) || s.Is(i, KwDesc) || s.Is(i, KwExtended) || s.Is(i, KwPartitions) {
		i++
	}
	if s.Is(i, KwFormat) && s.IsOp(i+1, OpEq) {
		i += 3
	}
	if s.Is(i, KwInsert) || s.Is(i, KwReplace) {
		return i
	}
	return -1
}

// shaper writes one shape.
type shaper struct {
	s   *Statement
	out []byte
	// rows is set while VALUES would begin the rows of an INSERT.
	rows bool
	verb int
	// inGroup is set inside an element, where lists are not collapsed again.
	inGroup bool
	depth   int
	// byLists has a bit for each depth at which an ORDER BY or GROUP BY list is open.
	byLists [4]uint64
	// position is set where an integer is the number of a select item.
	position bool
}

// token writes token i, or the whole group that starts with it, and gives the index of the token after.
func (e *shaper) token(i int) int {
	e.space(i)
	e.emit(i)
	s := e.s
	t := &s.tokens[i]
	switch t.Op() {
	case OpLeftParen:
		if !e.inGroup && s.Is(i-1, KwIn) {
			return e.list(i)
		}
	case OpNone:
		if !e.rows || i <= e.verb {
			break
		}
		switch t.Keyword() {
		case KwSelect, KwSet, KwOn, KwWith, KwReturning:
			e.rows = e.depth > 0
		case KwValues, KwValue:
			if e.depth == 0 && s.IsOp(i+1, OpLeftParen) && s.Match(i+1) > 0 && !s.namesTarget(i) {
				e.rows = false
				return e.rowGroup(i + 1)
			}
		}
	}
	return i + 1
}

// namesTarget reports whether token i stands where an INSERT names its table: VALUE is a possible name.
func (s *Statement) namesTarget(i int) bool {
	switch s.Keyword(i - 1) {
	case KwInsert, KwReplace, KwInto, KwIgnore, KwDelayed, KwLowPriority, KwHighPriority:
		return true
	}
	return false
}

// space writes the separator before token i.
func (e *shaper) space(i int) {
	s := e.s
	t := &s.tokens[i]
	if i == 0 || t.flags&flagGlued != 0 {
		return
	}
	switch t.Op() {
	case OpComma, OpRightParen:
		return
	}
	switch s.tokens[i-1].Op() {
	case OpComma, OpLeftParen:
		return
	}
	e.out = append(e.out, ' ')
}

// emit writes token i without separator and follows the state that decides which values stay.
func (e *shaper) emit(i int) {
	s := e.s
	t := &s.tokens[i]
	s.shape.kept = append(s.shape.kept, int32(i))
	position := e.position
	e.position = false
	switch {
	case t.Kind.IsLiteral():
		if t.Kind == TokInteger && position || t.Kind == TokString && s.valueMatters(i) {
			t.flags |= flagValue
			break
		}
		e.out = append(e.out, literalMark(t.Kind))
		return
	case t.Kind == TokOp:
		switch Op(t.code) {
		case OpLeftParen:
			e.depth++
			e.setByList(false)
			e.position = position
		case OpRightParen:
			e.depth--
		case OpComma:
			e.position = e.isByList()
		}
	case t.Kind == TokWord:
		switch Keyword(t.code) {
		case KwBy:
			if s.Is(i-1, KwOrder) || s.Is(i-1, KwGroup) {
				e.setByList(true)
				e.position = true
			}
		case KwLimit, KwHaving, KwFor, KwUnion, KwExcept, KwIntersect, KwInto, KwSelect, KwSeparator:
			e.setByList(false)
		}
	}
	e.out = append(e.out, s.sql[t.Start:t.End]...)
}

// literalMark is the byte that stands for a literal: a control character.
func literalMark(k TokenKind) byte { return 0x10 + byte(k) }

// maxTracked is the depth down to which lists are told apart; deeper ones share a bit, so that more values stay.
const maxTracked = 4*64 - 1

func (e *shaper) setByList(on bool) {
	d := min(max(e.depth, 0), maxTracked)
	if on {
		e.byLists[d/64] |= 1 << (d % 64)
	} else if e.depth < maxTracked {
		e.byLists[d/64] &^= 1 << (d % 64)
	}
}

func (e *shaper) isByList() bool {
	d := min(max(e.depth, 0), maxTracked)
	return e.byLists[d/64]&(1<<(d%64)) != 0
}

// valueMatters reports whether string token i may be an alias, or the name of a character set or collation: its value
// then decides meaning. Where a word that could as well be a column name stands before it, it counts as an alias.
func (s *Statement) valueMatters(i int) bool {
	p := s.Token(i - 1)
	switch p.Kind {
	case TokOp:
		return p.Op() == OpRightParen || p.Op() == OpRightBrace
	case TokString, TokNational, TokIntroducer, TokSysVar:
		return false
	case TokWord:
	default:
		return true
	}
	switch p.Keyword() {
	case KwSet:
		return s.Is(i-2, KwCharacter) || s.Is(i-2, KwChar)
	case KwSelect, KwDistinct, KwDistinctrow, KwAll, KwWhere, KwAnd, KwOr, KwXor, KwNot, KwLike, KwRegexp, KwRlike,
		KwThen, KwElse, KwWhen, KwCase, KwBetween, KwIn, KwIs, KwInterval, KwBinary, KwBy, KwDefault, KwSeparator,
		KwFrom, KwTo, KwReturn, KwDiv, KwMod, KwHaving, KwOn, KwReturning, KwDate, KwTime, KwTimestamp,
		KwBoth, KwLeading, KwTrailing, KwUse, KwExists, KwIf, KwElseif, KwWhile, KwOutfile, KwInfile, KwEnclosed, KwTerminated,
		KwEscaped, KwStarting, KwCall, KwSqlCalcFoundRows, KwStraightJoin:
		return false
	case KwImmediate:
		return !s.Is(i-2, KwExecute)
	}
	return !s.IsOp(i-2, OpLeftBrace) // {d '2020-01-01'}
}

// list writes the operands of IN after its parenthesis at open, and the closing parenthesis, and gives the index after it.
func (e *shaper) list(open int) int {
	s := e.s
	end := s.Match(open)
	if end < 0 || end == open+1 || s.Is(open+1, KwSelect) || s.Is(open+1, KwWith) || s.Is(open+1, KwValues) ||
		s.IsOp(open+1, OpLeftParen) || s.Is(open+1, KwRow) {
		return open + 1
	}
	e.begin()
	from := int32(len(s.shape.elements))
	for first := open + 1; first <= end; {
		last := first - 1
		for j := first; j < end && !s.IsOp(j, OpComma); j++ {
			if m := s.Match(j); m > j {
				j = m
			}
			last = j
		}
		e.element(first, last, first > open+1)
		first = last + 2
	}
	e.finish(GroupList, open+1, end-1, from)
	return e.token(end)
}

// rowGroup writes the rows of an INSERT from the parenthesis at open and gives the index after them.
func (e *shaper) rowGroup(open int) int {
	s := e.s
	e.begin()
	from := int32(len(s.shape.elements))
	first, last := open, s.Match(open)
	e.element(first, last, false)
	for s.IsOp(last+1, OpComma) && s.IsOp(last+2, OpLeftParen) && s.Match(last+2) > 0 {
		first, last = last+2, s.Match(last+2)
		e.element(first, last, true)
	}
	e.finish(GroupRows, open, last, from)
	return last + 1
}

func (e *shaper) begin() {
	e.inGroup = true
	e.s.shape.spans = e.s.shape.spans[:0]
}

func (e *shaper) finish(kind GroupKind, first, last int, from int32) {
	st := &e.s.shape
	e.inGroup = false
	st.groups = append(st.groups, Group{
		Kind: kind, First: int32(first), Last: int32(last), from: from, to: int32(len(st.elements)),
	})
}

// maxKinds is how many different elements of a group are looked through for an equal one. Beyond it an element is kept
// as it is, which bounds the work for hostile lists.
const maxKinds = 64

// element writes the tokens first..last of one element, after a comma, and takes them back when an equal one was written.
func (e *shaper) element(first, last int, comma bool) {
	st := &e.s.shape
	out, kept := len(e.out), len(st.kept)
	if comma {
		e.emit(first - 1)
	}
	start := len(e.out)
	e.position = false
	for i := first; i <= last; i++ {
		if i > first {
			e.space(i)
		}
		e.emit(i)
	}
	self := int32(len(st.elements))
	el := element{first: int32(first), last: int32(last), like: self}
	text := e.out[start:]
	for k := range min(len(st.spans), maxKinds) {
		sp := &st.spans[k]
		if bytes.Equal(e.out[sp.start:sp.end], text) {
			el.like = sp.element
			break
		}
	}
	if el.like == self {
		st.spans = append(st.spans, span{start: int32(start), end: int32(len(e.out)), element: self})
	} else {
		e.out, st.kept = e.out[:out], st.kept[:kept]
	}
	st.elements = append(st.elements, el)
}

// CollapsedLen is the number of tokens of the collapsed statement.
func (s *Statement) CollapsedLen() int { return len(s.shape.kept) }

// Collapsed gives the collapsed index of real token i, or -1 when the shape dropped it as a repetition.
func (s *Statement) Collapsed(i int) int {
	kept := s.shape.kept
	if len(kept) == len(s.tokens) {
		return i
	}
	c := sort.Search(len(kept), func(c int) bool { return int(kept[c]) >= i })
	if c == len(kept) || int(kept[c]) != i {
		return -1
	}
	return c
}

// Real gives the first real token of collapsed token c.
func (s *Statement) Real(c int) int { return int(s.shape.kept[c]) }

// Expand appends to dst the real index of every token that collapsed token c stands for, in order: one, or one for each
// element of its group that is alike.
func (s *Statement) Expand(dst []int32, c int) []int32 {
	i := s.shape.kept[c]
	g := s.GroupOf(int(i))
	if g < 0 {
		return append(dst, i)
	}
	group := s.shape.groups[g]
	elements := s.shape.elements
	k := group.from + int32(sort.Search(int(group.to-group.from), func(k int) bool {
		return elements[int(group.from)+k].last >= i
	}))
	if k == group.to || elements[k].first > i {
		return append(dst, i) // a comma between elements
	}
	for j := k; j < group.to; j++ {
		if elements[j].like == k {
			dst = append(dst, elements[j].first+i-elements[k].first)
		}
	}
	return dst
}

// Groups gives the collapsed runs in order. The slice belongs to the Statement.
func (s *Statement) Groups() []Group { return s.shape.groups }

// GroupOf gives the index in Groups of the run that holds real token i, or -1.
func (s *Statement) GroupOf(i int) int {
	groups := s.shape.groups
	g := sort.Search(len(groups), func(g int) bool { return int(groups[g].Last) >= i })
	if g == len(groups) || int(groups[g].First) > i {
		return -1
	}
	return g
}

// Elements is the number of elements of g.
func (s *Statement) Elements(g Group) int { return int(g.to - g.from) }

// Element gives the first and last real token of element k of g, and the number of the element that the plan knows it by
// (the first of the same shape; k itself when it is the first).
func (s *Statement) Element(g Group, k int) (first, last, like int) {
	e := s.shape.elements[int(g.from)+k]
	return int(e.first), int(e.last), int(e.like - g.from)
}
