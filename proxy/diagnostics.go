package proxy

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"latchkey/proxy/wire"
	"latchkey/rewrite"
)

// The client sees one diagnostics area, as on MariaDB. The backend holds it, except for what the backend knows nothing of:
// warnings about values that were converted before they were sealed, and errors of the proxy's own.
// https://mariadb.com/kb/en/diagnostics/

// diagnosis is one warning or note.
type diagnosis struct {
	level   string
	code    uint16
	message string
}

// readDiagnosis reads a row of SHOW WARNINGS.
func readDiagnosis(row [][]byte) (diagnosis, error) {
	if len(row) != 3 {
		return diagnosis{}, errOrigin
	}
	code, err := strconv.ParseUint(string(row[1]), 10, 16)
	if err != nil {
		return diagnosis{}, errOrigin
	}
	return diagnosis{level: string(row[0]), code: uint16(code), message: string(row[2])}, nil
}

// maxErrorCount is the default of max_error_count: how many warnings are kept, and how many rows SHOW WARNINGS has.
const maxErrorCount = 64

// diagnosticsArea is what of the last statement's diagnostics the backend does not hold.
type diagnosticsArea struct {
	// next are those that a statement on its way to the backend has had already.
	next ownWarnings
	// own are those of the last statement. merged says that all of its warnings are in own.list: those of the backend are among
	// them, in their order.
	own    ownWarnings
	merged bool
	// failed is the error with which the last statement ended, where the backend's text or number is another.
	failed *wire.ERR
}

// ownWarnings are warnings that the backend has not given.
type ownWarnings struct {
	list []diagnosis
	// total is how many there were; list has the first of them.
	total int
	// private says that the texts may quote what the backend must not see.
	private bool
	// guards are parts of the texts of warnings that the backend gives in place of some of these, and hidden is how many.
	guards []string
	hidden int
}

// add adds warnings.
func (w *ownWarnings) add(more ...diagnosis) {
	w.total += len(more)
	w.list = append(w.list, more[:min(len(more), max(0, maxErrorCount-len(w.list)))]...)
}

// begin is called when the last statement's diagnostics end: the reply to the next one begins.
func (a *diagnosticsArea) begin() { *a = diagnosticsArea{own: a.next} }

// fails notes an error that the client was told.
func (a *diagnosticsArea) fails(e wire.ERR) { *a = diagnosticsArea{failed: &e} }

// holds tells whether the backend's area alone would be wrong.
func (a *diagnosticsArea) holds() bool { return a.failed != nil || a.own.total > 0 }

// isGuard tells whether a warning of the backend stands for one of these.
func (w *ownWarnings) isGuard(d *diagnosis) bool {
	return d.code == codeConstraint && slices.ContainsFunc(w.guards, func(name string) bool { return strings.Contains(d.message, name) })
}

// failed notes an error that ends a statement in another way than the backend did.
func (x *executor) failed(e wire.ERR) { x.failedAbout(e, ownWarnings{}) }

// failedAbout is failed with all diagnoses of the statement, where there are more than the error. ROW_COUNT() is -1 then.
func (x *executor) failedAbout(e wire.ERR, about ownWarnings) {
	if x.area.fails(e); about.total > 1 {
		x.area = diagnosticsArea{own: about, merged: true}
	}
	x.diagnostics.rowCount, x.diagnostics.sideRan = -1, true
}

// failedPrivately is failed for an error whose text may quote what the backend must not see.
func (x *executor) failedPrivately(e wire.ERR) {
	x.failedAbout(e, ownWarnings{})
	x.area = diagnosticsArea{merged: true, own: ownWarnings{total: 1, private: true,
		list: []diagnosis{{level: levelError, code: e.Code, message: string(e.Message)}}}}
}

// endsWarnings tells whether a statement ends the warnings of the one before it. Those that use no table and do not fail leave
// them. https://mariadb.com/kb/en/show-warnings/
func endsWarnings(plan *rewrite.Plan) bool {
	return plan.Effects&rewrite.Diagnostics == 0 && plan.Kind != "SET" && plan.Kind != "DO"
}

// patchWarnings corrects the number of warnings in the OK or EOF packet that r is at.
func (x *executor) patchWarnings(event wire.Event) error {
	a := &x.area
	if a.own.total == 0 || event == wire.EventColumnsEnd {
		return nil
	}
	p, err := x.reply.Payload()
	if err != nil {
		return err
	}
	if len(p) == 5 && p[0] == 0xfe {
		e, err := wire.ParseEOF(p)
		if err != nil {
			return err
		}
		e.Warnings = a.counted(e.Warnings)
		return x.reply.Replace(e.Append(nil))
	}
	ok, err := wire.ParseOK(p, x.caps)
	if err != nil {
		return err
	}
	ok.Warnings = a.counted(ok.Warnings)
	ok.Info = warningsInfo(ok.Info, ok.Warnings)
	return x.reply.Replace(ok.Append(nil, x.caps))
}

// counted gives the number of all warnings from that of the backend's.
func (a *diagnosticsArea) counted(backend uint16) uint16 {
	return uint16(min(max(0, int(backend)-a.own.hidden)+a.own.total, math.MaxUint16))
}

// warningsInfo writes the number of warnings into the text of an OK packet: Records: 2  Duplicates: 0  Warnings: 1.
func warningsInfo(info []byte, warnings uint16) []byte {
	const label = "Warnings: "
	i := bytes.LastIndex(info, []byte(label))
	if i < 0 {
		return info
	}
	return strconv.AppendUint(bytes.Clone(info[:i+len(label)]), uint64(warnings), 10)
}

// diagnosticWords stand in every statement that reads warnings or errors.
var diagnosticWords = []string{"WARNINGS", "ERRORS", "DIAGNOSTICS", "WARNING_COUNT", "ERROR_COUNT"}

// asksDiagnostics tells whether a statement reads the warnings or errors of the one before it.
func asksDiagnostics(st *rewrite.Statement) bool {
	for i := range st.Tokens() {
		for _, word := range diagnosticWords {
			if strings.EqualFold(strings.Trim(string(st.Text(i)), "`"), word) {
				return true
			}
		}
	}
	return false
}

// errWarnings is for the diagnostics of several warnings that are read one by one.
var errWarnings = newFault(codeNotPossible, "the warnings of the last statement can be read by SHOW WARNINGS only")

// restoreWarnings sees to it that a statement which reads diagnostics reads the right ones. answered says that the client has
// got its reply.
func (x *executor) restoreWarnings(st *rewrite.Statement, plan *rewrite.Plan, binary, more bool) (answered bool, err error) {
	a := &x.area
	if !a.holds() || !asksDiagnostics(st) && (a.failed == nil || !namesWord(st, "ROW_COUNT")) {
		return false, nil
	}
	if a.failed != nil {
		err := x.raise(*a.failed)
		a.failed = nil
		return false, err
	}
	if err := x.mergeWarnings(); err != nil {
		return false, err
	}
	if plan.Kind == "SHOW" && (st.Is(1, rewrite.KwWarnings) || st.Is(1, rewrite.KwErrors)) {
		return true, x.showWarnings(st, st.Is(1, rewrite.KwErrors), binary, more)
	}
	return false, x.recount(st, plan)
}

// raise makes the backend end a statement with an error of the proxy's own, so that it holds it in its diagnostics area.
func (x *executor) raise(e wire.ERR) error {
	state := e.State
	if len(state) != 5 || strings.HasPrefix(state, "00") || strings.HasPrefix(state, "01") || strings.HasPrefix(state, "02") {
		// These are no errors to SIGNAL.
		state = "HY000"
	}
	err := x.sideExec(signal(state, e.Code, e.Message))
	var raised *backendError
	if errors.As(err, &raised) {
		return nil
	}
	return cmp.Or(err, error(errOrigin))
}

// maxSignal is the longest text that SIGNAL takes, in bytes.
const maxSignal = 500

// signal is a statement that ends with an error or a warning. https://mariadb.com/kb/en/signal/
func signal(state string, code uint16, message string) []byte {
	message = message[:min(len(message), maxSignal)]
	return fmt.Appendf(nil, "SIGNAL SQLSTATE '%s' SET MYSQL_ERRNO=%d,MESSAGE_TEXT=_utf8mb4 x'%x'", state, code, strings.ToValidUTF8(message, ""))
}

// mergeWarnings reads the backend's warnings about the last statement and puts them among those of the proxy.
func (x *executor) mergeWarnings() error {
	a := &x.area
	if a.merged {
		return nil
	}
	var all []diagnosis
	err := x.side([]byte("SHOW WARNINGS"), nil, func(values [][]byte) error {
		d, err := readDiagnosis(values)
		if err != nil {
			return err
		}
		if a.own.isGuard(&d) {
			return nil
		}
		if quotesCell([]byte(d.message)) {
			d.message = scrubError(wire.ERR{Code: d.code, Message: d.message}).Message
		}
		all = append(all, d)
		return nil
	})
	if err != nil {
		return err
	}
	total := a.own.total + len(all)
	all = mergeByRow(a.own.list, all)
	a.own = ownWarnings{list: all[:min(len(all), maxErrorCount)], total: total}
	a.merged = true
	return nil
}

// row gives the number at the end of "... at row 3".
func (d *diagnosis) row() int {
	i := strings.LastIndex(d.message, " at row ")
	if i < 0 {
		return 0
	}
	n, err := strconv.Atoi(d.message[i+len(" at row "):])
	if err != nil {
		return 0
	}
	return n
}

// mergeByRow puts two lists about the same rows into one, in the order of the rows. What names no row belongs to the one before
// it, and the error that a statement ended with to its end.
func mergeByRow(own, backend []diagnosis) []diagnosis {
	all := make([]diagnosis, 0, len(own)+len(backend))
	row := 0
	for _, d := range backend {
		if d.level == levelError {
			row = math.MaxInt
		}
		row = cmp.Or(d.row(), row)
		n := 0
		for n < len(own) && own[n].row() <= row {
			n++
		}
		all = append(append(all, own[:n]...), d)
		own = own[n:]
	}
	return append(all, own...)
}

// levelError is the level of errors in SHOW WARNINGS.
const levelError = "Error"

// atRow gives the diagnosis for another row.
func (d diagnosis) atRow(row int) diagnosis {
	if i := strings.LastIndex(d.message, " at row "); i >= 0 {
		d.message = d.message[:i+len(" at row ")] + strconv.Itoa(row)
	}
	return d
}

// showWarnings answers SHOW WARNINGS and SHOW ERRORS [LIMIT [offset,] count]. The columns are the backend's.
func (x *executor) showWarnings(st *rewrite.Statement, errorsOnly, binary, more bool) error {
	offset, count, err := warningsLimit(st)
	if err != nil {
		return err
	}
	var columns []wire.Column
	err = x.side([]byte("SHOW WARNINGS"), func(_ int, d *wire.Column) {
		c := *d
		c.Catalog, c.Schema, c.Table, c.OrgTable = bytes.Clone(d.Catalog), bytes.Clone(d.Schema), bytes.Clone(d.Table), bytes.Clone(d.OrgTable)
		c.Name, c.OrgName, c.Extended = bytes.Clone(d.Name), bytes.Clone(d.OrgName), bytes.Clone(d.Extended)
		columns = append(columns, c)
	}, func([][]byte) error { return nil })
	if err != nil {
		return err
	}
	if len(columns) != 3 {
		return errOrigin
	}
	a := x.answerMore(more)
	if err := a.Columns(columns); err != nil {
		return err
	}
	own := x.area.own.list
	if errorsOnly {
		own = slices.DeleteFunc(slices.Clone(own), func(d diagnosis) bool { return d.level != levelError })
	}
	own = own[min(offset, len(own)):]
	for _, d := range own[:min(count, len(own))] {
		if err := warningRow(a, d, binary); err != nil {
			return err
		}
	}
	if err := a.End(0); err != nil {
		return err
	}
	return x.client.Flush()
}

// warningRow writes one row of SHOW WARNINGS.
func warningRow(a wire.Answer, d diagnosis, inBinary bool) error {
	if !inBinary {
		return a.TextRow([]byte(d.level), strconv.AppendUint(nil, uint64(d.code), 10), []byte(d.message))
	}
	w := &a.To.Writer
	row := wire.StartBinaryRow(w.Start(len(d.message)+32), 3)
	row = wire.AppendLenencString(row, []byte(d.level))
	row = binary.LittleEndian.AppendUint32(row, uint32(d.code))
	return w.Finish(wire.AppendLenencString(row, []byte(d.message)))
}

// warningsLimit reads the LIMIT clause of SHOW WARNINGS.
func warningsLimit(st *rewrite.Statement) (offset, count int, err error) {
	count = maxErrorCount
	var numbers []int
	for i := 2; i < st.Len(); i++ {
		if st.Token(i).Kind != rewrite.TokInteger {
			continue
		}
		n, err := strconv.Atoi(string(st.Text(i)))
		if err != nil {
			n = math.MaxInt
		}
		numbers = append(numbers, n)
	}
	switch {
	case st.Len() == 2:
	case st.Len() == 4 && len(numbers) == 1:
		count = numbers[0]
	case st.Len() == 6 && len(numbers) == 2 && st.IsOp(4, rewrite.OpComma):
		offset, count = numbers[0], numbers[1]
	default:
		return 0, 0, errWarnings
	}
	return offset, count, nil
}

// maxRecounted bounds the work of making the backend count warnings.
const maxRecounted = 1000

// recount makes the backend's area as large as the client's, for statements that count warnings or read the only one.
func (x *executor) recount(st *rewrite.Statement, plan *rewrite.Plan) error {
	own := &x.area.own
	switch {
	case own.total == 1 && len(own.list) == 1:
		return x.signalOnly(own)
	case slices.ContainsFunc(own.list, func(d diagnosis) bool { return d.level == levelError }) && (namesWord(st, "ERRORS") || namesWord(st, "ERROR_COUNT")):
		return errWarnings
	case plan.Kind == "GET" && namesWord(st, "CONDITION"), own.total > maxRecounted:
		return errWarnings
	}
	return x.sideExec([]byte("DO " + strings.Repeat("CAST('a' AS INT),", own.total-1) + "CAST('a' AS INT)"))
}

// signalOnly makes the backend's area hold the only diagnosis of own.
func (x *executor) signalOnly(own *ownWarnings) error {
	d := own.list[0]
	if own.private {
		d.message = withheld(wire.ERR{Code: d.code, Message: d.message}).Message
	}
	if d.level == levelError {
		return x.raise(wire.ERR{Code: d.code, Message: d.message})
	}
	return x.sideExec(signal("01000", d.code, d.message))
}
