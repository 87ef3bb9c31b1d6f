package suggest

import (
	"strings"
	"testing"

	"latchkey/rewrite"
)

func TestMean(t *testing.T) {
	for name, want := range map[string]kind{
		"title": text, "Title": text, "post_title": text, "billingAddress2": contact, "first_name": person, "FirstName": person, "date_of_birth": person,
		"strasse": contact, "Stra\u00dfe": contact, "\u00dcberschrift": text, "rechnungsbetrag": amount, "Rechnungs_Betrag": amount, "steuersatz": technical,
		"email_hash": technical, "password": technical, "comment_count": technical, "user_agent": network, "comment_author_IP": network, "montant": amount,
		"apellidos": person, "x": none, "": none, "2024": none, "betrag": amount, "iban": account, "user_login": handle, "lat": place, "indirizzo": contact, "bedrag": amount, "descricao": text,
	} {
		if got, _ := mean(name, ""); got.kind != want {
			t.Errorf("%q means %v, want %v", name, got.kind, want)
		}
	}
	if got, ok := mean("comment_approved", "wp_comments"); ok {
		t.Errorf("the table's own name in a column's means %v", got.kind)
	}
	if got, _ := mean("comment", "comments"); got.kind != text {
		t.Errorf("a column named as its table means %v", got.kind)
	}
}

// TestVocabulary looks for words that are written in a way in which no name is cut.
func TestVocabulary(t *testing.T) {
	for _, v := range vocabulary {
		for word := range strings.FieldsSeq(v.words) {
			if together(word) != word {
				t.Errorf("%s: %q cannot be found: names are cut into %q", v.language, word, parts(word))
			}
			if m := dictionary[word]; m.kind == technical != (v.kind == technical) {
				t.Errorf("%s: %q is technical in one language and not in another", v.language, word)
			}
		}
	}
}

func TestSingular(t *testing.T) {
	for word, want := range map[string]string{"users": "user", "entries": "entry", "addresses": "address", "boxes": "box", "class": "class", "kunden": "kunde", "konten": "konto", "news": "new", "user": "user"} {
		if got := singular(word); got != want {
			t.Errorf("singular(%s) = %s, want %s", word, got, want)
		}
	}
}

// TestHostileNames writes names that would end a line, a comment or a scalar.
func TestHostileNames(t *testing.T) {
	names := []string{"no", "null", "2024", "a: b", "a # b", "\"", "'", "a\nb: {}", "a\u2028b", "- x", "{", "&x", "*x", "!x", "%x", " x", "\t", "\u00e4"}
	s := &Suggestion{}
	for _, name := range names {
		s.Tables = append(s.Tables, &Table{Database: name, Name: name, Owner: name, OwnerWhy: name, Columns: []*Column{{Name: name, Why: []string{name}}}, Notes: []string{name}})
	}
	out := string(s.AppendYAML(nil))
	if got, want := strings.Count(out, "\n"), 1+6*len(names); got != want {
		t.Errorf("%d lines, want %d:\n%s", got, want, out)
	}
	for line := range strings.Lines(out) {
		if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\n\r\t\u2028") {
			t.Errorf("the line %q is several", line)
		}
	}
}

// TestUnknownDatabase is refused: nothing would be suggested for it.
func TestUnknownDatabase(t *testing.T) {
	if _, err := Suggest(&rewrite.Schema{}, Options{Databases: []string{"nowhere"}}); err == nil {
		t.Error("a database that does not exist is accepted")
	}
}
