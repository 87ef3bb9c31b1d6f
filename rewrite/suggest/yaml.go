package suggest

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// AppendYAML appends the section `databases` of a configuration, with a comment on every line that decides something.
func (s *Suggestion) AppendYAML(dst []byte) []byte {
	y := &yaml{out: dst}
	protects := slices.ContainsFunc(s.Tables, func(t *Table) bool { return len(t.Columns) > 0 })
	if !protects {
		y.line(0, "databases: {}", "nothing that looks personal was found")
	} else {
		y.line(0, "databases:", "")
	}
	last := ""
	for _, t := range s.Tables {
		if len(t.Columns) == 0 {
			continue
		}
		if t.Database != last {
			last = t.Database
			y.line(2, Scalar(t.Database)+":", "")
		}
		y.table(t)
	}
	y.leftOut(s)
	return y.out
}

// yaml writes lines.
type yaml struct{ out []byte }

// line writes one line with a comment behind it, both may be empty.
func (y *yaml) line(indent int, text, comment string) {
	y.out = append(y.out, strings.Repeat(" ", indent)...)
	y.out = append(y.out, text...)
	if comment != "" {
		if text != "" {
			y.out = append(y.out, "  "...)
		}
		y.out = append(y.out, "# "+Comment(comment)...)
	}
	y.out = append(y.out, '\n')
}

func (y *yaml) table(t *Table) {
	if t.Owner == "" {
		y.line(4, Scalar(t.Name)+":", t.OwnerWhy)
	} else {
		y.line(4, Scalar(t.Name)+":", "")
		y.line(6, "owner: "+Scalar(t.Owner), t.OwnerWhy)
	}
	if t.users && slices.ContainsFunc(t.Columns, func(c *Column) bool { return !c.Service }) {
		y.line(6, "", "what stands without `key:` here only its own user can read: what others see needs `key: \"service:"+ServiceKey+"\"`")
	}
	y.line(6, "columns:", "")
	for _, c := range t.Columns {
		y.line(8, Scalar(c.Name)+": "+c.String(), strings.Join(c.Why, "; "))
	}
	for _, note := range t.Notes {
		y.line(8, "", note)
	}
}

// leftOut writes what is not in the policy and why.
func (y *yaml) leftOut(s *Suggestion) {
	for _, t := range s.Tables {
		if len(t.Columns) > 0 {
			continue
		}
		for _, note := range t.Notes {
			y.line(0, "", t.Database+"."+t.Name+": "+note)
		}
	}
	for _, line := range s.Unreadable {
		y.line(0, "", line)
	}
}

var (
	plainScalar = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	// wordScalar are the plain words that a YAML reader takes for something else than text.
	wordScalar = regexp.MustCompile(`(?i)^(?:true|false|yes|no|on|off|y|n|null|nan|inf)$`)
)

// Scalar writes text as a YAML scalar that every reader takes for that text.
func Scalar(text string) string {
	if plainScalar.MatchString(text) && !wordScalar.MatchString(text) {
		return text
	}
	// A JSON string is one of YAML too.
	quoted, err := json.Marshal(text)
	if err != nil {
		return fmt.Sprintf("%q", text)
	}
	return string(quoted)
}

// Comment keeps text inside the one line of its comment, whatever the names in it hold.
func Comment(text string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7F || r == 0x85 || r == 0x2028 || r == 0x2029 || r == 0xFEFF {
			return '?'
		}
		return r
	}, text)
}
