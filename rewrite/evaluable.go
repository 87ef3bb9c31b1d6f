package rewrite

import (
	"strings"

	"github.com/pingcap/tidb/pkg/parser/ast"
)

// The gate before the evaluator, which has no grants of its own: only what stands here reaches it. It looks at tokens, not
// at the syntax tree, so that a construct which the grammar at hand reads otherwise than the server cannot slip through.

// funcKind says what a function of MariaDB may be used for.
type funcKind uint8

const (
	// funcPure: the value depends on the arguments and on what the session mirror copies. It may be computed on either side.
	funcPure funcKind = iota + 1
	// funcClock: reads the statement's clock, which both sides share.
	funcClock
	// funcSession: tells about the client's account or connection. The backend computes it as it is; for the evaluator its value is
	// written in its place.
	funcSession
	// funcState: says what the statement before this one did. Its value is written in its place, and no fetch computes it.
	funcState
	// funcLocal: fit for the evaluator, but never part of a condition that narrows a fetch: a value of its own at every call,
	// or one that only the statement as a whole has.
	funcLocal
)

// functions are the names that may stand before a parenthesis, by https://mariadb.com/kb/en/built-in-functions/. Functions
// that read files, wait, lock, or tell about the server or the account are not among them.
var functions = makeFunctions(map[funcKind]string{
	funcPure: `abs acos adddate addtime aes_decrypt aes_encrypt ascii asin atan atan2 bin bit_count bit_length cast ceil
		ceiling char char_length character_length charset chr coalesce coercibility collation compress concat concat_ws conv
		convert convert_tz cos cot crc32 crc32c date date_add date_format date_sub datediff day dayname dayofmonth dayofweek
		dayofyear decode_histogram degrees elt exp export_set extract extractvalue field find_in_set floor format
		format_pico_time from_base64 from_days get_format greatest hex hour if ifnull inet6_aton inet6_ntoa inet_aton
		inet_ntoa insert instr interval is_ipv4 is_ipv4_compat is_ipv4_mapped is_ipv6 isnull json_array json_array_append
		json_array_insert json_compact json_contains json_contains_path json_depth json_detailed json_equals json_exists
		json_extract json_insert json_keys json_length json_loose json_merge json_merge_patch json_merge_preserve
		json_normalize json_object json_overlaps json_pretty json_query json_quote json_remove json_replace json_search
		json_set json_type json_unquote json_valid json_value last_day lcase least left length lengthb ln locate log log10
		log2 lower lpad ltrim make_set makedate maketime md5 microsecond mid minute mod month monthname name_const
		natural_sort_key nullif nvl nvl2 oct octet_length ord period_add period_diff pi position pow power quarter quote
		radians regexp_instr regexp_replace regexp_substr repeat replace reverse right round rpad rtrim sec_to_time second
		sformat sha sha1 sha2 sign sin soundex space sqrt str_to_date strcmp subdate substr substring substring_index subtime
		tan time time_format time_to_sec timediff timestamp timestampadd timestampdiff to_base64 to_char to_days to_seconds
		trim truncate ucase uncompress uncompressed_length unhex updatexml upper week weekday weekofyear weight_string year
		yearweek`,
	funcClock: `now curdate current_date curtime current_time current_timestamp localtime localtimestamp utc_date utc_time
		utc_timestamp unix_timestamp from_unixtime`,
	funcSession: `user session_user system_user current_user current_role version connection_id`,
	funcState:   `found_rows row_count`,
	funcLocal: `rand uuid uuid_short sys_guid sysdate random_bytes values value default database schema
		count sum avg min max std stddev stddev_pop stddev_samp var_pop var_samp variance bit_and bit_or bit_xor group_concat
		json_arrayagg json_objectagg row_number rank dense_rank percent_rank cume_dist ntile lag lead first_value last_value
		nth_value median percentile_cont percentile_disc json_table`,
})

func makeFunctions(kinds map[funcKind]string) map[string]funcKind {
	all := map[string]funcKind{}
	for kind, names := range kinds {
		for name := range strings.FieldsSeq(names) {
			all[name] = kind
		}
	}
	return all
}

// opensList are the words that may stand before a parenthesis without being a function.
var opensList = makeWords(`all and any as between binary both by case decimal dec numeric fixed distinct div double else
	exists except float for from group having in index inner intersect is join key like limit not nchar on or
	order outer over partition regexp rlike row select set signed some straight_join then union unsigned using when where
	window with xor cross natural lateral datetime char varchar integer int distinctrow escape collate offset rows unbounded
	sounds separator within columns`)

func makeWords(words string) map[string]bool {
	all := map[string]bool{}
	for w := range strings.FieldsSeq(words) {
		all[w] = true
	}
	return all
}

// clockWords read the clock without parentheses.
var clockWords = makeWords("current_date current_time current_timestamp localtime localtimestamp utc_date utc_time utc_timestamp")

// accountWords tell about the account without parentheses.
var accountWords = makeWords("current_user current_role")

// evaluable holds a statement against the gate and notes in r what it reads of the session.
func (b *builder) evaluable(r *ResidualPlan) error {
	for i := range b.st.Tokens() {
		t := b.st.Token(i)
		switch {
		case t.Kind == TokSysVar:
			if err := b.readsSystem(i, r); err != nil {
				return err
			}
		case t.Kind == TokUserVar:
			if b.st.IsOp(i+1, OpAssign) && !b.setsVariables() {
				return notUnderstood("a user variable is assigned in a statement that writes over protected columns", "set it in a statement of its own")
			}
			r.addVariable(b.st.Name(i))
		case t.Kind == TokOp && t.Op() == OpAssign && b.st.Token(i-1).Kind != TokUserVar:
			return notUnderstood("an assignment in a statement that computes over protected columns", "set user variables with @name := value")
		case t.IsIdentifier():
			if err := b.evaluableName(i, r); err != nil {
				return err
			}
		}
	}
	return nil
}

// setsVariables reports whether the statement is one of those in which user variables may be assigned.
func (b *builder) setsVariables() bool {
	switch b.parsed.Node.(type) {
	case *ast.SelectStmt, *ast.SetOprStmt, *ast.SetStmt:
		return true
	}
	return false
}

func (r *ResidualPlan) addVariable(name string) {
	for _, v := range r.Variables {
		if FoldVariable(v) == FoldVariable(name) {
			return
		}
	}
	r.Variables = append(r.Variables, name)
}

// evaluableName judges one word of the statement.
func (b *builder) evaluableName(i int, r *ResidualPlan) error {
	name := FoldName(b.st.Name(i))
	quoted := b.st.Token(i).Kind == TokQuoted
	unknown := notUnderstood("a function that statements over protected columns cannot use", "see docs/compatibility.md; compute it in the application")
	if !b.st.IsOp(i+1, OpLeftParen) {
		switch {
		case quoted:
		case clockWords[name]:
			r.Clock = true
		case b.st.Is(i, KwSqlCalcFoundRows):
			r.FoundRows = true
		case accountWords[name] && !b.st.IsOp(i-1, OpDot):
			r.Session = append(r.Session, SessionRead{From: i, To: i, Ask: strings.ToUpper(name) + "()"})
		case (b.st.Is(i, KwNext) || b.st.Is(i, KwPrevious)) && b.st.Is(i+1, KwValue):
			return unknown
		}
		return nil
	}
	if b.listName(i) || b.insertedName(i) {
		return nil
	}
	if b.st.IsOp(i-1, OpDot) || b.p.touch.functions[foldTouch(name)] || quoted {
		return notUnderstood("a stored function in a statement that computes over protected columns", "compute it in the application")
	}
	if b.mirroredID(i) {
		return nil
	}
	switch functions[name] {
	case funcSession, funcState:
		if b.st.Match(i+1) != i+2 {
			return unknown
		}
		r.Session = append(r.Session, SessionRead{From: i, To: i + 2, Ask: strings.ToUpper(name) + "()"})
		return nil
	case funcClock:
		r.Clock = true
		return nil
	case funcPure, funcLocal:
		return nil
	}
	if opensList[name] {
		return nil
	}
	return unknown
}

// listName reports whether the word names a common table expression with its columns: `name (a, b) AS (`.
func (b *builder) listName(i int) bool {
	end := b.st.Match(i + 1)
	return end >= 0 && b.st.Is(end+1, KwAs) && b.st.IsOp(end+2, OpLeftParen) && functions[FoldName(b.st.Name(i))] == 0
}

// insertedName reports whether the word names the table of an INSERT, before its columns.
func (b *builder) insertedName(i int) bool {
	s, ok := b.parsed.Node.(*ast.InsertStmt)
	if !ok {
		return false
	}
	name, ok := insertedTable(s)
	if !ok {
		return false
	}
	from, to := b.insertInto()
	return to == i && (from == to) == (name.Schema.O == "") && foldTouch(b.st.Name(i)) == foldTouch(name.Name.O)
}

// mirroredID reports whether the word reads LAST_INSERT_ID() in a query or an INSERT: the evaluator's session then has the
// client's. With an argument it sets the value.
func (b *builder) mirroredID(i int) bool {
	_, query := b.parsed.Node.(ast.ResultSetNode)
	insert, _ := b.parsed.Node.(*ast.InsertStmt)
	if (!query && insert == nil) || FoldName(b.st.Name(i)) != "last_insert_id" {
		return false
	}
	if insert != nil {
		if at := b.lastOnDuplicate(insert); at >= 0 && i > at {
			return true // the planner of the INSERT judges the argument
		}
	}
	return b.st.IsOp(i+2, OpRightParen)
}

// readsSystem notes `@@name`, `@@scope.name` and `@@scope.name.part` at a token.
func (b *builder) readsSystem(i int, r *ResidualPlan) error {
	to := i + 1
	for b.st.IsOp(to+1, OpDot) && to < i+5 {
		to += 2
	}
	ask := "@@"
	for k := i + 1; k <= to; k += 2 {
		name := b.st.Name(k)
		if !b.st.Token(k).IsIdentifier() || !wordName(name) || !asciiName(name) {
			return notUnderstood("a system variable whose name is not understood", "read it with a SELECT of its own")
		}
		if k > i+1 {
			ask += "."
		}
		ask += name
	}
	if b.st.IsOp(to+1, OpAssign) || b.st.IsOp(to+1, OpDot) {
		return notUnderstood("a system variable is assigned in a statement that computes over protected columns", "set it with SET")
	}
	r.Session = append(r.Session, SessionRead{From: i, To: to, Ask: ask})
	return nil
}
