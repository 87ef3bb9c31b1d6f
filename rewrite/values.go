package rewrite

import (
	"fmt"
	"io"
	"sync"

	"github.com/pingcap/tidb/pkg/parser/ast"
	"github.com/pingcap/tidb/pkg/parser/format"
)

// The TiDB parser makes literals and markers through constructors that its user supplies. These keep what the lexer gave
// and compute nothing: planning needs the place of a literal, and its value only for positions in ORDER BY and GROUP BY.

// valueExpr is a literal in the syntax tree: a number, string, hex or bit literal, TRUE, FALSE or NULL.
type valueExpr struct {
	ast.TexprNode
	value      any
	projection int
}

// paramMarker is a `?` in the syntax tree.
type paramMarker struct {
	valueExpr
	// Offset is the marker's place in the canonical text, for Parsed.TokenAt.
	Offset int
	order  int
}

var (
	_ ast.ValueExpr       = (*valueExpr)(nil)
	_ ast.ParamMarkerExpr = (*paramMarker)(nil)
)

// installValues hands the constructors to the parser, once in the process.
var installValues = sync.OnceFunc(func() {
	ast.NewValueExpr = func(value any, _, _ string) ast.ValueExpr {
		if v, ok := value.(*valueExpr); ok {
			return v
		}
		return &valueExpr{value: value, projection: -1}
	}
	ast.NewParamMarkerExpr = func(offset int) ast.ParamMarkerExpr {
		return &paramMarker{valueExpr: valueExpr{projection: -1}, Offset: offset}
	}
	ast.NewDecimal = func(text string) (any, error) { return decimalText(text), nil }
	ast.NewHexLiteral = func(text string) (any, error) { return binaryText(text), nil }
	ast.NewBitLiteral = func(text string) (any, error) { return binaryText(text), nil }
})

// decimalText is a decimal number as written, of any length.
type decimalText string

// binaryText is a hex or bit literal as written.
type binaryText string

// ToString implements ast.BinaryLiteral.
func (b binaryText) ToString() string { return string(b) }

// SetValue implements ast.ValueExpr.
func (v *valueExpr) SetValue(value any) { v.value = value }

// GetValue implements ast.ValueExpr: an int64 for an integer that fits, nil for NULL, a bool as int64.
func (v *valueExpr) GetValue() any {
	if b, ok := v.value.(bool); ok {
		if b {
			return int64(1)
		}
		return int64(0)
	}
	return v.value
}

// GetString implements ast.ValueExpr.
func (v *valueExpr) GetString() string {
	s, _ := v.value.(string)
	return s
}

// GetDatumString implements ast.ValueExpr.
func (v *valueExpr) GetDatumString() string { return v.GetString() }

// GetProjectionOffset implements ast.ValueExpr.
func (v *valueExpr) GetProjectionOffset() int { return v.projection }

// SetProjectionOffset implements ast.ValueExpr.
func (v *valueExpr) SetProjectionOffset(offset int) { v.projection = offset }

// Restore implements ast.Node. It never prints a value: statements are not made from the tree.
func (v *valueExpr) Restore(ctx *format.RestoreCtx) error {
	ctx.WritePlain("?")
	return nil
}

// Format implements ast.ExprNode, as Restore does.
func (v *valueExpr) Format(w io.Writer) { _, _ = fmt.Fprint(w, "?") }

// Accept implements ast.Node.
func (v *valueExpr) Accept(visitor ast.Visitor) (ast.Node, bool) {
	n, _ := visitor.Enter(v)
	return visitor.Leave(n)
}

// SetOrder implements ast.ParamMarkerExpr.
func (p *paramMarker) SetOrder(order int) { p.order = order }

// Accept implements ast.Node.
func (p *paramMarker) Accept(visitor ast.Visitor) (ast.Node, bool) {
	n, _ := visitor.Enter(p)
	return visitor.Leave(n)
}
