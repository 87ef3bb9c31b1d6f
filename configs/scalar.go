package configs

import (
	"math"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml/ast"

	"latchkey/keystore"
)

// text reads a string. Numbers and booleans are refused: YAML may have changed
// what was written (010, 1e3).
func (d *document) text(n ast.Node, path string) (string, bool) {
	switch n := n.(type) {
	case *ast.StringNode:
		return n.Value, true
	case *ast.LiteralNode:
		return n.Value.Value, true
	case *ast.NullNode:
		d.report(n, "%s has no value", path)
	case *ast.IntegerNode, *ast.FloatNode, *ast.BoolNode, *ast.InfinityNode, *ast.NanNode:
		d.report(n, "%s must be text: write it in quotes", path)
	default:
		d.report(n, "%s must be text", path)
	}
	return "", false
}

// number returns what was written for a scalar that may be a number with a unit.
func (d *document) number(n ast.Node, path string) (string, bool) {
	if i, ok := n.(*ast.IntegerNode); ok {
		return i.Token.Value, true
	}
	if f, ok := n.(*ast.FloatNode); ok {
		return f.Token.Value, true
	}
	return d.text(n, path)
}

// fleetPrefix begins a fleet secret as text.
const fleetPrefix = "LKF1-"

// setPath returns a reader that sets a file path; a relative one is taken from
// the directory of the configuration file.
func (d *document) setPath(to *string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		v, ok := d.text(n, path)
		switch {
		case !ok:
		case keystore.LooksLikeKey([]byte(v)) || strings.HasPrefix(strings.ToUpper(v), fleetPrefix):
			d.report(n, "%s holds a key itself: put the key into a file and name the file here", path)
		case strings.ContainsAny(v, "\n\x00"):
			d.report(n, "%s is not a file path", path)
		default:
			*to = d.resolve(v)
		}
	}
}

// resolve makes a path independent of the working directory.
func (d *document) resolve(path string) string {
	if path == "" || filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(d.file), path)
}

// setBool returns a reader that sets a boolean.
func (d *document) setBool(to *bool) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		b, ok := n.(*ast.BoolNode)
		if !ok {
			d.report(n, "%s must be true or false", path)
			return
		}
		*to = b.Value
	}
}

// setInt returns a reader that sets an integer within bounds.
func (d *document) setInt(to *int, least, most int) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		if i, ok := n.(*ast.IntegerNode); ok {
			if v, err := strconv.Atoi(i.Token.Value); err == nil && v >= least && v <= most {
				*to = v
				return
			}
		}
		d.report(n, "%s must be a whole number from %d to %d", path, least, most)
	}
}

// setDuration returns a reader that sets a duration of at least least.
func (d *document) setDuration(to *time.Duration, least time.Duration) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		text, ok := d.number(n, path)
		if !ok {
			return
		}
		v, err := time.ParseDuration(text)
		switch {
		case err != nil:
			d.report(n, "%s must be a duration such as 90s, 15m or 12h", path)
		case v < least:
			d.report(n, "%s must be at least %v", path, least)
		default:
			*to = v
		}
	}
}

// sizeUnits are the units of sizes; decimal ones are refused, since they are
// mostly meant as these.
var sizeUnits = []struct {
	suffix string
	bytes  int64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}, {"", 1},
}

// setSize returns a reader that sets a size in bytes, at least 1.
func (d *document) setSize(to *int64) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		text, ok := d.number(n, path)
		if !ok {
			return
		}
		if v, ok := parseSize(text); ok {
			*to = v
			return
		}
		d.report(n, "%s must be a size such as 65536, 64KiB, 64MiB or 1GiB", path)
	}
}

func parseSize(text string) (int64, bool) {
	for _, unit := range sizeUnits {
		digits, ok := strings.CutSuffix(text, unit.suffix)
		if !ok {
			continue
		}
		v, err := strconv.ParseInt(strings.TrimSpace(digits), 10, 64)
		if err == nil && v >= 1 && v <= math.MaxInt64/unit.bytes {
			return v * unit.bytes, true
		}
	}
	return 0, false
}

// setTexts returns a reader that sets a list of different strings.
func (d *document) setTexts(to *[]string) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var all []string
		seen := make(map[string]bool)
		for _, item := range d.items(n, path) {
			v, ok := d.text(item, path)
			switch {
			case !ok:
			case v == "":
				d.report(item, "%s holds an empty name", path)
			case seen[v]:
				d.report(item, "%s names %s twice", path, quoteName(v))
			default:
				seen[v] = true
				all = append(all, v)
			}
		}
		*to = all
	}
}

// setNetworks returns a reader that sets a list of networks or single addresses.
func (d *document) setNetworks(to *[]netip.Prefix) func(ast.Node, string) {
	return func(n ast.Node, path string) {
		var all []netip.Prefix
		for _, item := range d.items(n, path) {
			text, ok := d.text(item, path)
			if !ok {
				continue
			}
			if prefix, err := netip.ParsePrefix(text); err == nil {
				if prefix != prefix.Masked() {
					d.report(item, "%s: %s has bits behind the network; write %s", path, prefix, prefix.Masked())
					continue
				}
				all = append(all, prefix)
			} else if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
				all = append(all, netip.PrefixFrom(addr, addr.BitLen()))
			} else {
				d.report(item, "%s must hold networks such as 10.0.0.0/8 or addresses", path)
			}
		}
		*to = all
	}
}

// choice reads a word out of a fixed set.
func (d *document) choice(n ast.Node, path string, words ...string) (string, bool) {
	v, ok := d.text(n, path)
	if !ok {
		return "", false
	}
	for _, word := range words {
		if v == word {
			return v, true
		}
	}
	d.report(n, "%s must be %s", path, orList(words))
	return "", false
}

// orList writes a, b or c.
func orList(words []string) string {
	if len(words) == 1 {
		return words[0]
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
