package configs

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/goccy/go-yaml/ast"
	"github.com/goccy/go-yaml/lexer"
	"github.com/goccy/go-yaml/parser"
	"github.com/goccy/go-yaml/token"
)

const (
	// maxFileSize bounds a configuration file in bytes.
	maxFileSize = 1 << 20
	// maxTokens bounds the YAML parser, whose time grows with the square of a
	// mapping's size.
	maxTokens = 100_000
)

// document is a YAML file being read: it collects the problems and remembers
// where each key stands, so that checks across keys can point at them.
type document struct {
	file     string
	problems Problems
	places   map[string]place // by path, such as listen.tls.cert
}

// place is a line and column, both from 1.
type place struct{ line, column int }

// parse reads the YAML of text. It returns nil after a problem that leaves
// nothing to look at.
func (d *document) parse(text []byte) ast.Node {
	d.places = map[string]place{"": {1, 1}}
	if len(text) > maxFileSize {
		d.reportAt(place{1, 1}, "the file is longer than %d bytes", maxFileSize)
		return nil
	}
	// A byte order mark would become part of the first key.
	tokens := lexer.Tokenize(strings.TrimPrefix(string(text), "\uFEFF"))
	if len(tokens) > maxTokens {
		d.reportAt(place{1, 1}, "the file has more than %d YAML tokens", maxTokens)
		return nil
	}
	// Duplicate keys are let through here and reported with all the rest.
	file, err := parser.Parse(tokens, 0, parser.AllowDuplicateMapKey())
	if err != nil {
		d.reportSyntax(err)
		return nil
	}
	var bodies []ast.Node
	for _, doc := range file.Docs {
		if doc != nil && doc.Body != nil && doc.Body.Type() != ast.CommentType {
			bodies = append(bodies, doc.Body)
		}
	}
	switch len(bodies) {
	case 0:
		d.reportAt(place{1, 1}, "the file is empty")
		return nil
	case 1:
		return bodies[0]
	}
	d.report(bodies[1], "a second YAML document; the configuration is one")
	return nil
}

// reportSyntax reports the YAML parser's error without the source text that its
// Error method quotes.
func (d *document) reportSyntax(err error) {
	var syntax interface {
		GetMessage() string
		GetToken() *token.Token
	}
	at, message := place{1, 1}, "not YAML"
	if errors.As(err, &syntax) {
		message = "not YAML: " + syntax.GetMessage()
		at = placeOfToken(syntax.GetToken())
	}
	d.reportAt(at, "%s", message)
}

// report adds a problem at a node.
func (d *document) report(n ast.Node, format string, args ...any) {
	d.reportAt(placeOf(n), format, args...)
}

// reportPath adds a problem at the key that path names, or at the nearest
// enclosing one that the file has.
func (d *document) reportPath(path, format string, args ...any) {
	for p := path; ; {
		if at, ok := d.places[p]; ok {
			d.reportAt(at, format, args...)
			return
		}
		p = p[:max(0, strings.LastIndexByte(p, '.'))]
	}
}

func (d *document) reportAt(at place, format string, args ...any) {
	d.problems = append(d.problems, Problem{File: d.file, Line: at.line, Column: at.column, Message: fmt.Sprintf(format, args...)})
}

// entry is one key of a mapping with its value.
type entry struct {
	name  string
	path  string
	key   ast.Node
	value ast.Node
}

// entries returns the keys of the mapping n, which path names, in their order.
// Keys that are no plain names and repeated ones are reported and left out.
func (d *document) entries(n ast.Node, path string) []entry {
	mapping, ok := n.(ast.MapNode)
	if !ok {
		d.report(n, "%s must be a mapping (key: value)", describe(path))
		return nil
	}
	var all []entry
	seen := make(map[string]bool)
	for it := mapping.MapRange(); it.Next(); {
		key := it.Key()
		name, ok := key.(*ast.StringNode)
		if !ok {
			d.report(key, "%s", badKey(key))
			continue
		}
		if seen[name.Value] {
			d.report(key, "%s stands here a second time", quoteName(name.Value))
			continue
		}
		seen[name.Value] = true
		e := entry{name: name.Value, path: join(path, name.Value), key: key, value: it.Value()}
		d.places[e.path] = placeOf(key)
		all = append(all, e)
	}
	return all
}

// badKey says why a key of a mapping is not accepted.
func badKey(key ast.Node) string {
	switch key.(type) {
	case *ast.MergeKeyNode:
		return "merge keys (<<) are not supported"
	case *ast.MappingKeyNode, *ast.TagNode, *ast.AnchorNode, *ast.AliasNode:
		return "keys are plain names; tags, anchors, aliases and ? are not supported"
	}
	return "a name that YAML reads as another type: write it in quotes"
}

// fields reads the mapping n: each key by its reader, unknown keys are reported.
func (d *document) fields(n ast.Node, path string, readers map[string]func(ast.Node, string)) {
	for _, e := range d.entries(n, path) {
		read, ok := readers[e.name]
		if !ok {
			d.report(e.key, "unknown key %s; %s knows %s", quoteName(e.name), describe(path),
				strings.Join(slices.Sorted(maps.Keys(readers)), ", "))
			continue
		}
		if !d.readable(e.value) {
			continue
		}
		read(e.value, e.path)
	}
}

// readable reports values of kinds that no setting takes.
func (d *document) readable(n ast.Node) bool {
	switch n.(type) {
	case *ast.TagNode:
		d.report(n, "YAML tags are not supported")
	case *ast.AnchorNode, *ast.AliasNode:
		d.report(n, "YAML anchors and aliases are not supported")
	default:
		return true
	}
	return false
}

// items returns the elements of the sequence n.
func (d *document) items(n ast.Node, path string) []ast.Node {
	sequence, ok := n.(*ast.SequenceNode)
	if !ok {
		d.report(n, "%s must be a list ([a, b])", describe(path))
		return nil
	}
	var all []ast.Node
	for _, item := range sequence.Values {
		if d.readable(item) {
			all = append(all, item)
		}
	}
	return all
}

func placeOf(n ast.Node) place {
	// A mapping's own token is the first colon; its first key says more.
	if m, ok := n.(ast.MapNode); ok {
		if it := m.MapRange(); it.Next() && n.GetToken().Value == ":" {
			return placeOf(it.Key())
		}
	}
	return placeOfToken(n.GetToken())
}

func placeOfToken(t *token.Token) place {
	if t == nil || t.Position == nil {
		return place{1, 1}
	}
	return place{max(1, t.Position.Line), max(1, t.Position.Column)}
}

// describe names a place of the file in a message.
func describe(path string) string {
	if path == "" {
		return "the top level"
	}
	return path
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// quoteName shows a key in a message, cut short if it is long: something else
// may have slipped into its place.
func quoteName(name string) string {
	const most = 40
	if r := []rune(name); len(r) > most {
		name = string(r[:most]) + "..."
	}
	return fmt.Sprintf("%q", name)
}
