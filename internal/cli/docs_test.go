package cli

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/configs"
	"latchkey/proxy"
	"latchkey/proxy/evaluator"
)

// root is the top of the source tree.
const root = "../.."

// documents are the Markdown files of the tree by path from root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	texts := make(map[string]string)
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		name := entry.Name()
		if entry.IsDir() && path != root && (strings.HasPrefix(name, ".") || name == "testdata" || name == "node_modules") {
			return filepath.SkipDir
		}
		if entry.IsDir() || filepath.Ext(name) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		from, err := filepath.Rel(root, path)
		texts[filepath.ToSlash(from)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(texts["README.md"]) == 0 || len(texts["docs/errors.md"]) == 0 {
		t.Fatalf("README.md and docs/errors.md are not among %d documents", len(texts))
	}
	return texts
}

var (
	fence   = regexp.MustCompile("(?ms)^```([a-z]*)\n(.*?)^```$")
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} (.+)$`)
)

// anchors are the fragments that links into a document may name.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
		var anchor strings.Builder
		for _, r := range strings.ToLower(m[1]) {
			switch {
			case r == ' ':
				anchor.WriteByte('-')
			case r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z':
				anchor.WriteRune(r)
			}
		}
		all[anchor.String()] = true
	}
	return all
}

func TestDocumentsLinkToWhatExists(t *testing.T) {
	texts := documents(t)
	links := 0
	for name, text := range texts {
		for _, m := range link.FindAllStringSubmatch(fence.ReplaceAllString(text, ""), -1) {
			target, fragment, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, ":") {
				continue // another site
			}
			links++
			to := name
			if target != "" {
				to = filepath.ToSlash(filepath.Join(filepath.Dir(name), target))
			}
			if _, err := os.Stat(filepath.Join(root, to)); err != nil {
				t.Errorf("%s links to %s, which does not exist", name, m[1])
				continue
			}
			if fragment != "" && !anchors(texts[to])[fragment] {
				t.Errorf("%s links to %s, which has no such heading", name, m[1])
			}
		}
	}
	if links < 20 {
		t.Errorf("only %d links were found", links)
	}
}

func TestConfigurationsInDocumentsAreRight(t *testing.T) {
	blocks := 0
	for name, text := range documents(t) {
		for _, m := range fence.FindAllStringSubmatch(text, -1) {
			if m[1] != "yaml" {
				continue
			}
			blocks++
			config, err := configs.Parse(name, []byte(m[2]))
			if err != nil {
				t.Errorf("%s: %v in\n%s", name, err, m[2])
				continue
			}
			if problems := config.Unavailable(); len(problems) > 0 {
				t.Errorf("%s shows settings that serve refuses: %v", name, problems)
			}
		}
	}
	if blocks < 5 {
		t.Errorf("only %d configurations were found", blocks)
	}
}

func TestDocumentsAreASCII(t *testing.T) {
	for name, text := range documents(t) {
		for i, line := range strings.Split(text, "\n") {
			if at := strings.IndexFunc(line, func(r rune) bool { return r > '~' || r < ' ' && r != '\t' }); at >= 0 {
				t.Errorf("%s:%d:%d: not ASCII", name, i+1, at+1)
			}
		}
	}
}

// TestEveryErrorIsDocumented holds docs/errors.md against the numbers in the code.
func TestEveryErrorIsDocumented(t *testing.T) {
	text := documents(t)["docs/errors.md"]
	headings := anchors(text)
	for number := 9701; number <= 9715; number++ {
		section := strconv.Itoa(number)
		if !headings[section] {
			t.Errorf("docs/errors.md has no heading %s", section)
			continue
		}
		_, rest, _ := strings.Cut(text, "\n## "+section+"\n")
		rest, _, _ = strings.Cut(rest, "\n## ")
		if state := "(LK" + strconv.Itoa(number - 8700)[1:] + ")"; !strings.Contains(rest, state) {
			t.Errorf("docs/errors.md: the section %s does not name its SQLSTATE %s", section, state)
		}
		if !strings.Contains(rest, "*Fix:*") && !strings.Contains(rest, "| fix |") {
			t.Errorf("docs/errors.md: the section %s names no fix", section)
		}
	}
	numbers := errorNumbers(t, "proxy", "rewrite", "rewrite/logical")
	for _, known := range []int{1047, 1136, 1406, 9701, 9704} {
		if !slices.Contains(numbers, known) {
			t.Errorf("error number %d was not found in the code", known)
		}
	}
	for _, number := range numbers {
		if !regexp.MustCompile(`\b` + strconv.Itoa(number) + `\b`).MatchString(text) {
			t.Errorf("docs/errors.md does not mention %d", number)
		}
	}
}

// errorNumbers finds the error numbers that packages give: constants whose name has Code in it, and the numbers in
// literals of error types.
func errorNumbers(t *testing.T, packages ...string) []int {
	t.Helper()
	var numbers []int
	add := func(e ast.Expr) {
		if lit, ok := e.(*ast.BasicLit); ok && lit.Kind == token.INT {
			if n, err := strconv.Atoi(lit.Value); err == nil && n >= 1000 && n < 10000 {
				numbers = append(numbers, n)
			}
		}
	}
	for _, dir := range packages {
		files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files in %s: %v", dir, err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			tree, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				t.Fatal(err)
			}
			ast.Inspect(tree, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.ValueSpec:
					for i, name := range n.Names {
						if strings.Contains(strings.ToLower(name.Name), "code") && i < len(n.Values) {
							add(n.Values[i])
						}
					}
				case *ast.CompositeLit:
					switch name, _ := n.Type.(*ast.Ident); {
					case name == nil:
					case name.Name == "ValueError" && len(n.Elts) > 0:
						add(n.Elts[0])
					case name.Name == "fault" || name.Name == "Refusal":
						for _, e := range n.Elts {
							if kv, ok := e.(*ast.KeyValueExpr); ok {
								add(kv.Value)
							}
						}
					}
				}
				return true
			})
		}
	}
	return numbers
}

// TestEveryMetricIsDocumented holds docs/operations.md, and what is shipped to watch the metrics, against the server's.
func TestEveryMetricIsDocumented(t *testing.T) {
	registry := prometheus.NewRegistry()
	if _, err := proxy.NewServer(proxy.Config{Backend: proxy.BackendConfig{Address: "127.0.0.1:3306"}, Registry: registry}); err != nil {
		t.Fatal(err)
	}
	evaluator.New(evaluator.Config{Registry: registry})
	descriptions := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descriptions)
		close(descriptions)
	}()
	name := regexp.MustCompile(`fqName: "([a-z_]+)"`)
	known := make(map[string]bool)
	for description := range descriptions {
		known[name.FindStringSubmatch(description.String())[1]] = true
	}
	text := documents(t)["docs/operations.md"]
	for metric := range known {
		if !strings.Contains(text, "`"+metric+"`") {
			t.Errorf("docs/operations.md does not describe %s", metric)
		}
	}
	mention := regexp.MustCompile(`\blatchkey_[a-z_]+\b`)
	suffix := regexp.MustCompile(`_(bucket|sum|count)$`)
	for _, file := range []string{"docs/operations.md", "docs/errors.md", "configs/alerts.yml", "configs/grafana.json"} {
		content, err := os.ReadFile(filepath.Join(root, file))
		if err != nil {
			t.Fatal(err)
		}
		for _, metric := range mention.FindAllString(string(content), -1) {
			if metric != "latchkey_keys" && !known[metric] && !known[suffix.ReplaceAllString(metric, "")] {
				t.Errorf("%s names the metric %s, which does not exist", file, metric)
			}
		}
	}
}
