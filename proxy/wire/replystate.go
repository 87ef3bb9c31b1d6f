package wire

import "fmt"

// ReplyKind is the form a reply takes, given by the command.
type ReplyKind uint8

// Forms of replies.
const (
	// ReplyNone is no reply at all: COM_QUIT, COM_STMT_CLOSE, COM_STMT_SEND_LONG_DATA.
	ReplyNone ReplyKind = iota
	// ReplyStatus is one OK, EOF or ERR packet.
	ReplyStatus
	// ReplyString is one packet of text, or ERR: COM_STATISTICS.
	ReplyString
	// ReplyQuery is any number of OK packets and resultsets of text rows.
	ReplyQuery
	// ReplyExecute is ReplyQuery with binary rows.
	ReplyExecute
	// ReplyCursor is ReplyExecute to a request that asked for a cursor.
	ReplyCursor
	// ReplyFetch is rows of a cursor without column definitions.
	ReplyFetch
	// ReplyFields is column definitions up to EOF: COM_FIELD_LIST.
	ReplyFields
	// ReplyPrepare is the reply to COM_STMT_PREPARE.
	ReplyPrepare
)

// Event is what one packet of a reply is.
type Event uint8

// Events.
const (
	// EventDone is no packet: the reply is over.
	EventDone Event = iota
	// EventOK is an OK packet that is a result of its own.
	EventOK
	// EventERR ends the reply.
	EventERR
	// EventProgress is a progress report. It may come at any place and changes nothing.
	EventProgress
	// EventString is the text of ReplyString.
	EventString
	// EventColumnCount begins a resultset; its number is in Count.
	EventColumnCount
	// EventColumn is column definition number Index of a resultset, of a prepared statement, or of
	// ReplyFields.
	EventColumn
	// EventColumnsEnd is the EOF packet behind column definitions. There is none when CapDeprecateEOF
	// is set: the definition with Index Count-1 is the last.
	EventColumnsEnd
	// EventRow is row number Index of a resultset.
	EventRow
	// EventResultEnd is the EOF or OK packet behind rows, or the one of ReplyStatus if it has header FE.
	EventResultEnd
	// EventInfile asks the client for the file of LOAD DATA LOCAL.
	EventInfile
	// EventPrepareOK begins ReplyPrepare.
	EventPrepareOK
	// EventParam is the definition of parameter number Index; EventParamsEnd the EOF packet behind them.
	EventParam
	EventParamsEnd
)

var eventNames = [...]string{"done", "OK", "ERR", "progress", "string", "column count", "column definition",
	"end of column definitions", "row", "end of rows", "infile request", "prepare OK",
	"parameter definition", "end of parameter definitions"}

// String names the event.
func (e Event) String() string { return eventNames[e] }

// phase is what the state machine expects next.
type phase uint8

const (
	phaseDone phase = iota
	phaseFirst
	phaseStatus
	phaseString
	phaseColumns
	phaseColumnsEOF
	phaseRows
	phaseFields
	phasePrepare
	phaseParams
	phaseParamsEOF
	phasePrepareColumns
	phasePrepareColumnsEOF
)

// ReplyState follows a reply from packet to packet. It is a pure state machine: what it is told is the
// payload length of each packet and the payload, or its first byte where Whole says so.
type ReplyState struct {
	// Count is the number of columns of the resultset that the last packet belongs to, or of the
	// parameters or columns that it was one of; 0 for ReplyFields.
	Count int
	// Index is the number of the last packet, from 0, among its like: the rows of its resultset, its
	// column definitions, its parameters.
	Index int
	// Status is what the last OK or EOF packet said, 0 before the first.
	Status StatusFlags
	// Failed says that an ERR packet ended the reply.
	Failed bool
	// Prepared is the first packet of ReplyPrepare.
	Prepared PrepareOK

	kind  ReplyKind
	caps  Capabilities
	phase phase
	seen  int // packets like the next one before it
}

// Start begins a reply of this kind on a connection with these capabilities.
func (s *ReplyState) Start(kind ReplyKind, caps Capabilities) {
	*s = ReplyState{kind: kind, caps: caps}
	switch kind {
	case ReplyNone:
		s.phase = phaseDone
	case ReplyStatus:
		s.phase = phaseStatus
	case ReplyString:
		s.phase = phaseString
	case ReplyFetch:
		s.phase = phaseRows
	case ReplyFields:
		s.phase = phaseFields
	case ReplyPrepare:
		s.phase = phasePrepare
	default:
		s.phase = phaseFirst
	}
}

// Done says that the reply is over.
func (s *ReplyState) Done() bool { return s.phase == phaseDone }

// Whole says whether Next needs the whole payload of a packet of this length and first byte: of
// everything but rows.
func (s *ReplyState) Whole(length int, first byte) bool {
	return s.phase != phaseRows || first == headerErr || (first == headerEOF && length < MaxPayload)
}

// Next tells the state machine the next packet. length is the payload length of its first fragment.
// p is the payload if Whole said so and at least its first byte otherwise.
func (s *ReplyState) Next(length int, p []byte) (Event, error) {
	if s.phase == phaseDone {
		return 0, fmt.Errorf("packet behind the end of a reply: %w", ErrMalformed)
	}
	if length == 0 && s.phase != phaseString {
		return 0, malformed("empty packet in a reply")
	}
	if length > 0 && p[0] == headerErr {
		if IsProgress(p) {
			return EventProgress, nil
		}
		s.phase, s.Failed = phaseDone, true
		return EventERR, nil
	}
	switch s.phase {
	case phaseRows:
		return s.row(length, p)
	case phaseFirst:
		return s.first(p)
	case phaseColumns:
		s.count()
		if s.seen == s.Count {
			s.afterColumns()
		}
		return EventColumn, nil
	case phaseColumnsEOF:
		return s.columnsEOF(p)
	case phaseStatus:
		return s.status(p)
	case phaseString:
		s.phase = phaseDone
		return EventString, nil
	case phaseFields:
		if p[0] == headerEOF {
			return s.status(p)
		}
		s.count()
		return EventColumn, nil
	}
	return s.prepare(p)
}

func (s *ReplyState) count() {
	s.Index = s.seen
	s.seen++
}

func (s *ReplyState) deprecateEOF() bool { return s.caps.Has(CapDeprecateEOF) }

func (s *ReplyState) first(p []byte) (Event, error) {
	switch p[0] {
	case headerOK:
		status, err := Status(p, s.caps)
		if err != nil {
			return 0, err
		}
		s.end(status)
		return EventOK, nil
	case headerInfile:
		return EventInfile, nil
	}
	n, size := Lenenc(p)
	// A table has at most 4096 columns, a SELECT no more; 65535 is what the prepare reply can say.
	if size == 0 || size == 9 || size != len(p) || n == 0 || n > 0xffff {
		return 0, malformed("column count")
	}
	s.Count, s.Index, s.seen = int(n), 0, 0
	s.phase = phaseColumns
	return EventColumnCount, nil
}

// end closes one resultset or OK: the reply goes on only if the server says so.
func (s *ReplyState) end(status StatusFlags) {
	s.Status = status
	s.phase = phaseDone
	if status.Has(StatusMoreResults) && s.kind >= ReplyQuery && s.kind <= ReplyCursor {
		s.phase = phaseFirst
	}
}

func (s *ReplyState) afterColumns() {
	s.phase = phaseColumnsEOF
	if s.deprecateEOF() {
		s.startRows()
	}
}

func (s *ReplyState) startRows() {
	s.phase, s.seen = phaseRows, 0
}

func (s *ReplyState) columnsEOF(p []byte) (Event, error) {
	e, err := ParseEOF(p)
	if err != nil {
		return 0, err
	}
	if s.kind == ReplyCursor && e.Status.Has(StatusCursorExists) {
		// The rows wait for COM_STMT_FETCH.
		s.end(e.Status)
		return EventResultEnd, nil
	}
	s.Status = e.Status
	s.startRows()
	return EventColumnsEnd, nil
}

func (s *ReplyState) row(length int, p []byte) (Event, error) {
	if p[0] == headerEOF && length < MaxPayload {
		status, err := Status(p, s.caps)
		if err != nil {
			return 0, err
		}
		s.end(status)
		return EventResultEnd, nil
	}
	if p[0] != headerOK && s.kind != ReplyQuery {
		return 0, malformed("binary row")
	}
	s.count()
	return EventRow, nil
}

func (s *ReplyState) status(p []byte) (Event, error) {
	if p[0] != headerOK && p[0] != headerEOF {
		return 0, malformed("status packet")
	}
	status, err := Status(p, s.caps)
	if err != nil {
		return 0, err
	}
	s.end(status)
	if p[0] == headerEOF {
		return EventResultEnd, nil
	}
	return EventOK, nil
}

func (s *ReplyState) prepare(p []byte) (Event, error) {
	switch s.phase {
	case phasePrepare:
		o, err := ParsePrepareOK(p)
		if err != nil {
			return 0, err
		}
		s.Prepared = o
		s.nextDefinitions(phasePrepare)
		return EventPrepareOK, nil
	case phaseParams, phasePrepareColumns:
		event := EventParam
		if s.phase == phasePrepareColumns {
			event = EventColumn
		}
		s.Count = s.definitions(s.phase)
		s.count()
		if s.seen < s.Count {
			return event, nil
		}
		if s.deprecateEOF() {
			s.nextDefinitions(s.phase)
		} else {
			s.phase++ // to the EOF packet behind these definitions
		}
		return event, nil
	}
	e, err := ParseEOF(p)
	if err != nil {
		return 0, err
	}
	s.Status = e.Status
	event := EventParamsEnd
	if s.phase == phasePrepareColumnsEOF {
		event = EventColumnsEnd
	}
	s.nextDefinitions(s.phase - 1)
	return event, nil
}

// definitions is how many definitions a phase of ReplyPrepare has.
func (s *ReplyState) definitions(p phase) int {
	if p == phaseParams {
		return int(s.Prepared.Params)
	}
	return int(s.Prepared.Columns)
}

// nextDefinitions moves on behind the packet or the definitions of a phase of ReplyPrepare.
func (s *ReplyState) nextDefinitions(behind phase) {
	s.phase, s.seen = phaseDone, 0
	switch {
	case behind == phasePrepare && s.Prepared.Params > 0:
		s.phase = phaseParams
	case behind != phasePrepareColumns && s.Prepared.Columns > 0:
		s.phase = phasePrepareColumns
	}
}
