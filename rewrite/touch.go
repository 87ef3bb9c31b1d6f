package rewrite

import (
	"bytes"
	"maps"
	"strings"
	"unicode"
	"unicode/utf8"
)

// touchKind says in what way a name leads to protected columns.
type touchKind uint8

const (
	touchTable    touchKind = 1 << iota // a table with protected columns, or one that the policy names
	touchView                           // a view that may reach one
	touchRoutine                        // a routine whose body may reach one, or cannot be read
	touchTrigger                        // a table one of whose triggers may reach one, or cannot be read
	touchReserved                       // schema latchkey and the keystore database
)

// reservedSchema is the schema that exists only in the proxy; the user variable of a key push has the same name.
const reservedSchema = "latchkey"

// argumentVariable is what the names of user variables begin with in which drivers' callproc, as in Python's DB-API, puts the
// arguments of a procedure of the schema before it calls it: the backend would have the password.
const argumentVariable = "_" + reservedSchema + "."

// touchSet holds every name that can lead to a protected column. A statement whose tokens hold none of them touches
// nothing protected, whatever it is. Names are folded without letter case and without their database: the set errs on the
// safe side, and planning decides precisely.
type touchSet struct {
	names map[string]touchKind
	// words are the same names as bytes, for texts that cannot be cut into tokens.
	odd []string
	// setsSession: a trigger or function of the schema may change session variables.
	setsSession bool
	functions   map[string]bool
	// catalogViews are the views that read information_schema.
	catalogViews map[string]bool
	// routines are the folded names of touchRoutine.
	routines []string
}

// any reports whether the schema has anything to protect at all.
func (t *touchSet) any() bool {
	for _, k := range t.names {
		if k&touchTable != 0 {
			return true
		}
	}
	return false
}

// foldTouch folds a name for the set.
func foldTouch(name string) string { return strings.ToLower(name) }

func newTouchSet(s *Schema, p *Policy) touchSet {
	t := touchSet{names: map[string]touchKind{}, functions: map[string]bool{}, catalogViews: s.catalogViews()}
	t.names[reservedSchema] |= touchReserved
	if s.KeystoreDatabase != "" {
		t.names[foldTouch(s.KeystoreDatabase)] |= touchReserved
	}
	if p != nil {
		for _, tables := range p.Databases {
			for name := range tables {
				t.names[foldTouch(name)] |= touchTable
			}
		}
	}
	for _, tables := range s.Databases {
		for _, table := range tables {
			if table.Protects {
				t.names[foldTouch(table.Name)] |= touchTable
			}
		}
	}
	t.follow(s)
	for name := range t.names {
		if !wordName(name) {
			t.odd = append(t.odd, name)
		}
	}
	for _, r := range s.Routines {
		if strings.EqualFold(r.Kind, "FUNCTION") {
			t.functions[foldTouch(r.Name)] = true
		}
	}
	t.setsSession = changesSession(s)
	return t
}

// follow adds views, routines and triggers that lead to names of the set, until nothing is added any more.
func (t *touchSet) follow(s *Schema) {
	protects := t.any()
	for {
		added := false
		add := func(name string, kind touchKind) {
			key := foldTouch(name)
			if t.names[key]&kind == 0 {
				t.names[key] |= kind
				if kind == touchRoutine {
					t.routines = append(t.routines, key)
				}
				added = true
			}
		}
		for _, tables := range s.Databases {
			for _, table := range tables {
				if table.Kind == View && protects && (table.Unreadable || t.inBody(table.Definition, nil)) {
					add(table.Name, touchView)
				}
				for _, trigger := range table.Triggers {
					if protects && t.routineTouches(trigger, table) {
						add(table.Name, touchTrigger)
					}
				}
			}
		}
		for _, r := range s.Routines {
			if protects && t.routineTouches(r, nil) {
				add(r.Name, touchRoutine)
			}
		}
		if !added {
			return
		}
	}
}

// routineTouches reports whether a body names anything of the set, cannot be read, or builds its statements at run time.
// A trigger of a table with protected columns touches them when it names one of them, or a column that their cells are
// bound to.
func (t *touchSet) routineTouches(r *Routine, table *Table) bool {
	if r.Unreadable {
		return true
	}
	if table == nil {
		return t.inBody(r.Body, dynamicWords)
	}
	extra := maps.Clone(dynamicWords)
	for _, c := range table.Columns {
		if c.Protected == nil {
			continue
		}
		extra[foldTouch(c.Name)] = true
		extra[foldTouch(c.Protected.Owner)] = true
		for _, bound := range c.Protected.Bind {
			extra[foldTouch(bound)] = true
		}
	}
	return t.inBody(r.Body, extra)
}

// inBody reports whether a stored text holds a name of the set or of extra as a word, anywhere: also inside strings, which
// may be statements of their own.
func (t *touchSet) inBody(body string, extra map[string]bool) bool {
	for _, name := range t.odd {
		if strings.Contains(foldTouch(body), name) {
			return true
		}
	}
	found := false
	eachWord(body, func(word string) bool {
		w := foldTouch(word)
		found = t.names[w] != 0 || extra[w] || t.mayNameRoutine(w)
		return !found
	})
	return found
}

// mayNameRoutine reports whether MariaDB may take name for that of a routine of the set which is written otherwise. It finds
// routines by the collation utf8mb3_general_ci, which looks at one character after the other and sees no difference between
// e and its accented forms; whatever is not ASCII counts as equal here.
func (t *touchSet) mayNameRoutine(name string) bool {
	folded := foldTouch(name)
	for _, r := range t.routines {
		if r != folded && mayBeEqual(r, folded) {
			return true
		}
	}
	return false
}

func mayBeEqual(a, b string) bool {
	if utf8.RuneCountInString(a) != utf8.RuneCountInString(b) {
		return false
	}
	for _, x := range a {
		y, size := utf8.DecodeRuneInString(b)
		if b = b[size:]; x != y && x < utf8.RuneSelf && y < utf8.RuneSelf {
			return false
		}
	}
	return true
}

// callsLike reports whether a statement calls something whose name MariaDB may take for that of a routine of the set.
func (t *touchSet) callsLike(st *Statement) bool {
	calls := hasKeyword(st, KwCall)
	for i := range st.Tokens() {
		if st.Token(i).IsIdentifier() && (calls || st.IsOp(i+1, OpLeftParen)) && t.mayNameRoutine(st.Name(i)) {
			return true
		}
	}
	return false
}

// inText is inBody for the raw bytes of a statement.
func (t *touchSet) inText(sql []byte) bool {
	return t.inBody(string(bytes.ToValidUTF8(sql, []byte{' '})), nil)
}

// changesSession reports whether any trigger or function sets session variables that the proxy keeps track of.
func changesSession(s *Schema) bool {
	sets := func(r *Routine) bool {
		if r.Unreadable {
			return true
		}
		found := false
		eachWord(r.Body, func(word string) bool {
			switch strings.ToLower(word) {
			case "sql_mode", "time_zone", "character_set_client", "character_set_results", "character_set_connection",
				"collation_connection", "names", "charset", "call":
				found = true
			}
			return !found
		})
		return found
	}
	for _, tables := range s.Databases {
		for _, table := range tables {
			for _, r := range table.Triggers {
				if sets(r) {
					return true
				}
			}
		}
	}
	for _, r := range s.Routines {
		if strings.EqualFold(r.Kind, "FUNCTION") && sets(r) {
			return true
		}
	}
	return false
}

// wordName reports whether a name is made of word characters only, so that eachWord finds it whole.
func wordName(name string) bool {
	for _, r := range name {
		if !wordRune(r) {
			return false
		}
	}
	return name != ""
}

func wordRune(r rune) bool {
	return r == '_' || r == '$' || r >= utf8.RuneSelf || unicode.IsLetter(r) || unicode.IsDigit(r)
}

// eachWord calls f for every run of word characters, until f returns false.
func eachWord(text string, f func(string) bool) {
	start := -1
	for i, r := range text {
		if wordRune(r) {
			if start < 0 {
				start = i
			}
			continue
		}
		if start >= 0 {
			if !f(text[start:i]) {
				return
			}
			start = -1
		}
	}
	if start >= 0 {
		f(text[start:])
	}
}

// scan looks a statement's tokens through: what kinds of names it holds, and how often each name that leads to protected
// columns occurs as an identifier.
func (t *touchSet) scan(st *Statement) (kinds touchKind, counts map[string]int) {
	for i := range st.Tokens() {
		tok := st.Token(i)
		if tok.Kind == TokUserVar {
			if name := foldTouch(st.Name(i)); name == reservedSchema || strings.HasPrefix(name, argumentVariable) {
				kinds |= touchReserved
			}
			continue
		}
		if !tok.IsIdentifier() {
			continue
		}
		name := foldTouch(st.Name(i))
		if k := t.names[name]; k != 0 {
			kinds |= k
			if counts == nil {
				counts = map[string]int{}
			}
			counts[name]++
		}
	}
	return kinds, counts
}
