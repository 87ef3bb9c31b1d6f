package endtoend

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"latchkey/internal/mariadbtest"
)

const compatibilityPage = "../../docs/compatibility.md"

// TestForms runs every statement of testdata/forms on plaintext and through Latchkey, as text and prepared: the answers
// and the tables afterwards are the same, or Latchkey refuses. The outcomes are docs/compatibility.md.
func TestForms(t *testing.T) {
	files, err := filepath.Glob("testdata/forms/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no forms: %v", err)
	}
	w := newTwin(t, mariadbtest.Shared(t))
	plain, sealed := w.conns(t, "?interpolateParams=true")
	plainBinary, sealedBinary := w.conns(t, "")
	var page strings.Builder
	page.WriteString(compatibilityHead)
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		section := ""
		for _, c := range parseForms(t, string(text)) {
			asText := w.compare(t, plain, sealed, wayText, c)
			asPrepared := w.compare(t, plainBinary, sealedBinary, wayPrepared, c)
			if c.section != section {
				section = c.section
				fmt.Fprintf(&page, "\n## %s\n\n| statement | text | prepared |\n|---|---|---|\n", section)
			}
			fmt.Fprintf(&page, "| `` %s `` | %s | %s |\n", pageText(c.stmt), asText, asPrepared)
		}
	}
	comparePage(t, compatibilityTitle, introspectionMark, page.String())
}

// pageText writes a statement for the page, which is ASCII.
func pageText(stmt string) string {
	var b strings.Builder
	for _, r := range strings.ReplaceAll(stmt, "|", "\\|") {
		if r < utf8.RuneSelf {
			b.WriteRune(r)
		} else {
			fmt.Fprintf(&b, "U+%04X", r)
		}
	}
	return b.String()
}

const compatibilityTitle = "# Compatibility\n"

const compatibilityHead = compatibilityTitle + `
This page is written by a test (internal/endtoend, TestForms), which runs every statement on plaintext and through
Latchkey and compares values, column names, types, affected rows, warnings, the tables afterwards, and what the backend
stores. "same" is the answer that MariaDB gives on plaintext; a number is the error that Latchkey answers instead
([errors.md](errors.md)), with nothing sent to the backend.

The tables: ` + "`entries`" + ` has title (search: equality), body and amount (search: equality) under the user's key; ` + "`users`" + ` has email
and alias (search: equality, one context) under a service key; ` + "`archive`" + ` has title and body in the contexts of entries;
` + "`tags`" + ` is not protected.
`
