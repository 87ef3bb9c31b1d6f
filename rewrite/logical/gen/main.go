// Command gen reads character sets, collations and sort weights from a running MariaDB and writes tables.go for package
// logical. Without -dsn it starts a private server. It decides nothing by name: whether a collation's ASCII range has
// contractions or ignorable characters is measured.
package main

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/hex"
	"flag"
	"fmt"
	"go/format"
	"os"
	"sort"
	"strings"

	_ "github.com/go-sql-driver/mysql"

	"latchkey/internal/mariadbserver"
)

func main() {
	dsn := flag.String("dsn", "", "data source name of a MariaDB server; empty starts a private one")
	out := flag.String("o", "tables.go", "file to write")
	flag.Parse()
	if err := run(*dsn, *out); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run(dsn, out string) error {
	if dsn == "" {
		server, err := mariadbserver.Start(context.Background(), mariadbserver.Config{})
		if err != nil {
			return err
		}
		defer server.Stop()
		dsn = "root@tcp(" + server.Addr() + ")/"
	}
	db, err := sql.Open("mysql", dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	db.SetMaxOpenConns(1)
	if _, err := db.Exec("SET NAMES utf8mb4"); err != nil {
		return err
	}
	g := &generator{db: db, index: map[string]int{}, wideIndex: map[string]int{}}
	if err := g.read(); err != nil {
		return err
	}
	src, err := format.Source(g.source())
	if err != nil {
		return err
	}
	return os.WriteFile(out, src, 0o644)
}

type charset struct {
	name   string
	maxLen int
	def    int    // id of the default collation
	runes  []rune // of 8-bit sets: the character of each byte, -1 for none
}

type collation struct {
	id      int
	name    string
	charset string
	def     bool
	pad     bool
	levels  uint8  // bit 0 for the first level of WEIGHT_STRING, and so on; 0 when it is not made of levels
	weights string // Go expression
	wide    int    // number of the table of non-ASCII characters, 0 for none
}

type generator struct {
	db         *sql.DB
	version    string
	charsets   []*charset
	collations []*collation
	tables     []string
	index      map[string]int
	wide       []string
	wideIndex  map[string]int
}

func (g *generator) read() error {
	if err := g.db.QueryRow("SELECT VERSION()").Scan(&g.version); err != nil {
		return err
	}
	if err := g.readCharsets(); err != nil {
		return err
	}
	if err := g.readCollations(); err != nil {
		return err
	}
	for _, c := range g.collations {
		if err := g.readWeights(c); err != nil {
			return fmt.Errorf("weights of %s: %w", c.name, err)
		}
	}
	return nil
}

func (g *generator) readCharsets() error {
	rows, err := g.db.Query("SELECT CHARACTER_SET_NAME, MAXLEN FROM information_schema.CHARACTER_SETS ORDER BY 1")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c := &charset{}
		if err := rows.Scan(&c.name, &c.maxLen); err != nil {
			return err
		}
		g.charsets = append(g.charsets, c)
	}
	if err := rows.Err(); err != nil {
		return err
	}
	for _, c := range g.charsets {
		if c.maxLen != 1 || c.name == "binary" {
			continue
		}
		for b := range 256 {
			var text, back string
			q := fmt.Sprintf("SELECT HEX(CONVERT(_%[1]s x'%02[2]X' USING utf32)), HEX(CONVERT(CONVERT(_%[1]s x'%02[2]X' USING utf32) USING %[1]s))", c.name, b)
			if err := g.db.QueryRow(q).Scan(&text, &back); err != nil {
				// The server refuses a byte that is no character of the set as an argument.
				c.runes = append(c.runes, -1)
				continue
			}
			var r rune
			if _, err := fmt.Sscanf(text, "%X", &r); err != nil {
				return err
			}
			if r == '?' && b != '?' || r == 0xFFFD {
				r = -1
			}
			if back != fmt.Sprintf("%02X", b) {
				r = -1 // a second byte for a character: it would not come back as it went in
			}
			c.runes = append(c.runes, r)
		}
	}
	return nil
}

func (g *generator) readCollations() error {
	rows, err := g.db.Query(`SELECT ID, FULL_COLLATION_NAME, CHARACTER_SET_NAME, IS_DEFAULT
		FROM information_schema.COLLATION_CHARACTER_SET_APPLICABILITY WHERE ID IS NOT NULL ORDER BY ID`)
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		c := &collation{}
		var def string
		if err := rows.Scan(&c.id, &c.name, &c.charset, &def); err != nil {
			return err
		}
		c.def = def == "Yes"
		if c.def {
			for _, set := range g.charsets {
				if set.name == c.charset {
					set.def = c.id
				}
			}
		}
		g.collations = append(g.collations, c)
	}
	return rows.Err()
}

// supported says that package logical converts text of the character set.
func (g *generator) supported(name string) bool {
	switch name {
	case "utf8mb4", "utf8mb3", "ucs2", "utf16", "utf16le", "utf32":
		return true
	}
	for _, c := range g.charsets {
		if c.name == name {
			return c.runes != nil
		}
	}
	return false
}

// deBruijn returns a string over the alphabet in which every sequence of n characters occurs.
func deBruijn(alphabet string, n int) string {
	k := len(alphabet)
	a := make([]int, k*n)
	var out []byte
	var db func(t, p int)
	db = func(t, p int) {
		if t > n {
			if n%p == 0 {
				for _, i := range a[1 : p+1] {
					out = append(out, alphabet[i])
				}
			}
			return
		}
		a[t] = a[t-p]
		db(t+1, p)
		for j := a[t-p] + 1; j < k; j++ {
			a[t] = j
			db(t+1, t)
		}
	}
	db(1, 1)
	return string(out) + string(out[:n-1])
}

// weigh returns WEIGHT_STRING of ASCII text under a collation, of one level or (0) of all.
func (g *generator) weigh(c *collation, text string, level int) (string, error) {
	clause := ""
	if level > 0 {
		clause = fmt.Sprintf(" LEVEL %d", level)
	}
	q := fmt.Sprintf("SELECT HEX(WEIGHT_STRING(CONVERT(_utf8mb4 x'%x' USING %s) COLLATE %s%s))", text, c.charset, c.name, clause)
	var w string
	err := g.db.QueryRow(q).Scan(&w)
	return w, err
}

// readWeights finds out how the collation weighs ASCII text and registers its table.
func (g *generator) readWeights(c *collation) error {
	c.weights = "weightsNone"
	if c.name == "binary" {
		c.weights = "weightsBytes"
		return nil
	}
	if !g.supported(c.charset) {
		return nil
	}
	var padded int
	if err := g.db.QueryRow(fmt.Sprintf("SELECT CONVERT('a' USING %[1]s) COLLATE %[2]s = CONVERT('a ' USING %[1]s)", c.charset, c.name)).Scan(&padded); err != nil {
		return err
	}
	c.pad = padded == 1
	if strings.HasSuffix(c.name, "_bin") {
		c.weights = "weightsBinary"
		return nil
	}
	ascii := make([]byte, 0, 128)
	for b := byte(0); b < 128; b++ {
		var same bool
		q := fmt.Sprintf("SELECT CONVERT(CONVERT(_utf8mb4 x'%02X' USING %s) USING utf8mb4) = _utf8mb4 x'%02X' COLLATE utf8mb4_bin", b, c.charset, b)
		if err := g.db.QueryRow(q).Scan(&same); err != nil {
			return err
		}
		if same {
			ascii = append(ascii, b)
		}
	}
	levels, err := g.levels(c)
	if err != nil || levels == nil {
		return err
	}
	for _, level := range levels {
		c.levels |= 1 << (level - 1)
	}
	t := make([][128]string, len(levels))
	for i, level := range levels {
		for _, b := range ascii {
			if t[i][b], err = g.weigh(c, string(b), level); err != nil {
				return err
			}
		}
	}
	for _, text := range []string{
		deBruijn(string(ascii), 2),
		deBruijn("abcdefghijklmnopqrstuvwxyz", 3),
		deBruijn("ABCDEFGHIJKLMNOPQRSTUVWXYZ", 3),
		deBruijn("cdDghHjJklLnNsSyzZ-'", 3),
	} {
		want := ""
		for i := range levels {
			var b strings.Builder
			for j := range len(text) {
				b.WriteString(t[i][text[j]])
			}
			want += b.String()
		}
		got, err := g.weigh(c, text, 0)
		if err != nil {
			return err
		}
		if got != want {
			return nil // contractions, or weights that depend on the neighbours
		}
	}
	c.weights = fmt.Sprint(g.register(t))
	if len(levels) == 1 && common(c) {
		return g.readWide(c, ascii)
	}
	return nil
}

// common says that a collation is the default of some server or application framework: its table of non-ASCII characters is
// worth its size.
func common(c *collation) bool {
	rest, ok := strings.CutPrefix(c.name, "utf8mb4_")
	if !ok {
		rest, ok = strings.CutPrefix(c.name, "utf8mb3_")
	}
	if !ok {
		return false
	}
	switch strings.Replace(rest, "nopad_", "", 1) {
	case "general_ci", "unicode_ci", "unicode_520_ci", "uca1400_ai_ci":
		return true
	}
	return false
}

// wideRanges are the characters of the tables: Latin-1 Supplement, Latin Extended A and B; Greek, Cyrillic. Combining
// characters are not among them. They must be those of package logical.
var wideRanges = [][2]rune{{0xA0, 0x250}, {0x370, 0x530}}

// readWide finds out how the collation weighs common characters beyond ASCII, and that no two of them, nor one of them and an
// ASCII character, weigh otherwise together.
func (g *generator) readWide(c *collation, ascii []byte) error {
	alone := map[rune]string{}
	var all, wide []rune
	for _, b := range ascii {
		all = append(all, rune(b))
	}
	for _, r := range wideRanges {
		for ch := r[0]; ch < r[1]; ch++ {
			wide = append(wide, ch)
		}
	}
	all = append(all, wide...)
	for _, ch := range all {
		w, err := g.weigh(c, string(ch), 1)
		if err != nil {
			return err
		}
		alone[ch] = w
	}
	for _, first := range all {
		var text, want strings.Builder
		for _, second := range all {
			text.WriteRune(first)
			text.WriteRune(second)
			want.WriteString(alone[first])
			want.WriteString(alone[second])
		}
		got, err := g.weigh(c, text.String(), 1)
		if err != nil {
			return err
		}
		if got != want.String() {
			return nil // contractions: the evaluator weighs
		}
	}
	var ends, weights strings.Builder
	n := 0
	for _, ch := range wide {
		raw, err := hex.DecodeString(alone[ch])
		if err != nil {
			return err
		}
		n += len(raw)
		fmt.Fprintf(&ends, "\\x%02x\\x%02x", byte(n>>8), byte(n))
		for _, x := range raw {
			fmt.Fprintf(&weights, "\\x%02x", x)
		}
	}
	key := fmt.Sprintf("{\"%s\", \"%s\"}", ends.String(), weights.String())
	if _, ok := g.wideIndex[key]; !ok {
		g.wide = append(g.wide, key)
		g.wideIndex[key] = len(g.wide)
	}
	c.wide = g.wideIndex[key]
	return nil
}

// levels returns the levels whose weights WEIGHT_STRING concatenates, nil when it does something else.
func (g *generator) levels(c *collation) ([]int, error) {
	const sample = "Zb5 a"
	var one [4]string
	for level := 1; level <= 3; level++ {
		var err error
		if one[level], err = g.weigh(c, sample, level); err != nil {
			return nil, err
		}
	}
	all, err := g.weigh(c, sample, 0)
	if err != nil {
		return nil, err
	}
	for _, levels := range [][]int{{1}, {1, 2}, {1, 3}, {1, 2, 3}} {
		joined := ""
		for _, level := range levels {
			joined += one[level]
		}
		if joined == all {
			return levels, nil
		}
	}
	return nil, nil
}

// register returns the number of the table (from 1) of the levels, equal tables sharing one number.
func (g *generator) register(levels [][128]string) int {
	var b strings.Builder
	b.WriteString("{")
	for _, level := range levels {
		width := 0
		for _, w := range level {
			width = max(width, len(w)/2)
		}
		fmt.Fprintf(&b, "\n{%d, ", width)
		var data bytes.Buffer
		var none [2]uint64
		for c, w := range level {
			raw, _ := hex.DecodeString(w)
			if len(raw) != width {
				raw = make([]byte, width)
				none[c/64] |= 1 << (c % 64)
			}
			for _, x := range raw {
				fmt.Fprintf(&data, "\\x%02x", x)
			}
		}
		fmt.Fprintf(&b, "\"%s\", [2]uint64{%#x, %#x}},", data.String(), none[0], none[1])
	}
	b.WriteString("\n}")
	key := b.String()
	if n, ok := g.index[key]; ok {
		return n
	}
	g.tables = append(g.tables, key)
	g.index[key] = len(g.tables)
	return len(g.tables)
}

func (g *generator) source() []byte {
	var b bytes.Buffer
	series := strings.Join(strings.SplitN(g.version, ".", 3)[:2], ".")
	fmt.Fprintf(&b, "// Code generated by gen from MariaDB %s; DO NOT EDIT.\n\npackage logical\n\n", series)
	b.WriteString("// charsets are the server's character sets, by name.\nvar charsets = map[string]*charset{\n")
	for _, c := range g.charsets {
		fmt.Fprintf(&b, "%q: {name: %q, maxLen: %d, defaultID: %d", c.name, c.name, c.maxLen, c.def)
		if c.runes != nil {
			b.WriteString(", runes: &[256]rune{")
			for _, r := range c.runes {
				fmt.Fprintf(&b, "%d, ", r)
			}
			b.WriteString("}")
		}
		b.WriteString("},\n")
	}
	b.WriteString("}\n\n// collations are the server's collations, by id.\nvar collations = []collation{\n")
	sort.Slice(g.collations, func(i, j int) bool { return g.collations[i].id < g.collations[j].id })
	for _, c := range g.collations {
		fmt.Fprintf(&b, "{%d, %q, %q, %v, %d, %s, %d},\n", c.id, c.name, c.charset, c.pad, c.levels, c.weights, c.wide)
	}
	b.WriteString("}\n\n// weightTables hold WEIGHT_STRING of each ASCII character, level by level.\nvar weightTables = [][]weightLevel{\n")
	for _, t := range g.tables {
		b.WriteString(t + ",\n")
	}
	b.WriteString("}\n\n// wideTables hold WEIGHT_STRING of the characters of wideRanges.\nvar wideTables = []wideTable{\n")
	for _, t := range g.wide {
		b.WriteString(t + ",\n")
	}
	b.WriteString("}\n")
	return b.Bytes()
}
