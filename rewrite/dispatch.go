package rewrite

import "strings"

// leading names a statement by its first words and says what it changes for the statements after it.
func (p *Planner) leading(st *Statement) (kind string, effects Effect) {
	i := 0
	for st.IsOp(i, OpLeftParen) {
		i++
	}
	word := st.Keyword(i)
	kind = strings.ToUpper(string(st.Text(i)))
	switch word {
	case KwSelect, KwWith, KwValues, KwTable:
		kind = "SELECT"
		effects = p.selectEffects(st)
	case KwInsert, KwReplace, KwUpdate, KwDelete:
		if p.touch.setsSession {
			effects = StaleFacts
		}
	case KwSet:
		effects = StaleFacts
	case KwCall:
		effects = StaleFacts
	case KwExecute:
		effects = StaleFacts
	case KwPrepare, KwDeallocate:
	case KwUse:
		effects = ChangesDatabase
	case KwBegin:
		if st.Is(i+1, KwNot) {
			kind, effects = "COMPOUND", StaleFacts|ChangesSchema
		}
	case KwCreate, KwAlter, KwRename, KwDrop:
		effects = p.schemaEffects(st, word)
	case KwLoad:
		if hasKeyword(st, KwLocal) {
			effects = LocalInfile
		}
	case KwShow:
		if st.Is(1, KwWarnings) || st.Is(1, KwErrors) || st.Is(1, KwCount) {
			effects = Diagnostics
		}
	case KwGet:
		effects = Diagnostics
	case KwStart, KwCommit, KwRollback, KwSavepoint, KwRelease, KwLock, KwUnlock, KwTruncate, KwExplain, KwDescribe,
		KwDesc, KwAnalyze, KwOptimize, KwCheck, KwChecksum, KwRepair, KwFlush, KwKill, KwDo, KwGrant, KwRevoke, KwXa,
		KwHandler, KwHelp, KwPurge, KwReset, KwBinlog:
		if p.touch.setsSession {
			effects = StaleFacts
		}
	default:
		kind, effects = "OTHER", StaleFacts
	}
	return kind, effects
}

// selectEffects: a SELECT without FROM may read the diagnostics of the statement before it, and one that calls a stored
// function may change what the function changes.
func (p *Planner) selectEffects(st *Statement) Effect {
	var effects Effect
	from := false
	for i := range st.Tokens() {
		if st.Is(i, KwFrom) {
			from = true
		}
		if p.touch.setsSession && st.Token(i).IsIdentifier() && st.IsOp(i+1, OpLeftParen) &&
			p.touch.functions[foldTouch(st.Name(i))] {
			effects |= StaleFacts
		}
	}
	if !from {
		effects |= Diagnostics
	}
	return effects
}

// schemaEffects tells DDL from account management, and temporary tables, which information_schema does not list.
func (p *Planner) schemaEffects(st *Statement, word Keyword) Effect {
	i := 1
	if st.Is(i, KwOr) {
		i += 2
	}
	switch st.Keyword(i) {
	case KwTemporary, KwUser, KwRole:
		return 0
	case KwPrepare:
		if word == KwDrop {
			return 0
		}
	case KwDatabase, KwSchema:
		return ChangesSchema | StaleFacts
	}
	return ChangesSchema
}

func hasKeyword(st *Statement, k Keyword) bool {
	for i := range st.Tokens() {
		if st.Is(i, k) {
			return true
		}
	}
	return false
}

// statement decides what kind of statement it is and plans it.
func (b *builder) statement() error {
	kinds, counts := b.p.touch.scan(b.st)
	first := b.st.Keyword(0)
	if b.p.touch.names[foldTouch(b.f.Database)]&touchReserved != 0 && first != KwUse {
		return notUnderstood("the current database is not reachable by SQL", "choose another with USE")
	}
	if kinds&touchReserved != 0 {
		return b.reserved(first, kinds, counts)
	}
	if b.p.touch.any() {
		switch first {
		case KwPrepare, KwExecute, KwDeallocate:
			return b.dynamic(kinds)
		case KwDrop:
			if b.st.Is(1, KwPrepare) {
				return b.dynamic(kinds)
			}
		case KwBinlog:
			return notUnderstood("BINLOG can write any table", "use a raw account")
		}
		if b.carriesStatements(first) && b.hasDynamic() {
			return notUnderstood("a statement inside another is made at run time, and could be any statement",
				"send the statement itself, or prepare it from a string literal in a statement of its own")
		}
	}
	if b.p.touch.callsLike(b.st) {
		return notUnderstood("a name in the statement may be that of a stored routine that may touch a protected column",
			"write the routine's name as it was created")
	}
	if done, err := b.readsCatalog(first, kinds, counts); done || err != nil {
		return err
	}
	if kinds == 0 {
		if b.preparesText(first) {
			// Nothing is protected, but the keystore is still out of reach.
			return b.dynamic(kinds)
		}
		return nil
	}
	b.plan.Touches = true
	if b.severalStatements() {
		return notUnderstood("several statements came in one text and one of them names a protected table",
			"connect with multi-statements allowed, or send them one by one")
	}
	return b.touching(first, kinds, counts)
}

// preparesText reports whether the statement is PREPARE or EXECUTE IMMEDIATE of a string literal.
func (b *builder) preparesText(first Keyword) bool {
	switch first {
	case KwPrepare:
		return b.st.Is(2, KwFrom) && b.st.Token(3).Kind == TokString
	case KwExecute:
		return b.st.Is(1, KwImmediate) && b.st.Token(2).Kind == TokString
	}
	return false
}

// carriesStatements reports whether the statement holds others that the server runs at once, or by itself later (an event).
// The body of a routine runs only when it is called, and is looked through then.
func (b *builder) carriesStatements(first Keyword) bool {
	switch first {
	case KwSet:
		return b.st.Is(1, KwStatement)
	case KwBegin:
		return b.st.Is(1, KwNot)
	case KwIf, KwCase, KwLoop, KwWhile, KwRepeat, KwFor, KwDeclare:
		return true
	case KwCreate, KwAlter:
		return b.st.Is(b.definitionKind(first), KwEvent)
	}
	return b.st.Token(0).IsIdentifier() && b.st.IsOp(1, OpColon)
}

// hasDynamic reports whether a word stands in the statement that runs text as a statement.
func (b *builder) hasDynamic() bool {
	return hasKeyword(b.st, KwPrepare) || hasKeyword(b.st, KwExecute) || hasKeyword(b.st, KwImmediate) || hasKeyword(b.st, KwBinlog)
}

// severalStatements reports whether a semicolon stands between statements.
func (b *builder) severalStatements() bool {
	for i := range b.st.Tokens() {
		if b.st.IsOp(i, OpSemicolon) {
			return true
		}
	}
	return false
}

// touching plans a statement that names something that leads to protected columns.
func (b *builder) touching(first Keyword, kinds touchKind, counts map[string]int) error {
	for i := 0; b.st.IsOp(i, OpLeftParen); i++ {
		first = b.st.Keyword(i + 1)
	}
	switch first {
	case KwSelect, KwWith, KwValues, KwTable, KwInsert, KwReplace, KwUpdate, KwDelete, KwDo:
		return b.parsedStatement(counts)
	case KwSet:
		if b.st.Is(1, KwStatement) {
			return b.setStatement(counts)
		}
		return b.set(counts)
	case KwExplain, KwDescribe, KwDesc, KwAnalyze:
		return b.explain(first, counts)
	case KwCall:
		return b.call(kinds)
	case KwShow:
		return b.show()
	case KwLock, KwUnlock, KwSavepoint, KwRelease, KwRollback, KwXa, KwOptimize, KwCheck, KwChecksum, KwRepair, KwFlush,
		KwGrant, KwRevoke, KwKill, KwHelp, KwStart, KwCommit, KwUse:
		return b.harmless(kinds)
	case KwTruncate, KwGet:
		// GET DIAGNOSTICS has no expressions. Its second word is the name of a procedure of schema sys.
		return nil
	case KwCreate, KwAlter, KwDrop, KwRename:
		return b.definition(first, kinds, counts)
	}
	return notUnderstood("this statement cannot be carried out over a table with protected columns",
		"use SELECT, INSERT, UPDATE, REPLACE or DELETE, or a raw account")
}

// harmless passes statements that carry neither values nor rows, whatever they name. A subquery in one would be new grammar.
func (b *builder) harmless(touchKind) error {
	if hasKeyword(b.st, KwSelect) && b.st.Keyword(0) != KwGrant && b.st.Keyword(0) != KwRevoke {
		return notUnderstood("a query inside a statement that should have none", "")
	}
	return b.callsNone()
}

// callsNone refuses the call of a stored function that may touch a protected column.
func (b *builder) callsNone() error {
	for i := range b.st.Tokens() {
		if b.st.IsOp(i+1, OpLeftParen) && b.st.Token(i).IsIdentifier() &&
			b.p.touch.names[foldTouch(b.st.Name(i))]&touchRoutine != 0 {
			return notUnderstood("a stored function in the statement may touch a protected column", "")
		}
	}
	return nil
}

// call passes a procedure that leads to nothing protected.
func (b *builder) call(kinds touchKind) error {
	if kinds&^touchTrigger != 0 {
		return notUnderstood("the procedure or its arguments may touch a protected column",
			"statements inside routines run in the backend, which holds no plaintext; send them from the application")
	}
	return nil
}

// explain plans what is explained. DESCRIBE and EXPLAIN of a table, and EXPLAIN FOR CONNECTION, show no rows.
func (b *builder) explain(first Keyword, counts map[string]int) error {
	start := b.innerStart()
	if start < 0 {
		if first == KwAnalyze {
			return nil
		}
		if !hasKeyword(b.st, KwSelect) {
			return b.describe()
		}
		return notUnderstood("EXPLAIN is not understood", "")
	}
	if err := b.parsedStatement(counts); err != nil {
		return err
	}
	b.plan.Opens, b.plan.Outputs = false, nil
	if b.parsed.Cut&CutAnalyze == 0 {
		b.plan.Before = nil
		b.plan.Writes = nil
	}
	return nil
}

// innerStart gives the token at which the statement itself starts: after SET STATEMENT ... FOR and after EXPLAIN and its
// options; -1 when there is none.
func (b *builder) innerStart() int {
	depth := 0
	for i := range b.st.Tokens() {
		switch {
		case b.st.IsOp(i, OpLeftParen):
			if b.startsQuery(i + 1) {
				return i
			}
			depth++
		case b.st.IsOp(i, OpRightParen):
			depth--
		case depth == 0 && startsStatement(b.st.Keyword(i)):
			// REPLACE(, INSERT( and VALUES( are functions in an expression; at depth 0 of a prefix there are none but the
			// values of SET STATEMENT, which FOR ends.
			return i
		}
	}
	return -1
}

func (b *builder) startsQuery(i int) bool {
	for b.st.IsOp(i, OpLeftParen) {
		i++
	}
	return b.st.Is(i, KwSelect) || b.st.Is(i, KwWith) || b.st.Is(i, KwValues)
}

func startsStatement(k Keyword) bool {
	switch k {
	case KwSelect, KwWith, KwInsert, KwReplace, KwUpdate, KwDelete, KwValues, KwDo:
		return true
	}
	return false
}
