package proxy

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"

	"latchkey/keystore/cell"
	"latchkey/proxy/wire"
	"latchkey/rewrite"
	"latchkey/rewrite/logical"
)

// bind is what one `?` of a rewritten prepared statement gets: a parameter of the client's as it is, or bytes that the
// proxy made.
type bind struct {
	// param is the number of the client's parameter, or -1.
	param int
	// bytes is the value when param is -1; nil is NULL.
	bytes []byte
}

// renderMode says what a statement is rendered for.
type renderMode uint8

const (
	// renderText: values become x'..' literals, for COM_QUERY.
	renderText renderMode = iota
	// renderBound: values become `?` and binds. Literals too: a prepared statement outlives the key that was on the
	// connection when it was prepared, so nothing sealed may stand in its text.
	renderBound
	// renderUnbound is renderBound before any parameter is known, for COM_STMT_PREPARE. Nothing is sealed.
	renderUnbound
)

// oldCells is what the cells that a statement is about to overwrite ask of its text.
type oldCells struct {
	// keep has, for each column of Before, the old cells that hold the value which the statement assigns: they stay.
	keep [][][]byte
	// splice has the old cell that takes the place of a value of the statement, by the real token of the value.
	splice map[int][]byte
	// owners has, for each owner column that Before reads, the owners of the rows that the statement reaches.
	owners [][]rowOwner
	// moved has, for each column of Before, the cells that are sealed anew because their rows get another owner.
	moved [][]movedCell
	// rows counts the old rows.
	rows int
}

// renderer writes the text that carries out a plan: the client's own bytes between the plan's edits, and pure ASCII that
// means the same in every sql_mode in their place.
type renderer struct {
	mode   renderMode
	plan   *rewrite.Plan
	st     *rewrite.Statement
	vals   *values
	sealer *sealer
	// mac makes the MAC of an annotation; nil when there is no fleet secret.
	mac  func(body []byte) []byte
	conv *logical.Session
	old  oldCells
	// warnings are those about values that the type's implicit default stands for: of rows of an INSERT, and of assignments.
	warnings, assignWarnings []diagnosis
	// conversion has the values that the evaluator converted; nil before it was asked.
	conversion *conversion
	// assigning is set while the new value of an assignment is rendered.
	assigning bool
	// away has the cells of kind a that searches have to name.
	away awayCells
	// nested is set while the SELECT of Before is rendered: its source pieces carry the statement's edits.
	nested bool

	out   []byte
	binds []bind

	at        instance // of the edit being rendered
	canonical []byte   // scratch: plaintext, wiped after use
	cell      []byte   // scratch: a cell in renderText, else all bytes of binds that the proxy made
	expanded  []int32  // scratch
}

// instance is one place where an edit of the plan applies: everywhere the statement repeats it.
type instance struct {
	// group is the index of the row group that the instance lies in, -1 when it lies in none.
	group int
	// shift is the distance from the row that the plan knows to this one, in tokens.
	shift int
}

// real gives the real token of collapsed token c, in the row of the current instance.
func (r *renderer) real(c int) int {
	if c < 0 || c >= r.st.CollapsedLen() {
		return r.st.Len()
	}
	i := r.st.Real(c)
	if r.at.group >= 0 && r.st.GroupOf(i) == r.at.group {
		i += r.at.shift
	}
	return i
}

// nowhere is outside all row groups.
var nowhere = instance{group: -1}

// statement renders the whole statement. from and to are the byte offsets in the packet between which it lies.
func (r *renderer) statement(from, to int) error {
	edits := r.plan.Edits
	next := from
	var err error
	for i := 0; i < len(edits); {
		last := i + 1
		if group := r.rowGroup(&edits[i]); group < 0 {
			r.at = nowhere
			next, err = r.edit(&edits[i], next)
		} else {
			for last < len(edits) && r.rowGroup(&edits[last]) == group {
				last++
			}
			next, err = r.rows(edits[i:last], group, next)
		}
		if err != nil {
			return err
		}
		i = last
	}
	r.at = nowhere
	return r.copy(next, to)
}

// rowGroup gives the row group that the edit lies in, or -1.
func (r *renderer) rowGroup(e *rewrite.Edit) int {
	if e.From >= r.st.CollapsedLen() {
		return -1
	}
	g := r.st.GroupOf(r.st.Real(e.From))
	if g < 0 || r.st.Groups()[g].Kind != rewrite.GroupRows {
		return -1
	}
	return g
}

// rows renders the edits of a row group, once for every row of the statement.
func (r *renderer) rows(edits []rewrite.Edit, group, next int) (int, error) {
	g := r.st.Groups()[group]
	for k := range r.st.Elements(g) {
		first, _, like := r.st.Element(g, k)
		known, knownLast, _ := r.st.Element(g, like)
		r.at = instance{group: group, shift: first - known}
		for i := range edits {
			if at := r.st.Real(edits[i].From); at < known || at > knownLast {
				continue
			}
			var err error
			if next, err = r.edit(&edits[i], next); err != nil {
				return next, err
			}
		}
	}
	return next, nil
}

// edit copies the client's bytes from next up to the edit and renders its pieces. It returns the offset behind what the
// edit replaces.
func (r *renderer) edit(e *rewrite.Edit, next int) (int, error) {
	from := r.real(e.From)
	start := r.offset(from)
	if start < next {
		return next, errOperand
	}
	if err := r.copy(next, start); err != nil {
		return next, err
	}
	if err := r.pieces(e.Pieces); err != nil {
		return next, err
	}
	if e.To < e.From {
		return start, nil
	}
	to := r.real(e.To)
	if to < from || to >= r.st.Len() {
		return next, errOperand
	}
	return int(r.st.Token(to).End), nil
}

// offset gives the byte offset of real token i, or the end of the last token.
func (r *renderer) offset(i int) int {
	if i < r.st.Len() {
		return int(r.st.Token(i).Start)
	}
	if r.st.Len() == 0 {
		return 0
	}
	return int(r.st.Token(r.st.Len() - 1).End)
}

// copy copies the client's bytes from..to. Its parameters are bound as they are.
func (r *renderer) copy(from, to int) error {
	if from > to || to > len(r.st.SQL()) {
		return errOperand
	}
	r.out = append(r.out, r.st.SQL()[from:to]...)
	if r.mode == renderText {
		return nil
	}
	markers := r.vals.paramMarkers()
	first, _ := slices.BinarySearch(markers, int32(from))
	for param := first; param < len(markers) && int(markers[param]) < to; param++ {
		r.binds = append(r.binds, bind{param: param})
	}
	return nil
}

// source copies the client's bytes of collapsed tokens from..to. In the SELECT of Before the statement's edits that lie in
// between are applied: the WHERE clause of an UPDATE selects the old cells just as it will select the rows.
func (r *renderer) source(p *rewrite.Piece) error {
	from, to := r.real(p.From), r.real(p.To)
	if from > to || to >= r.st.Len() {
		return errOperand
	}
	next := r.offset(from)
	if r.nested {
		for i := range r.plan.Edits {
			e := &r.plan.Edits[i]
			if e.From < p.From || e.From > p.To {
				continue
			}
			var err error
			if next, err = r.edit(e, next); err != nil {
				return err
			}
		}
	}
	return r.copy(next, int(r.st.Token(to).End))
}

// pieces renders the pieces of an edit, or of the SELECT of Before.
func (r *renderer) pieces(pieces []rewrite.Piece) error {
	for i := range pieces {
		if err := r.piece(&pieces[i]); err != nil {
			return err
		}
	}
	return nil
}

func (r *renderer) piece(p *rewrite.Piece) error {
	switch p.Kind {
	case rewrite.PieceText:
		r.out = append(r.out, p.Text...)
		return nil
	case rewrite.PieceSource:
		return r.source(p)
	case rewrite.PieceSeal:
		if len(p.Values) != 1 {
			return errOperand
		}
		return r.sealed(p.Column, &p.Values[0], p.Owner)
	case rewrite.PieceRange:
		if p.Loose {
			return r.loosely(p)
		}
		return r.rangeCondition(p)
	case rewrite.PieceAssign:
		return r.assign(p)
	case rewrite.PieceMove:
		return r.move(p)
	case rewrite.PieceSameOwner:
		r.sameOwner(p)
		return nil
	case rewrite.PieceAnnotation:
		return r.annotation(p.Text)
	case rewrite.PieceTagOf:
		r.out = fmt.Appendf(r.out, "LEFT(%s,%d)", p.Left, cell.PrefixSize)
		return nil
	case rewrite.PieceLimit:
		return r.limit(p)
	}
	return errOperand
}

// literal writes bytes that the proxy made: a cell or a part of one.
func (r *renderer) literal(b []byte) {
	if r.mode == renderText {
		r.out = append(r.out, "x'"...)
		r.out = hex.AppendEncode(r.out, b)
		r.out = append(r.out, '\'')
		return
	}
	r.out = append(r.out, '?')
	r.binds = append(r.binds, bind{param: -1, bytes: b})
}

// bound is literal for bytes that the renderer itself will overwrite.
func (r *renderer) bound(b []byte) {
	if r.mode == renderBound {
		start := len(r.cell)
		r.cell = append(r.cell, b...)
		b = slices.Clip(r.cell[start:])
	}
	r.literal(b)
}

// null writes NULL: as a parameter where the value is one, so that the text stays the same from execution to execution.
func (r *renderer) null(value *rewrite.Value) {
	if r.mode == renderText || value.Kind != rewrite.ValueParam {
		r.out = append(r.out, "NULL"...)
		return
	}
	r.literal(nil)
}

// sealed renders a value that is written to column, in a row of the owner o.
func (r *renderer) sealed(column *rewrite.Protected, value *rewrite.Value, o *rewrite.RowOwner) error {
	if r.mode == renderUnbound {
		return r.sealedFor(column, value, rowOwner{})
	}
	owner, err := r.owner(o)
	if err != nil {
		return err
	}
	return r.sealedFor(column, value, owner)
}

// sealedFor is sealed for an owner who is known.
func (r *renderer) sealedFor(column *rewrite.Protected, value *rewrite.Value, owner rowOwner) error {
	token := r.real(value.Token)
	if old, ok := r.old.splice[token]; ok && value.Kind != rewrite.ValueNull && value.Kind != rewrite.ValueDefault {
		r.literal(old)
		return nil
	}
	if r.mode == renderUnbound {
		switch value.Kind {
		case rewrite.ValueNull:
			r.out = append(r.out, "NULL"...)
		case rewrite.ValueDefault:
			r.out = append(r.out, "DEFAULT"...)
		default:
			r.literal(nil)
		}
		return nil
	}
	if done, ok := r.conversion.value(token); ok && value.Kind != rewrite.ValueImplicit {
		return r.converted(column, value, done, owner)
	}
	op, err := r.vals.operand(value, token)
	switch {
	case err != nil:
		return r.unconverted(column, err)
	case op.implicit:
		return r.implicit(column, value, owner)
	case op.null && nullIsNow(column):
		return r.unconverted(column, logical.ErrNotPlain)
	case op.null && r.plan.RefuseNull && !column.Nullable && !r.refusesNull():
		return r.implicit(column, value, owner)
	case op.null:
		r.null(value)
		return nil
	case op.dflt:
		r.out = append(r.out, "DEFAULT"...)
		return nil
	}
	return r.sealedOperand(column, op, owner)
}

func (r *renderer) sealedOperand(column *rewrite.Protected, op operand, owner rowOwner) error {
	canonical, err := column.Type.Canonical(r.canonical[:0], op.in, r.conv)
	if err != nil {
		return r.unconverted(column, err)
	}
	r.canonical = canonical[:0]
	defer clear(canonical)
	return r.cellOf(column, owner, canonical)
}

// cellOf seals a value in a row of owner and renders the cell.
func (r *renderer) cellOf(column *rewrite.Protected, owner rowOwner, canonical []byte) (err error) {
	if r.mode == renderText {
		r.cell = r.cell[:0]
	}
	start := len(r.cell)
	if r.cell, err = r.sealer.seal(r.cell, column, owner, canonical); err != nil {
		return err
	}
	r.literal(slices.Clip(r.cell[start:]))
	return nil
}

// valueFault tells an internal disagreement from a value that does not convert.
func (r *renderer) valueFault(column *rewrite.Protected, err error) error {
	if errors.Is(err, errOperand) {
		return err
	}
	return errConversion(column, err)
}

// rangeCondition renders "column equals one of the values" as ranges of cells. What MariaDB answers for NULL on either
// side holds for the condition as a whole, so that it may stand anywhere in an expression.
func (r *renderer) rangeCondition(p *rewrite.Piece) error {
	if p.Negate {
		r.out = append(r.out, "(NOT "...)
		defer func() { r.out = append(r.out, ')') }()
	}
	r.out = append(r.out, '(')
	terms := 0
	for i := range p.Values {
		value := &p.Values[i]
		if !value.List {
			if err := r.rangeTerm(p, value, r.real(value.Token), &terms); err != nil {
				return err
			}
			continue
		}
		r.expanded = r.st.Expand(r.expanded[:0], value.Token)
		for _, token := range r.expanded {
			if err := r.rangeTerm(p, value, int(token), &terms); err != nil {
				return err
			}
		}
	}
	if terms == 0 {
		return errOperand
	}
	r.out = append(r.out, ')')
	return nil
}

// or separates the terms of a disjunction.
func (r *renderer) or(terms *int) {
	if *terms > 0 {
		r.out = append(r.out, " OR "...)
	}
	*terms++
}

// rangeTerm renders the comparison with one value.
func (r *renderer) rangeTerm(p *rewrite.Piece, value *rewrite.Value, token int, terms *int) error {
	if r.mode == renderUnbound && value.Kind != rewrite.ValueNull {
		return r.unboundTerm(p, terms)
	}
	op, err := r.vals.operand(value, token)
	switch {
	case err != nil:
		return &unsearchableError{r.valueFault(p.Column, err)}
	case op.dflt:
		return errOperand
	case op.null:
		r.nullTerm(p, terms)
		return nil
	}
	canonical, match, err := p.Column.Type.Operand(r.canonical[:0], op.in, r.conv)
	if err != nil {
		return &unsearchableError{errConversion(p.Column, err)}
	}
	r.canonical = canonical[:0]
	defer clear(canonical)
	if match == logical.MatchNever {
		r.neverTerm(p, terms)
		return nil
	}
	ranges, err := r.sealer.ranges(p.Column, canonical)
	if err != nil {
		return err
	}
	for i := range ranges {
		r.rangeOf(p, &ranges[i], terms)
	}
	r.awayTerms(p, ranges, terms)
	byDefault, err := r.sealer.equalsDefault(p.Column, canonical)
	if err != nil {
		return err
	}
	if byDefault {
		r.or(terms)
		r.compare(p, " = x''")
	}
	return nil
}

// unsearchableError is for a value of which no tag can say which rows equal it.
type unsearchableError struct{ error }

// Unwrap gives the error that the client gets where the statement cannot be finished in another way.
func (e *unsearchableError) Unwrap() error { return e.error }

// unboundTerm renders as many ranges as an execution under the present keyring would have.
func (r *renderer) unboundTerm(p *rewrite.Piece, terms *int) error {
	n := 1
	if p.Column.ServiceKey == "" {
		n = max(1, r.sealer.keys.ring.Len())
	}
	for range n {
		r.rangeOf(p, &prefixRange{}, terms)
	}
	return nil
}

// rangeOf renders one range. <=> is false where = is NULL, which needs a word more.
func (r *renderer) rangeOf(p *rewrite.Piece, bounds *prefixRange, terms *int) {
	r.or(terms)
	r.out = append(r.out, '(')
	r.out = append(r.out, p.Left...)
	r.out = append(r.out, " >= "...)
	r.bound(bounds.low[:])
	r.out = append(r.out, " AND "...)
	r.out = append(r.out, p.Left...)
	r.out = append(r.out, " < "...)
	r.bound(bounds.high[:])
	if p.NullSafe {
		r.out = append(r.out, " AND "...)
		r.out = append(r.out, p.Left...)
		r.out = append(r.out, " IS NOT NULL"...)
	}
	r.out = append(r.out, ')')
}

// compare renders the column followed by a comparison with a constant.
func (r *renderer) compare(p *rewrite.Piece, comparison string) {
	r.out = append(r.out, '(')
	r.out = append(r.out, p.Left...)
	r.out = append(r.out, comparison...)
	if p.NullSafe {
		r.out = append(r.out, " AND "...)
		r.out = append(r.out, p.Left...)
		r.out = append(r.out, " IS NOT NULL"...)
	}
	r.out = append(r.out, ')')
}

// nullTerm renders the comparison with NULL: IS NULL for <=>, else NULL whatever the column holds.
func (r *renderer) nullTerm(p *rewrite.Piece, terms *int) {
	r.or(terms)
	if !p.NullSafe {
		r.out = append(r.out, "NULL"...)
		return
	}
	r.out = append(r.out, '(')
	r.out = append(r.out, p.Left...)
	r.out = append(r.out, " IS NULL"...)
	if p.Column.HasOnEmpty && p.Column.OnEmpty == nil {
		r.out = append(r.out, " OR "...)
		r.out = append(r.out, p.Left...)
		r.out = append(r.out, " = x''"...)
	}
	r.out = append(r.out, ')')
}

// neverTerm renders a comparison that no stored value meets. Nothing is below the empty string, and NULL stays NULL.
func (r *renderer) neverTerm(p *rewrite.Piece, terms *int) {
	r.or(terms)
	r.compare(p, " < x''")
}

// wantedKeyID is SQL for the key id of the cell in a column: its place depends on the cell's kind (docs/format.md).
const wantedKeyID = "SUBSTRING(%[1]s,IF(SUBSTRING(%[1]s,4,1)=x'74',25,9),8)"

// raiseLocked is SQL that fails when it is evaluated, in every sql_mode and under IGNORE too: the statement then changes
// nothing, and isRaised knows the error again.
const raiseLocked = "EXP(9702+LENGTH(%s))"

// assign renders the new value of an assignment. A cell whose key is not here makes the statement fail at the row, also
// when it came to be after the old cells were read; an old cell that holds the new value keeps its bytes.
func (r *renderer) assign(p *rewrite.Piece) error {
	keep := r.kept(p)
	if each, err := r.eachOwner(p); err != nil {
		return err
	} else if each {
		return r.assignOwned(p, keep)
	}
	guards := r.guardsOwner(p)
	if p.Column.OverwriteAllow && len(keep) == 0 && !guards {
		return r.newValue(p)
	}
	r.out = append(r.out, "CASE"...)
	if len(keep) > 0 {
		r.out = fmt.Appendf(r.out, " WHEN %s IN (", p.Left)
		r.list(keep)
		r.out = fmt.Appendf(r.out, ") THEN %s", p.Left)
	}
	if p.Column.OverwriteAllow && !guards {
		r.out = append(r.out, " ELSE "...)
		if err := r.newValue(p); err != nil {
			return err
		}
		r.out = append(r.out, " END"...)
		return nil
	}
	r.out = append(r.out, " WHEN "...)
	if r.guardsOwner(p) {
		r.out = fmt.Appendf(r.out, "%s<=>%s AND (", p.Owner.Stored, p.Owner.New)
		r.overwritable(p)
		r.out = append(r.out, ')')
	} else {
		r.overwritable(p)
	}
	r.out = append(r.out, " THEN "...)
	if err := r.newValue(p); err != nil {
		return err
	}
	if guards {
		r.raise(p)
		return nil
	}
	r.out = fmt.Appendf(r.out, " ELSE "+raiseLocked+" END", p.Left)
	return nil
}

// eachOwner tells whether an assignment seals its value for each owner of the rows.
func (r *renderer) eachOwner(p *rewrite.Piece) (bool, error) {
	if p.Owner == nil || p.Owner.Stored == "" || p.NewText != "" || len(p.Values) != 1 || r.sealer.keys.indifferent(p.Column) {
		return false, nil
	}
	value := &p.Values[0]
	switch value.Kind {
	case rewrite.ValueNull, rewrite.ValueDefault:
		return false, nil
	case rewrite.ValueParam:
		if r.mode == renderUnbound {
			return true, nil
		}
		op, err := r.vals.operand(value, r.real(value.Token))
		if err != nil {
			return false, r.valueFault(p.Column, err)
		}
		if op.null {
			return false, nil
		}
	}
	if r.mode == renderUnbound || r.sealer.keys.sole() == nil {
		return true, nil
	}
	// A row that comes to be meanwhile is its client's.
	return len(r.ownersOf(p)) > 0, nil
}

// guardsOwner tells whether the cell of the row that an INSERT did not insert may come into the row that is there only when
// both have one owner.
func (r *renderer) guardsOwner(p *rewrite.Piece) bool {
	return p.Owner != nil && p.Owner.New != "" && p.NewText != "" && r.sealer.keys.sole() == nil
}

// overwritable renders the condition that the old cell may be written over.
func (r *renderer) overwritable(p *rewrite.Piece) {
	if p.Column.OverwriteAllow {
		r.out = append(r.out, "1=1"...)
		return
	}
	r.out = fmt.Appendf(r.out, "%[1]s IS NULL OR %[1]s=x''", p.Left)
	r.orPlaintext(p)
	r.keyIDs(p)
}

// orPlaintext renders the alternative that the old value is plaintext, where there may be some.
func (r *renderer) orPlaintext(p *rewrite.Piece) {
	if p.Column.Plaintext {
		r.out = append(append(r.out, " OR "...), rewrite.PlaintextCondition(p.Left)...)
	}
}

// kept gives the old cells that stay under an assignment.
func (r *renderer) kept(p *rewrite.Piece) [][]byte {
	if p.Old < 0 || p.Old >= len(r.old.keep) {
		return nil
	}
	return r.old.keep[p.Old]
}

// list renders byte strings with commas between. In a prepared statement their number is brought up to a power of two by
// repeating the last, so that few texts serve many executions.
func (r *renderer) list(items [][]byte) {
	n := len(items)
	if r.mode != renderText {
		for n = 1; n < len(items); n *= 2 {
		}
	}
	for i := range n {
		if i > 0 {
			r.out = append(r.out, ',')
		}
		r.literal(items[min(i, len(items)-1)])
	}
}

// keyIDs renders the alternative that the key of the old cell is here. Without a key only NULL and the declared default
// may be overwritten.
func (r *renderer) keyIDs(p *rewrite.Piece) {
	ids := r.sealer.keys.ids(p.Column)
	if len(ids) == 0 {
		if r.mode != renderUnbound {
			return
		}
		ids = make([]cell.KeyID, 1)
	}
	r.keyIs(p, ids)
}

// keyIs renders the alternative that the old cell is under one of these keys.
func (r *renderer) keyIs(p *rewrite.Piece, ids []cell.KeyID) {
	items := make([][]byte, len(ids))
	for i := range ids {
		items[i] = ids[i][:]
	}
	r.out = fmt.Appendf(r.out, " OR "+wantedKeyID+" IN (", p.Left)
	r.list(items)
	r.out = append(r.out, ')')
}

// newValue renders what an assignment assigns.
func (r *renderer) newValue(p *rewrite.Piece) error {
	r.assigning = true
	defer func() { r.assigning = false }()
	if p.NewText != "" {
		r.out = append(r.out, p.NewText...)
		return nil
	}
	if len(p.Values) != 1 {
		return errOperand
	}
	if p.Values[0].Kind == rewrite.ValueDefault && !p.Column.OverwriteAllow {
		r.out = fmt.Appendf(r.out, "DEFAULT(%s)", p.Left)
		return nil
	}
	return r.sealed(p.Column, &p.Values[0], p.Owner)
}

// appendParams appends to dst the parameters that binds stand for. Encodings that did not come from the client go into
// buf, which is returned.
func appendParams(dst []wire.Param, buf []byte, binds []bind, client []wire.Param) ([]wire.Param, []byte) {
	for i := range binds {
		b := &binds[i]
		if b.param >= 0 {
			dst = append(dst, client[b.param])
			continue
		}
		if b.bytes == nil {
			dst = append(dst, wire.Param{ParamType: wire.ParamType{Type: wire.TypeNull}, Null: true})
			continue
		}
		var p wire.Param
		p, buf = wire.BytesParam(buf, b.bytes)
		dst = append(dst, p)
	}
	return dst, buf
}
