package logical

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"latchkey/internal/mariadbtest"
)

// seed makes a failing value reproducible.
const seed = 20240131

// setting is a session under which the differential tests run.
type setting struct {
	name    string
	setup   []string
	session Session
}

func location(t *testing.T) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation(systemZone)
	if err != nil {
		t.Fatalf("time zone of the test: %v", err)
	}
	return zone
}

func strictSession(t *testing.T) Session {
	return Session{ClientCharset: "utf8mb4", ConnectionCharset: "utf8mb4", ResultsCharset: "utf8mb4", TimeZone: location(t), Strict: true}
}

// stored is a value that Canonical accepted, with the row that the server has of it.
type stored struct {
	sql       string
	canonical []byte
}

// compareStored holds AppendText and AppendBinary against what the server sends for the rows of table, in order of id.
func compareStored(t *testing.T, s *session, typ *Type, accepted []stored, under *Session) {
	t.Helper()
	text := s.rows("SELECT v FROM t ORDER BY id")
	binary := s.binaryRows("SELECT v FROM t ORDER BY id")
	if len(text) != len(accepted) || len(binary) != len(accepted) {
		t.Fatalf("%d text and %d binary rows, want %d", len(text), len(binary), len(accepted))
	}
	for i, a := range accepted {
		got, err := typ.AppendText(nil, a.canonical, under)
		if err != nil || !bytes.Equal(got, text[i]) {
			t.Errorf("%.80s: text %.80q (%v), the server sends %.80q", a.sql, got, err, text[i])
		}
		got, err = typ.AppendBinary(nil, a.canonical, under)
		if err != nil || !bytes.Equal(got, binary[i]) {
			t.Errorf("%.80s: binary %.80x (%v), the server sends %.80x", a.sql, got, err, binary[i])
		}
	}
}

// judge compares one outcome of Canonical with the server's and reports whether the value was accepted by both.
func judge(t *testing.T, what string, err error, code uint16, state string, warnings int) bool {
	t.Helper()
	var refusal *ValueError
	switch {
	case errors.Is(err, ErrNotPlain):
	case errors.As(err, &refusal):
		if code != refusal.Code || state != refusal.SQLState {
			t.Errorf("%.120s: refused with %d (%s), the server says %d (%s)", what, refusal.Code, refusal.SQLState, code, state)
		}
	case err != nil:
		t.Errorf("%.120s: %v", what, err)
	case code != 0:
		t.Errorf("%.120s: accepted, the server refuses with %d (%s)", what, code, state)
	case warnings != 0:
		t.Errorf("%.120s: accepted, the server gives %d warnings", what, warnings)
	default:
		return true
	}
	return false
}

func TestLiteralsAreStoredAsTheServerStoresThem(t *testing.T) {
	s := newSession(t)
	under := strictSession(t)
	for _, c := range typeCases {
		t.Run(c.def, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			testLiterals(t, s, c.def, c.samples(r), &under)
		})
	}
}

// testLiterals inserts every sample and compares outcome and stored value.
func testLiterals(t *testing.T, s *session, def string, samples []sample, under *Session) {
	typ, err := Options{}.Parse(def)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	createTable(s, def)
	s.exec("BEGIN")
	var accepted []stored
	unsure := 0
	for _, sample := range samples {
		canonical, err := typ.Canonical(nil, sample.in, under)
		if errors.Is(err, ErrNotPlain) {
			unsure++
			continue
		}
		result, execErr := s.Execute("INSERT INTO t (v) VALUES (" + sample.sql + ")")
		code, state := serverError(t, execErr)
		warnings := 0
		if execErr == nil {
			warnings = int(result.Warnings)
		}
		if judge(t, sample.sql, err, code, state, warnings) {
			accepted = append(accepted, stored{sample.sql, canonical})
		} else if execErr == nil {
			s.exec("DELETE FROM t ORDER BY id DESC LIMIT 1")
		}
		if err == nil && len(canonical) > typ.MaxCanonical() {
			t.Errorf("%.80s: %d bytes of canonical text, MaxCanonical says %d", sample.sql, len(canonical), typ.MaxCanonical())
		}
	}
	s.exec("COMMIT")
	compareStored(t, s, typ, accepted, under)
	t.Logf("%d literals, %d stored, %d%% not plain", len(samples), len(accepted), 100*unsure/len(samples))
}

// createTable makes table t with the column v; columns without a charset of their own get the package's default.
func createTable(s *session, def string) {
	s.t.Helper()
	s.exec("SET NAMES utf8mb4")
	defer s.exec(s.setup...)
	s.exec("CREATE OR REPLACE TEMPORARY TABLE t (id INT AUTO_INCREMENT PRIMARY KEY, v " + def + ") DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci")
}

func TestParametersAreStoredAsTheServerStoresThem(t *testing.T) {
	s := newSession(t)
	under := strictSession(t)
	for _, c := range typeCases {
		t.Run(c.def, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 2))
			testParameters(t, s, c.def, wireSamples(r, c.samples(r)), &under)
		})
	}
}

func testParameters(t *testing.T, s *session, def string, params []wireParam, under *Session) {
	typ, err := Parse(def)
	if err != nil {
		t.Fatalf("Parse: %v", err)
	}
	createTable(s, def)
	insert, err := s.Prepare("INSERT INTO t (v) VALUES (?)")
	if err != nil {
		t.Fatalf("prepare: %v", err)
	}
	defer insert.Close()
	s.exec("BEGIN")
	var accepted []stored
	unsure := 0
	for _, p := range params {
		what := fmt.Sprintf("type %d unsigned %v %.40s", p.typ, p.unsigned, hex.EncodeToString(p.raw))
		in, err := FromWire(p.typ, p.unsigned, p.raw)
		var canonical []byte
		if err == nil {
			canonical, err = typ.Canonical(nil, in, under)
		}
		if errors.Is(err, ErrNotPlain) {
			unsure++
			continue
		}
		warnings, execErr := s.executeRaw(insert.ID, p)
		code, state := serverError(t, execErr)
		if judge(t, what, err, code, state, warnings) {
			accepted = append(accepted, stored{what, canonical})
		} else if execErr == nil {
			s.exec("DELETE FROM t ORDER BY id DESC LIMIT 1")
		}
	}
	s.exec("COMMIT")
	compareStored(t, s, typ, accepted, under)
	t.Logf("%d parameters, %d stored, %d%% not plain", len(params), len(accepted), 100*unsure/len(params))
}

func TestSessionsChangeConversions(t *testing.T) {
	base := strictSession(t)
	settings := []setting{
		{"latin1", []string{"SET NAMES latin1"}, base},
		{"utf8mb3", []string{"SET NAMES utf8mb3"}, base},
		{"connection charset latin1", []string{"SET character_set_connection=latin1"}, base},
		{"results NULL", []string{"SET character_set_results=NULL"}, base},
		{"results binary", []string{"SET character_set_results=binary"}, base},
		{"results ucs2", []string{"SET character_set_results=ucs2"}, base},
		{"results cp1251", []string{"SET character_set_results=cp1251"}, base},
		{"zero dates refused", []string{"SET sql_mode='STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE'"}, base},
		{"invalid dates allowed", []string{"SET sql_mode='STRICT_ALL_TABLES,ALLOW_INVALID_DATES'"}, base},
		{"char padded", []string{"SET sql_mode='STRICT_ALL_TABLES,PAD_CHAR_TO_FULL_LENGTH'"}, base},
		{"fractions rounded", []string{"SET sql_mode='STRICT_ALL_TABLES,TIME_ROUND_FRACTIONAL'"}, base},
		{"not strict", []string{"SET sql_mode=''"}, base},
		{"offset", []string{"SET time_zone='-05:30'"}, base},
	}
	for i := range settings {
		under := &settings[i].session
		switch settings[i].name {
		case "latin1":
			under.ClientCharset, under.ConnectionCharset, under.ResultsCharset = "latin1", "latin1", "latin1"
		case "utf8mb3":
			under.ClientCharset, under.ConnectionCharset, under.ResultsCharset = "utf8mb3", "utf8mb3", "utf8mb3"
		case "connection charset latin1":
			under.ConnectionCharset = "latin1"
		case "results NULL":
			under.ResultsCharset = ""
		case "results binary":
			under.ResultsCharset = "binary"
		case "results ucs2":
			under.ResultsCharset = "ucs2"
		case "results cp1251":
			under.ResultsCharset = "cp1251"
		case "zero dates refused":
			under.NoZeroDate, under.NoZeroInDate = true, true
		case "invalid dates allowed":
			under.AllowInvalidDates = true
		case "char padded":
			under.PadCharToFullLength = true
		case "fractions rounded":
			under.TimeRoundFractional = true
		case "not strict":
			under.Strict = false
		case "offset":
			under.TimeZone = time.FixedZone("", -(5*3600 + 1800))
		}
	}
	defs := []typeCase{{"char(10)", textSamples}, {"varchar(10)", textSamples}, {"varchar(10) character set latin1", textSamples}, {"varchar(10) character set cp1251", textSamples}, {"text", textSamples}, {"varbinary(10)", textSamples},
		{"json", jsonSamples}, {"int", numberSamples}, {"decimal(12,2)", numberSamples}, {"double", numberSamples}, {"date", temporalSamples}, {"datetime(3)", temporalSamples}, {"timestamp(3) null", temporalSamples}, {"time(3)", temporalSamples}, {"year", temporalSamples}, {"bit(10)", bitSamples},
		{"enum('a','Bcd','é','3','it''s')", memberSamples}, {"set('a','Bcd','é','3','it''s')", memberSamples}, {"uuid", addressSamples}, {"inet6", addressSamples}}
	for _, set := range settings {
		t.Run(set.name, func(t *testing.T) {
			s := newSession(t, set.setup...)
			for _, c := range defs {
				typ, err := Parse(c.def)
				if err != nil {
					t.Fatal(err)
				}
				if set.name == "results ucs2" && !typ.textual() && typ.Family() != FamilyUUID && typ.Family() != FamilyBinary && typ.Family() != FamilyBit {
					if out, err := typ.AppendText(nil, nil, &set.session); !errors.Is(err, ErrNotPlain) && typ.Family() != FamilyINET6 {
						t.Errorf("%s as ucs2: %q (%v), want ErrNotPlain", c.def, out, err)
					}
					continue
				}
				t.Run(c.def, func(t *testing.T) {
					r := rand.New(rand.NewPCG(seed, 3))
					samples := c.samples(r)
					r.Shuffle(len(samples), func(i, j int) { samples[i], samples[j] = samples[j], samples[i] })
					testLiterals(t, s, c.def, samples[:min(len(samples), 150)], &set.session)
				})
			}
		})
	}
}

func TestDefinitionsAreTheServers(t *testing.T) {
	s := newSession(t)
	s.exec("SET sql_mode=''")
	defs := []string{"char(0)", "char(255) character set utf8mb3", "varchar(0)", "varchar(16000)", "tinytext character set utf16", "longtext character set latin1", "varchar(5) collate utf8mb4_nopad_bin", "varchar(5) character set latin1 collate latin1_general_cs",
		"binary(0)", "varbinary(300)", "decimal(65,38)", "decimal(1,0) unsigned", "decimal(38,38)", "float(10,0)", "int(255)", "bigint(3) zerofill", "enum('')", "set('','b')", "enum('漢字','a') character set utf8mb3", "time(6)", "timestamp(1) null", "long varchar", "bit(9)", "text character set ucs2"}
	for _, c := range typeCases {
		defs = append(defs, c.def)
	}
	for _, def := range defs {
		typ, err := Parse(def)
		if err != nil {
			t.Errorf("%s: %v", def, err)
			continue
		}
		createTable(s, def)
		for _, results := range []string{"utf8mb4", "latin1", "utf8mb3", "ucs2", "cp1251", "binary", "NULL"} {
			s.exec("SET character_set_results=" + results)
			result, err := s.Execute("SELECT v FROM t")
			if err != nil {
				t.Fatalf("%s: %v", def, err)
			}
			f := result.Fields[0]
			got := typ.Definition(&Session{ResultsCharset: strings.TrimPrefix(results, "NULL")})
			got.ExtType, got.ExtFormat = "", ""
			want := Definition{Type: f.Type, Charset: f.Charset, Length: f.ColumnLength, Flags: f.Flag, Decimals: f.Decimal}
			if got != want {
				t.Errorf("%s in %s: %+v, the server sends %+v", def, results, got, want)
			}
		}
	}
	typ, _ := Parse("text")
	createTable(s, "text")
	s.exec("SET NAMES utf8mb4 COLLATE utf8mb4_unicode_ci")
	result, err := s.Execute("SELECT v FROM t")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := typ.Definition(&Session{ResultsCharset: "utf8mb4", ResultsCollation: 224}).Charset, result.Fields[0].Charset; got != want {
		t.Errorf("collation of results %d, the server sends %d", got, want)
	}
}

func TestExtendedMetadataIsTheServers(t *testing.T) {
	server := mariadbtest.Shared(t)
	database := server.NewDatabase(t)
	for _, def := range []string{"uuid", "inet4", "inet6", "json", "int", "longtext", "varchar(5)", "point"} {
		var want Definition
		want.ExtType, want.ExtFormat = extendedMetadata(t, server.Addr(), database, "CREATE TEMPORARY TABLE t (v "+def+") DEFAULT CHARSET utf8mb4", "SELECT v FROM t")
		if def == "point" {
			if want.ExtType != "point" {
				t.Errorf("the server names no type of a POINT, so this test reads its answer wrongly")
			}
			continue
		}
		typ, err := Parse(def)
		if err != nil {
			t.Fatalf("%s: %v", def, err)
		}
		got := typ.Definition(&Session{ResultsCharset: "utf8mb4"})
		if got.ExtType != want.ExtType || got.ExtFormat != want.ExtFormat {
			t.Errorf("%s: type %q, format %q, the server sends %q, %q", def, got.ExtType, got.ExtFormat, want.ExtType, want.ExtFormat)
		}
	}
}

func TestDeclarationsAreTheServers(t *testing.T) {
	s := newSession(t)
	for _, c := range declarations {
		s.exec("CREATE OR REPLACE TEMPORARY TABLE t (`a``b` " + c + ") DEFAULT CHARSET utf8mb4 COLLATE utf8mb4_general_ci")
		typ, err := Parse(c)
		if err != nil {
			t.Errorf("%s: %v", c, err)
			continue
		}
		result, err := s.Execute("SHOW CREATE TABLE t")
		if err != nil {
			t.Fatal(err)
		}
		shown, _ := result.GetString(0, 1)
		_, line, _ := strings.Cut(shown, "`a``b` ")
		line, _, _ = strings.Cut(line, "\n")
		line = strings.TrimSuffix(line, ",")
		got, err := typ.Declaration("a`b", "utf8mb4_general_ci", &Session{ResultsCharset: "utf8mb4", TimeZone: time.UTC})
		if err != nil || got != line {
			t.Errorf("%s:\n got %s (%v)\nwant %s", c, got, err, line)
		}
		result, err = s.Execute("SHOW COLUMNS FROM t")
		if err != nil {
			t.Fatal(err)
		}
		if want, _ := result.GetString(0, 1); typ.ColumnType() != want {
			t.Errorf("%s: column type %s, want %s", c, typ.ColumnType(), want)
		}
		again, err := Parse(line)
		if err != nil {
			t.Errorf("%s: Parse of what the server shows: %v", line, err)
		} else if again.String() != typ.String() && typ.Kind != KindFloat { // the server shows six digits of a FLOAT
			t.Errorf("%s: parsed again %s, want %s", line, again, typ)
		}
	}
}

func TestOperandsMeetTheRowsThatTheServerFinds(t *testing.T) {
	s := newSession(t)
	under := strictSession(t)
	for _, c := range typeCases {
		t.Run(c.def, func(t *testing.T) {
			typ, err := Parse(c.def)
			if err != nil {
				t.Fatal(err)
			}
			r := rand.New(rand.NewPCG(seed, 4))
			testOperands(t, s, typ, c.def, c.samples(r), &under)
		})
	}
}

// testOperands stores values and compares the rows that Weights and Operand find with the server's answer to v = operand.
func testOperands(t *testing.T, s *session, typ *Type, def string, samples []sample, under *Session) {
	createTable(s, def)
	s.exec("BEGIN")
	var weights [][]byte
	for _, sample := range samples {
		canonical, err := typ.Canonical(nil, sample.in, under)
		if err != nil {
			continue
		}
		w, err := typ.Weights(nil, canonical)
		if err != nil {
			continue
		}
		s.exec("INSERT INTO t (id, v) VALUES (" + fmt.Sprint(len(weights)+1) + "," + sample.sql + ")")
		weights = append(weights, w)
	}
	s.exec("COMMIT")
	unsure, never, found := 0, 0, 0
	for _, sample := range samples {
		operand, match, err := typ.Operand(nil, sample.in, under)
		var want []byte
		if err == nil && match == MatchValue {
			want, err = typ.Weights(nil, operand)
		}
		if errors.Is(err, ErrNotPlain) {
			unsure++
			continue
		}
		if err != nil {
			t.Fatalf("%.80s: %v", sample.sql, err)
		}
		var ids []string
		for i, w := range weights {
			if match == MatchValue && bytes.Equal(w, want) {
				ids = append(ids, fmt.Sprint(i+1))
			}
		}
		var server []string
		for _, id := range s.rows("SELECT id FROM t WHERE v = " + sample.sql + " ORDER BY id") {
			server = append(server, string(id))
		}
		if strings.Join(ids, ",") != strings.Join(server, ",") {
			t.Errorf("v = %.80s (match %d): rows %.60v, the server finds %.60v", sample.sql, match, ids, server)
		}
		switch {
		case match == MatchNever:
			never++
		case len(ids) > 0:
			found++
		}
	}
	if typ.Searchable() == nil && found == 0 {
		t.Errorf("no operand found a row")
	}
	t.Logf("%d rows, %d operands: %d found rows, %d never match, %d%% not plain", len(weights), len(samples), found, never, 100*unsure/len(samples))
}

func TestWeightsAgreeWithEveryCollation(t *testing.T) {
	s := newSession(t)
	r := rand.New(rand.NewPCG(seed, 5))
	tables := map[int]bool{}
	for i := range collations {
		c := &collations[i]
		if c.weights == weightsNone || c.name == "binary" {
			continue
		}
		// Collations that share a table of weights share the rule; of those one in every character set is enough.
		key := c.weights*1000 + int(charsets[c.charset].maxLen)*2 + boolIndex(c.pad)
		if c.weights > 0 && tables[key] {
			continue
		}
		tables[key] = true
		typ, err := Parse("varchar(12) collate " + c.name)
		if err != nil {
			t.Fatalf("%s: %v", c.name, err)
		}
		compareCollation(t, s, typ, r)
	}
	t.Logf("%d collations", len(tables))
}

// compareCollation stores random ASCII texts and compares the pairs that the server's join finds with equal weights.
func compareCollation(t *testing.T, s *session, typ *Type, r *rand.Rand) {
	t.Helper()
	alphabets := []string{"aAbB \t", "sSzZkKiI ", "-_ '.\x1f\n", "oO0lL1 ", "\x01\x7f[]{}^~`@ a"}
	s.exec("CREATE OR REPLACE TEMPORARY TABLE t (id INT PRIMARY KEY, v VARCHAR(12) COLLATE " + typ.Collation + ") ENGINE=MEMORY")
	insert := "INSERT INTO t VALUES "
	var weights [][]byte
	for len(weights) < 120 {
		alphabet := alphabets[r.IntN(len(alphabets))]
		text := make([]byte, r.IntN(5))
		for i := range text {
			text[i] = alphabet[r.IntN(len(alphabet))]
		}
		w, err := typ.Weights(nil, text)
		if err != nil {
			if r.IntN(3) > 0 {
				continue
			}
			w = nil
		}
		if err != nil || typ.cs.encodedLen(text) < 0 {
			continue
		}
		if len(weights) > 0 {
			insert += ","
		}
		weights = append(weights, append([]byte{}, w...))
		insert += fmt.Sprintf("(%d,%s)", len(weights), quote(text))
	}
	s.exec(insert)
	var want []string
	for i := range weights {
		for j := range weights {
			if i < j && bytes.Equal(weights[i], weights[j]) {
				want = append(want, fmt.Sprintf("%d-%d", i+1, j+1))
			}
		}
	}
	var got []string
	for _, pair := range s.rows("SELECT CONCAT(a.id,'-',b.id) FROM t a JOIN t b ON a.v = b.v AND a.id < b.id ORDER BY a.id, b.id") {
		got = append(got, string(pair))
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("%s: the server finds %d equal pairs, the weights %d", typ.Collation, len(got), len(want))
	}
}
