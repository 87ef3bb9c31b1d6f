package rewrite

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/charset"
)

// canonicalizer writes the canonical text of a statement: the same statement in spelling that MariaDB and the TiDB parser
// read alike, so that no difference between their lexers (comments, quotes, numbers, introducers, character sets) can make
// the plan one for another statement than the server runs. One space stands between tokens; an opening parenthesis stays
// glued to the word before it, since that makes a function of some words. Positions here count the kept tokens.
type canonicalizer struct {
	s       *Statement
	tokens  []int32 // the collapsed statement
	out     strings.Builder
	offsets []tokenOffset
	cut     Clause

	verb   Keyword
	isDML  bool
	parens []int // positions of open parentheses
	end    int   // position after the last token to write
	onDup  bool  // inside ON DUPLICATE KEY UPDATE

	targetFrom, targetTo int // the table of an INSERT or DELETE, for RETURNING
	returningAt          int
}

func (c *canonicalizer) token(p int) *Token {
	if p < 0 || p >= len(c.tokens) {
		return &noToken
	}
	return &c.s.tokens[c.tokens[p]]
}

func (c *canonicalizer) is(p int, k Keyword) bool { return c.token(p).Keyword() == k && k != KwNone }
func (c *canonicalizer) isOp(p int, o Op) bool    { return c.token(p).Op() == o && o != OpNone }
func (c *canonicalizer) text(p int) []byte        { return c.s.Text(int(c.tokens[p])) }

// match gives the position of the partner of a parenthesis, or -1.
func (c *canonicalizer) match(p int) int {
	m := c.s.Match(int(c.tokens[p]))
	if m < 0 {
		return -1
	}
	return c.s.Collapsed(m)
}

// statement writes the whole statement.
func (c *canonicalizer) statement() error {
	c.end = len(c.tokens)
	start := c.prefix()
	if start < 0 {
		return ErrNotParsed
	}
	first := start
	for c.isOp(first, OpLeftParen) {
		first++
	}
	c.verb = c.token(first).Keyword()
	switch c.verb {
	case KwSelect, KwWith, KwInsert, KwReplace, KwUpdate, KwDelete, KwDo:
		c.isDML = true
	default:
		if c.cut != 0 {
			return ErrNotParsed
		}
	}
	switch c.verb {
	case KwInsert, KwReplace, KwDelete:
		if err := c.findReturning(start); err != nil {
			return err
		}
	}
	return c.write(start, c.end)
}

// prefix passes SET STATEMENT ... FOR and EXPLAIN or ANALYZE with their options, and gives the position of the statement
// that they apply to.
func (c *canonicalizer) prefix() int {
	p := 0
	if c.is(p, KwSet) && c.is(p+1, KwStatement) {
		c.cut |= CutSetStatement
		for p += 2; !c.is(p, KwFor); p++ {
			if p >= len(c.tokens) {
				return -1
			}
			if c.isOp(p, OpLeftParen) {
				if p = c.match(p); p < 0 {
					return -1
				}
			}
		}
		p++
	}
	switch c.token(p).Keyword() {
	case KwExplain, KwDescribe, KwDesc:
		c.cut |= CutExplain
	case KwAnalyze:
		c.cut |= CutAnalyze
	default:
		return p
	}
	p++
	switch {
	case c.is(p, KwExtended), c.is(p, KwPartitions):
		p++
	case c.is(p, KwFormat) && c.isOp(p+1, OpEq):
		p += 3
	}
	return p
}

// findReturning finds a RETURNING clause and the table that its list is about.
func (c *canonicalizer) findReturning(start int) error {
	at := -1
	for p := start; p < c.end; p++ {
		if c.isOp(p, OpLeftParen) {
			if p = c.match(p); p < 0 {
				return ErrNotParsed
			}
		}
		if c.is(p, KwReturning) {
			at = p
			break
		}
	}
	if at < 0 {
		return nil
	}
	p := start + 1
	for c.isWriteOption(p) {
		p++
	}
	if !c.token(p).IsIdentifier() {
		return ErrNotParsed
	}
	c.targetFrom, c.targetTo = p, p
	if c.isOp(p+1, OpDot) && c.token(p+2).IsIdentifier() {
		c.targetTo = p + 2
	}
	c.cut |= CutReturning
	c.returningAt, c.end = at, at
	return nil
}

func (c *canonicalizer) isWriteOption(p int) bool {
	switch c.token(p).Keyword() {
	case KwLowPriority, KwHighPriority, KwDelayed, KwQuick, KwIgnore, KwInto, KwFrom:
		return true
	}
	return false
}

// returning writes `SELECT list FROM target` for the RETURNING clause at position at.
func (c *canonicalizer) returning(targetFrom, targetTo, at int) error {
	c.isDML, c.verb, c.end = true, KwSelect, len(c.tokens)
	c.out.WriteString("SELECT ")
	if err := c.write(at+1, c.end); err != nil {
		return err
	}
	c.out.WriteString(" FROM ")
	return c.write(targetFrom, targetTo+1)
}

// write writes the tokens from..to-1 and cuts clauses on the way.
func (c *canonicalizer) write(from, to int) error {
	for p := from; p < to; {
		next, err := c.clause(p, to)
		if err != nil {
			return err
		}
		if next > p {
			p = next
			continue
		}
		if p, err = c.one(p); err != nil {
			return err
		}
		if c.out.Len() > MaxCanonical {
			return ErrTooComplex
		}
	}
	return nil
}

// clause cuts the clause that starts at p, and gives the position after it; p itself when none does.
func (c *canonicalizer) clause(p, to int) (int, error) {
	if !c.isDML {
		return p, nil
	}
	if c.isOp(p, OpRightParen) && c.is(p+1, KwWithin) && c.is(p+2, KwGroup) && c.isOp(p+3, OpLeftParen) && c.is(p+4, KwOrder) && c.is(p+5, KwBy) {
		// PERCENTILE_CONT(x) WITHIN GROUP (ORDER BY y) is written as JSON_OBJECTAGG(x, y).
		c.out.WriteString(" , ")
		return p + 6, nil
	}
	switch c.token(p).Keyword() {
	case KwJsonTable:
		if c.isOp(p+1, OpLeftParen) {
			return c.jsonTable(p)
		}
	case KwAsc, KwDesc:
		if n := len(c.parens); n > 0 && c.isOp(p+1, OpRightParen) && (c.is(c.parens[n-1]-1, KwPercentileCont) || c.is(c.parens[n-1]-1, KwPercentileDisc)) {
			return p + 1, nil
		}
	case KwInto:
		if c.verb == KwSelect || c.verb == KwWith {
			return c.into(p, to)
		}
	case KwOffset:
		if next := c.rowCount(p + 1); next > 0 {
			c.cut |= CutFetch
			return next, nil
		}
	case KwFetch:
		if c.is(p+1, KwFirst) || c.is(p+1, KwNext) {
			return c.fetch(p + 2)
		}
	case KwLimit:
		if n := len(c.parens); n > 0 && c.listsValues(c.parens[n-1]-1) {
			return c.match(c.parens[n-1]), nil
		}
		if c.is(p+1, KwRows) && c.is(p+2, KwExamined) {
			c.cut |= CutRowsExamined
			return p + 4, nil
		}
	case KwRows:
		if c.is(p+1, KwExamined) {
			c.cut |= CutRowsExamined
			return p + 3, nil
		}
	case KwProcedure:
		if c.token(p+1).IsIdentifier() && c.isOp(p+2, OpLeftParen) {
			m := c.match(p + 2)
			if m < 0 {
				return p, ErrNotParsed
			}
			c.cut |= CutProcedure
			return m + 1, nil
		}
	case KwSounds:
		if c.is(p+1, KwLike) {
			c.cut |= CutSounds
			return p + 1, nil
		}
	case KwFor:
		if c.is(p+1, KwUpdate) && !c.isHint(p) {
			c.cut |= CutLocking
			return c.lockWait(p + 2), nil
		}
	case KwLock:
		if c.is(p+1, KwIn) && c.is(p+2, KwShare) && c.is(p+3, KwMode) {
			c.cut |= CutLocking
			return c.lockWait(p + 4), nil
		}
	case KwSqlCache, KwSqlNoCache, KwSqlSmallResult, KwSqlBigResult, KwSqlBufferResult, KwHighPriority:
		if c.isSelectOption(p) {
			c.cut |= CutOptions
			return p + 1, nil
		}
	}
	return p, nil
}

// listsValues reports whether the word at p is an aggregate function with an ORDER BY and a LIMIT of its own.
func (c *canonicalizer) listsValues(p int) bool {
	return c.is(p, KwGroupConcat) || c.token(p).Kind == TokWord && strings.EqualFold(string(c.text(p)), "JSON_ARRAYAGG")
}

// jsonTable writes JSON_TABLE(document, path COLUMNS (...)) at p as (SELECT document), which names the same columns of other
// tables, and gives the position after it. The names of its own columns are lost.
func (c *canonicalizer) jsonTable(p int) (int, error) {
	end := c.match(p + 1)
	if end < 0 {
		return p, ErrNotParsed
	}
	comma := p + 2
	for comma < end && !c.isOp(comma, OpComma) {
		if c.isOp(comma, OpLeftParen) {
			if comma = c.match(comma); comma < 0 {
				return p, ErrNotParsed
			}
		}
		comma++
	}
	path := comma + 1
	for c.token(path).Kind == TokString || c.token(path).Kind == TokIntroducer || c.token(path).Kind == TokNational {
		path++
	}
	if comma >= end || path == comma+1 || !c.is(path, KwColumns) {
		return p, nil // a table or column of that name
	}
	c.cut |= CutJSONTable
	c.begin(p)
	c.out.WriteString("( SELECT ")
	if err := c.write(p+2, comma); err != nil {
		return p, err
	}
	c.out.WriteString(" )")
	return end + 1, nil
}

// isHint reports whether FOR at p belongs to an index hint: USE INDEX FOR JOIN.
func (c *canonicalizer) isHint(p int) bool { return c.is(p-1, KwIndex) || c.is(p-1, KwKey) }

// isSelectOption reports whether p stands in the row of options after SELECT.
func (c *canonicalizer) isSelectOption(p int) bool {
	for p--; ; p-- {
		switch c.token(p).Keyword() {
		case KwSelect:
			return true
		case KwSqlCache, KwSqlNoCache, KwSqlSmallResult, KwSqlBigResult, KwSqlBufferResult, KwHighPriority,
			KwSqlCalcFoundRows, KwDistinct, KwDistinctrow, KwAll, KwStraightJoin:
		default:
			return false
		}
	}
}

// rowCount passes `n ROWS` and gives the position after it, or -1.
func (c *canonicalizer) rowCount(p int) int {
	if t := c.token(p); t.Kind != TokInteger && t.Kind != TokParam && !t.IsIdentifier() {
		return -1
	}
	if c.is(p+1, KwRow) || c.is(p+1, KwRows) {
		return p + 2
	}
	return -1
}

// fetch passes the rest of FETCH FIRST [n] ROWS ONLY or WITH TIES.
func (c *canonicalizer) fetch(p int) (int, error) {
	next := c.rowCount(p)
	if c.is(p, KwRow) || c.is(p, KwRows) {
		next = p + 1
	}
	switch {
	case next < 0:
		return p, ErrNotParsed
	case c.is(next, KwOnly):
		next++
	case c.is(next, KwWith) && c.is(next+1, KwTies):
		next += 2
	default:
		return p, ErrNotParsed
	}
	c.cut |= CutFetch
	return next, nil
}

// lockWait passes what may follow a locking clause.
func (c *canonicalizer) lockWait(p int) int {
	switch {
	case c.is(p, KwNowait):
		return p + 1
	case c.is(p, KwWait), c.is(p, KwSkip) && c.is(p+1, KwLocked):
		return p + 2
	}
	return p
}

// into cuts INTO @v, .. and INTO OUTFILE or DUMPFILE with their options.
func (c *canonicalizer) into(p, to int) (int, error) {
	if c.is(p+1, KwOutfile) || c.is(p+1, KwDumpfile) {
		c.cut |= CutIntoFile
		p += 3
		for p < to {
			switch c.token(p).Keyword() {
			case KwCharacter, KwChar, KwSet, KwFields, KwColumns, KwLines, KwTerminated, KwOptionally, KwEnclosed, KwEscaped,
				KwStarting, KwBy:
				p++
			case KwCharset:
				p += 2
			default:
				k := c.token(p).Kind
				if k.IsLiteral() || k == TokIntroducer || k == TokQuoted && c.is(p-1, KwSet) || k == TokWord && c.is(p-1, KwSet) {
					p++
					continue
				}
				return p, nil
			}
		}
		return p, nil
	}
	c.cut |= CutIntoVariable
	for {
		p++
		if k := c.token(p).Kind; k != TokUserVar && k != TokWord && k != TokQuoted {
			return p, ErrNotParsed
		}
		p++
		if !c.isOp(p, OpComma) {
			return p, nil
		}
	}
}

// begin separates the token at p from the one before and notes its place.
func (c *canonicalizer) begin(p int) {
	if n := c.out.Len(); n > 0 {
		t := c.token(p)
		prev := c.token(p - 1)
		glued := t.Op() == OpLeftParen && t.Glued() && prev.IsIdentifier()
		if !glued && c.out.String()[n-1] != ' ' {
			c.out.WriteByte(' ')
		}
	}
	c.offsets = append(c.offsets, tokenOffset{int32(c.out.Len()), c.tokens[p]})
}

// one writes the token at p, with those that make one word with it, and gives the position after.
func (c *canonicalizer) one(p int) (int, error) {
	t := c.token(p)
	switch t.Kind {
	case TokIntroducer:
		if k := c.token(p + 1).Kind; k.IsLiteral() && !k.IsNumber() {
			return p + 1, nil
		}
		return p, ErrNotParsed
	case TokString, TokNational:
		return c.string(p), nil
	case TokHexString:
		return c.put(p, "x'00'"), nil
	case TokHexNumber:
		return c.put(p, "0x00"), nil
	case TokBitString:
		return c.put(p, "b'0'"), nil
	case TokBitNumber:
		return c.put(p, "0b0"), nil
	case TokInteger:
		if t.flags&flagValue != 0 {
			return c.put(p, string(c.text(p))), nil
		}
		return c.put(p, "1"), nil
	case TokDecimal:
		return c.put(p, "1.0"), nil
	case TokFloat:
		return c.put(p, "1e0"), nil
	case TokUserVar:
		c.begin(p)
		c.out.WriteByte('@')
		quoteIdentifier(&c.out, c.s.Name(int(c.tokens[p])))
		return p + 1, nil
	case TokSysVar:
		return c.systemVariable(p)
	case TokQuoted:
		c.begin(p)
		quoteIdentifier(&c.out, c.s.Name(int(c.tokens[p])))
		return p + 1, nil
	case TokWord:
		return c.word(p)
	case TokOp:
		switch t.Op() {
		case OpSemicolon:
			return p, ErrNotParsed
		case OpLeftParen:
			c.parens = append(c.parens, p)
		case OpRightParen:
			if len(c.parens) > 0 {
				c.parens = c.parens[:len(c.parens)-1]
			}
		}
	}
	return c.put(p, string(c.text(p))), nil
}

func (c *canonicalizer) put(p int, text string) int {
	c.begin(p)
	c.out.WriteString(text)
	return p + 1
}

// string writes a string and the strings adjacent to it as one, inert unless its value decides meaning.
func (c *canonicalizer) string(p int) int {
	text := "'x'"
	if t := c.token(p); t.flags&flagValue != 0 {
		value := c.s.toUTF8(c.s.appendString(nil, int(c.tokens[p])), true)
		if c.is(p-1, KwCollate) || c.isCharsetName(p) {
			text = c.knownName(p, value)
		} else {
			text = "'" + strings.ReplaceAll(value, "'", "''") + "'"
		}
	}
	p = c.put(p, text)
	for c.token(p).Kind == TokString && p < c.end {
		p++
	}
	return p
}

// systemVariable writes @@ with scope and name as one word.
func (c *canonicalizer) systemVariable(p int) (int, error) {
	c.begin(p)
	c.out.WriteString("@@")
	for {
		p++
		t := c.token(p)
		if !t.IsIdentifier() {
			return p, ErrNotParsed
		}
		name := c.s.Name(int(c.tokens[p]))
		if !isPlainName(name) {
			return p, ErrNotParsed
		}
		c.out.WriteString(name)
		p++
		if !c.isOp(p, OpDot) {
			return p, nil
		}
		c.out.WriteByte('.')
	}
}

// word writes an unquoted word: as it is, in backticks where only MariaDB takes it for a name, or under another name.
func (c *canonicalizer) word(p int) (int, error) {
	t := c.token(p)
	k := t.Keyword()
	text := string(c.text(p))
	switch {
	case k == KwNull:
		return c.put(p, "NULL"), nil
	case k == KwDuplicate && c.is(p-1, KwOn):
		c.onDup = true
	case c.isDML && c.isOp(p+1, OpLeftParen) && serverAggregates[strings.ToUpper(text)] != "":
		text = serverAggregates[strings.ToUpper(text)]
	case k == KwValue && c.onDup && c.isOp(p+1, OpLeftParen):
		text = "VALUES"
	}
	if c.is(p-1, KwCollate) && k != KwBinary || c.isCharsetName(p) {
		return c.put(p, c.knownName(p, text)), nil
	}
	if t.flags&flagName != 0 || !isPlainName(text) || isDigit(text[0]) || c.isDML && c.isNameHere(p) {
		c.begin(p)
		quoteIdentifier(&c.out, c.s.Name(int(c.tokens[p])))
		return p + 1, nil
	}
	return c.put(p, text), nil
}

// serverAggregates are aggregate functions of which the parser does not know the name or what may stand in their parentheses, each
// with one that takes the same.
var serverAggregates = map[string]string{"MEDIAN": "AVG", "PERCENTILE_CONT": "JSON_OBJECTAGG", "PERCENTILE_DISC": "JSON_OBJECTAGG", "JSON_ARRAYAGG": "GROUP_CONCAT"}

// isPlainName reports whether a name is made of ASCII letters, digits and underscores.
func isPlainName(name string) bool {
	for i := range len(name) {
		c := name[i]
		if c|0x20 < 'a' || c|0x20 > 'z' {
			if !isDigit(c) && c != '_' {
				return false
			}
		}
	}
	return name != ""
}

// parserWords are reserved, or read as a keyword in places where names stand, by the TiDB parser only.
var parserWords = map[string]bool{
	"ARRAY": true, "CUME_DIST": true, "DATABASE": true, "DENSE_RANK": true, "FIRST_VALUE": true, "GENERATED": true,
	"GROUPS": true, "ILIKE": true, "LAG": true, "LAST_VALUE": true, "LATERAL": true, "LEAD": true, "NTH_VALUE": true,
	"NTILE": true, "OF": true, "OPTION": true, "PERCENT_RANK": true, "RANK": true, "ROW": true, "SCHEMA": true,
	"STORED": true, "TABLESAMPLE": true, "TIDB_CURRENT_TSO": true, "UNTIL": true, "VIRTUAL": true, "WINDOW": true,
}

// isNameHere reports whether the word at p is a name for MariaDB where the parser would see a keyword.
func (c *canonicalizer) isNameHere(p int) bool {
	var upper [maxKeywordLength]byte
	text := c.text(p)
	if len(text) > len(upper) {
		return false
	}
	for i, b := range text {
		if 'a' <= b && b <= 'z' {
			b -= 'a' - 'A'
		}
		upper[i] = b
	}
	if !parserWords[string(upper[:len(text)])] {
		return false
	}
	switch c.token(p - 1).Keyword() {
	case KwInto, KwFrom, KwJoin, KwUpdate, KwAs:
		return true // the list of columns may follow in parentheses
	case KwCurrent:
		return false // CURRENT ROW
	}
	if c.is(p, KwWindow) && c.token(p+1).IsIdentifier() && c.is(p+2, KwAs) {
		return false
	}
	return !c.isOp(p+1, OpLeftParen)
}

// isCharsetName reports whether p stands where the name of a character set does: CONVERT(x USING cs), CHAR(x USING cs),
// CHARACTER SET cs.
func (c *canonicalizer) isCharsetName(p int) bool {
	switch c.token(p - 1).Keyword() {
	case KwUsing:
		if n := len(c.parens); n > 0 && !c.isOp(p, OpLeftParen) {
			k := c.token(c.parens[n-1] - 1).Keyword()
			return k == KwConvert || k == KwChar
		}
	case KwSet:
		return c.is(p-2, KwCharacter) || c.is(p-2, KwChar)
	case KwCharset:
		return c.isDML && len(c.parens) > 0 && c.token(p).Kind != TokOp
	}
	return false
}

// knownName gives a collation or character set that the parser knows for one that only MariaDB may know.
func (c *canonicalizer) knownName(p int, name string) string {
	if c.is(p-1, KwCollate) {
		if _, err := charset.GetCollationByName(name); err == nil {
			return name
		}
		return "utf8mb4_bin"
	}
	if _, err := charset.GetCharsetInfo(name); err == nil {
		return name
	}
	return "utf8mb4"
}
