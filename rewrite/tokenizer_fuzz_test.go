package rewrite

import (
	"bytes"
	"testing"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

func addSeeds(f *testing.F) {
	for _, tc := range accepted {
		f.Add([]byte(tc.sql), byte(CharsetUTF8MB4), uint32(0))
	}
	for i, text := range fragments {
		f.Add([]byte("SELECT "+text+" a"), byte(i%6), uint32(ANSIQuotes))
	}
	f.Add([]byte("SELECT 1; BEGIN NOT ATOMIC SELECT 2; END"), byte(CharsetLatin1), uint32(NoBackslashEscapes))
}

// FuzzScan reads any bytes as a packet. Whatever they are, tokens lie in order inside the packet, everything that a token
// can be asked is answered, the shape accounts for every token, and the tokens written again are the same tokens.
func FuzzScan(f *testing.F) {
	addSeeds(f)
	f.Fuzz(func(t *testing.T, sql []byte, charset byte, mode uint32) {
		facts := Facts{Charset: Charset(charset % 6), Mode: SQLMode(mode), ServerVersion: testVersion, MultiStatements: true}
		var s Statement
		if s.Scan(sql, &facts) != nil {
			if s.Len() != 0 {
				t.Error("tokens are left after an error")
			}
			return
		}
		end := int32(0)
		for i := range s.Len() {
			tok := s.Token(i)
			if tok.Start < end || tok.End <= tok.Start || int(tok.End) > len(sql) {
				t.Fatalf("token %d is %d..%d after %d", i, tok.Start, tok.End, end)
			}
			end = tok.End
			if m := s.Match(i); m >= 0 && s.Match(m) != i {
				t.Errorf("parenthesis %d does not match", i)
			}
			_ = s.Name(i)
			if lit, err := s.Literal(i); (err == nil) != tok.Kind.IsLiteral() || len(lit.Bytes) > len(sql) {
				t.Errorf("literal %d: %v", i, err)
			}
		}
		s.AppendShape(nil, &facts)
		seen := make([]int, s.Len())
		for c := range s.CollapsedLen() {
			for _, i := range s.Expand(nil, c) {
				seen[i]++
			}
		}
		for i, n := range seen {
			if n != 1 && !(n == 0 && s.IsOp(i, OpComma)) {
				t.Errorf("token %d is covered %d times", i, n)
			}
		}
		joined := rejoin(&s)
		var again Statement
		if err := again.Scan([]byte(joined), &facts); err != nil {
			t.Fatalf("%q became %q, which cannot be read", sql, joined)
		}
		n := s.Len()
		for n > 0 && s.IsOp(n-1, OpSemicolon) {
			n-- // stripped once nothing follows it
		}
		if again.Len() != n {
			t.Fatalf("%q became %q: %d tokens, then %d", sql, joined, n, again.Len())
		}
		for i := range n {
			if s.Token(i).Kind != again.Token(i).Kind || !bytes.Equal(s.Text(i), again.Text(i)) {
				t.Errorf("token %d %q became %q", i, s.Text(i), again.Text(i))
			}
		}
		if parts, err := s.Split(&facts); err == nil {
			total := parts - 1
			for i := range parts {
				p := s.Part(i)
				total += p.Len()
				p.AppendShape(nil, &facts)
			}
			if total != s.Len() {
				t.Errorf("parts have %d tokens and semicolons, the packet %d", total, s.Len())
			}
		}
	})
}

// FuzzParse parses any bytes. No panic comes out, and every literal and marker of the tree stands on a token of its kind.
func FuzzParse(f *testing.F) {
	addSeeds(f)
	pool := NewParserPool(2)
	f.Fuzz(func(t *testing.T, sql []byte, charset byte, mode uint32) {
		facts := Facts{Charset: Charset(charset % 6), Mode: SQLMode(mode), ServerVersion: testVersion}
		var s Statement
		if s.Scan(sql, &facts) != nil {
			return
		}
		s.AppendShape(nil, &facts)
		p, err := Parse(&s, &facts, pool)
		if err != nil {
			return
		}
		p.Node.Accept(&fuzzVisitor{t: t, s: &s, p: p})
		if p.Returning != nil {
			p.Returning.Node.Accept(&fuzzVisitor{t: t, s: &s, p: p.Returning})
		}
	})
}

type fuzzVisitor struct {
	t *testing.T
	s *Statement
	p *Parsed
}

func (v *fuzzVisitor) Enter(n ast.Node) (ast.Node, bool) {
	switch x := n.(type) {
	case *paramMarker:
		if i := v.p.TokenAt(x.Offset); v.s.Token(i).Kind != TokParam {
			v.t.Errorf("%q: marker at token %d", v.s.SQL(), i)
		}
		return n, true
	case *valueExpr:
		if x.OriginTextPosition() != 0 {
			i := v.p.TokenAt(x.OriginTextPosition())
			if tok := v.s.Token(i); !tok.Kind.IsLiteral() && tok.Kind != TokWord {
				v.t.Errorf("%q: literal at token %d", v.s.SQL(), i)
			}
		}
	}
	return n, false
}

func (v *fuzzVisitor) Leave(n ast.Node) (ast.Node, bool) { return n, true }
