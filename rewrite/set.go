package rewrite

import "strings"

// reserved plans what names the schema latchkey, the variable @latchkey or the keystore database: key pushes and the key
// procedures. Everything else of the kind is refused and never forwarded.
func (b *builder) reserved(first Keyword, kinds touchKind, counts map[string]int) error {
	switch {
	case b.namesArgument():
		return notUnderstood("an argument of a key procedure in a variable, which the server would see",
			"send CALL latchkey.name(...) with parameters, not by callproc")
	case first == KwSet && !b.st.Is(1, KwStatement) && len(counts) == b.otherCounts(counts):
		if kinds&^touchReserved != 0 {
			return notUnderstood("a key push together with a query over a protected table", "send them one by one")
		}
		return b.pushKey()
	case first == KwCall && b.isReservedName(1) && b.st.IsOp(2, OpDot):
		return b.callProcedure()
	}
	return notUnderstood("the schema and the variable latchkey, and the keystore database, are not reachable by SQL",
		"push a key with SET @latchkey = '...', and call procedures as CALL latchkey.name(...)")
}

// otherCounts is the number of names in counts that are not reserved ones.
func (b *builder) otherCounts(counts map[string]int) int {
	n := 0
	for name := range counts {
		if b.p.touch.names[name]&touchReserved == 0 {
			n++
		}
	}
	return n
}

func (b *builder) isReservedName(i int) bool {
	return b.st.Token(i).IsIdentifier() && foldTouch(b.st.Name(i)) == reservedSchema
}

// namesArgument tells whether a variable holds an argument of a key procedure.
func (b *builder) namesArgument() bool {
	for i := range b.st.Tokens() {
		if b.st.Token(i).Kind == TokUserVar && strings.HasPrefix(foldTouch(b.st.Name(i)), argumentVariable) {
			return true
		}
	}
	return false
}

func (b *builder) isKeyVariable(i int) bool {
	return b.st.Token(i).Kind == TokUserVar && foldTouch(b.st.Name(i)) == reservedSchema
}

// pushKey plans SET ..., @latchkey = value, ...: the assignment is cut out, and what remains is forwarded.
func (b *builder) pushKey() error {
	wrong := notUnderstood("@latchkey can only be set, once in a statement, to a string, a parameter or NULL", "")
	at := -1
	for i := range b.st.Tokens() {
		if !b.isKeyVariable(i) {
			continue
		}
		if at >= 0 {
			return wrong
		}
		at = i
	}
	depth := 0
	for i := range max(at, 0) {
		if b.st.IsOp(i, OpLeftParen) {
			depth++
		} else if b.st.IsOp(i, OpRightParen) {
			depth--
		}
	}
	if depth != 0 || at < 1 || (at > 1 && !b.st.IsOp(at-1, OpComma)) || (!b.st.IsOp(at+1, OpEq) && !b.st.IsOp(at+1, OpAssign)) {
		return wrong
	}
	v, to, ok := b.readValue(at + 2)
	if !ok || (to != b.statementEnd() && !b.st.IsOp(to+1, OpComma)) {
		return wrong
	}
	switch v.Kind {
	case ValueParam, ValueNull:
	case ValueLiteral:
		if b.st.Token(v.Token).Kind != TokString || v.Introducer != "" || v.TypeWord != "" || v.Negative {
			return wrong
		}
	default:
		return wrong
	}
	b.plan.Push = &KeyPush{Value: v}
	b.plan.Class = Local
	if at > 1 || to < b.statementEnd() {
		from, end := at, to+1
		if at > 1 {
			from, end = at-1, to
		}
		b.plan.Class = Sealed
		if err := b.edit(from, end); err != nil {
			return err
		}
		if err := b.finish(); err != nil {
			return err
		}
	} else {
		b.plan.Effects = 0
	}
	return b.collapseValue(&b.plan.Push.Value)
}

// callProcedure plans CALL latchkey.name(args).
func (b *builder) callProcedure() error {
	wrong := notUnderstood("the call of a latchkey procedure is not understood", "write CALL latchkey.name('argument', ...)")
	if !b.st.Token(3).IsIdentifier() {
		return wrong
	}
	call := &Call{Name: strings.ToLower(b.st.Name(3))}
	b.plan.Class, b.plan.Call, b.plan.Effects = Local, call, 0
	if b.st.Len() == 4 {
		return nil
	}
	end := b.st.Match(4)
	if !b.st.IsOp(4, OpLeftParen) || end != b.statementEnd() {
		return wrong
	}
	for i := 5; i < end; i++ {
		v, to, ok := b.readValue(i)
		if !ok || (to+1 != end && !b.st.IsOp(to+1, OpComma)) {
			return wrong
		}
		if err := b.collapseValue(&v); err != nil {
			return err
		}
		call.Args = append(call.Args, v)
		i = to + 1
	}
	return nil
}

// setStatement plans SET STATEMENT variable = value FOR statement.
func (b *builder) setStatement(counts map[string]int) error {
	start := b.innerStart()
	if start < 0 {
		return notUnderstood("SET STATEMENT is not understood", "")
	}
	for i := 2; i < start; i++ {
		if !b.st.Token(i).IsIdentifier() {
			continue
		}
		switch name := strings.ToLower(b.st.Name(i)); {
		case name == "sql_mode", name == "time_zone", strings.HasPrefix(name, "character_set_"),
			strings.HasPrefix(name, "collation_"):
			return refuse(CodeNotPossible, "", "SET STATEMENT changes "+name+" over a protected table",
				"set the variable for the session first")
		}
	}
	return b.parsedStatement(counts)
}

// dynamic plans SQL-level prepared statements: their text is planned when it is a literal, and refused when it is not.
func (b *builder) dynamic(kinds touchKind) error {
	if kinds != 0 {
		return notUnderstood("a prepared statement with a query over a protected table among its arguments", "")
	}
	unknown := notUnderstood("the text of the statement is not a literal, and could be any statement",
		"send the statement itself, or prepare it from a string literal")
	switch b.st.Keyword(0) {
	case KwPrepare:
		if !b.st.Token(1).IsIdentifier() || !b.st.Is(2, KwFrom) {
			return unknown
		}
		v, to, ok := b.readValue(3)
		if !ok || to != b.statementEnd() || !b.isText(v) {
			return unknown
		}
		b.plan.Prepare = &InnerStatement{Name: strings.ToLower(b.st.Name(1)), Text: v}
		return b.collapseValue(&b.plan.Prepare.Text)
	case KwExecute:
		if b.st.Is(1, KwImmediate) {
			v, to, ok := b.readValue(2)
			if !ok || !b.isText(v) || (to != b.statementEnd() && !b.st.Is(to+1, KwUsing)) {
				return unknown
			}
			b.plan.Prepare = &InnerStatement{Text: v, Using: to != b.statementEnd()}
			if b.plan.Prepare.Using {
				b.plan.Prepare.Args = b.usingArgs(to + 2)
			}
			return b.collapseValue(&b.plan.Prepare.Text)
		}
		if !b.st.Token(1).IsIdentifier() {
			return unknown
		}
		b.plan.Execute = &ExecuteStatement{Name: strings.ToLower(b.st.Name(1)), Using: b.st.Len() > 2}
		if b.st.Is(2, KwUsing) {
			b.plan.Execute.Args = b.usingArgs(3)
		}
		return nil
	}
	if !b.st.Is(1, KwPrepare) || !b.st.Token(2).IsIdentifier() {
		return unknown
	}
	b.plan.Execute = &ExecuteStatement{Name: strings.ToLower(b.st.Name(2)), Deallocate: true}
	return nil
}

// usingArgs reads the list of USING from token i on; nil when it has others than user variables and literals.
func (b *builder) usingArgs(i int) []UsingArg {
	var args []UsingArg
	for {
		a := UsingArg{From: i, To: i}
		if b.st.Token(i).Kind == TokUserVar {
			a.Variable = b.st.Name(i)
		} else if _, to, ok := b.readValue(i); ok {
			a.To = to
		} else {
			return nil
		}
		end := a.To
		a.From, a.To = b.st.Collapsed(a.From), b.st.Collapsed(a.To)
		if args = append(args, a); a.From < 0 || a.To < a.From {
			return nil
		}
		if !b.st.IsOp(end+1, OpComma) {
			if end != b.statementEnd() {
				return nil
			}
			return args
		}
		i = end + 2
	}
}

// isText reports whether a value is a string literal without an introducer.
func (b *builder) isText(v Value) bool {
	return v.Kind == ValueLiteral && b.st.Token(v.Token).Kind == TokString && v.Introducer == "" && v.TypeWord == ""
}
