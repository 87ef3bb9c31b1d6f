package wire

// TrackType is the kind of one piece of session state information.
// https://mariadb.com/kb/en/ok_packet/#session-state-info
type TrackType uint8

// Kinds of session state information.
const (
	TrackSystemVariable TrackType = iota
	TrackSchema
	TrackStateChange
	TrackGTIDs
	TrackTransactionCharacteristics
	TrackTransactionState
)

// Tracks walks the session state information of an OK packet:
//
//	for t := (wire.Tracks{Rest: ok.Track}); t.Next(); {
//		...
//	}
type Tracks struct {
	// Rest is what has not been walked yet. It belongs to the OK packet.
	Rest []byte
	// Type is the kind of the current piece.
	Type TrackType
	// Name is the system variable's name; empty for the other kinds.
	Name []byte
	// Value is the system variable's value, the name of the schema (empty when none is selected), or
	// the piece as it is.
	Value []byte
	// Err is why the walk ended early, nil if it did not.
	Err error

	variables []byte // more variables of the piece that is being walked
}

// Next moves to the next piece.
func (t *Tracks) Next() bool {
	if t.Err != nil {
		return false
	}
	if len(t.variables) > 0 {
		return t.variable()
	}
	if len(t.Rest) == 0 {
		return false
	}
	c := cursor{p: t.Rest}
	t.Type = TrackType(c.uint8())
	data := c.lenencString()
	t.Rest = t.Rest[c.pos:]
	t.Name, t.Value = nil, data
	switch {
	case c.failed:
		return t.fail()
	case t.Type == TrackSystemVariable:
		t.variables = data
		if len(data) == 0 {
			return t.fail()
		}
		return t.variable()
	case t.Type == TrackSchema:
		d := cursor{p: data}
		t.Value = d.lenencString()
		if d.failed || d.left() > 0 {
			return t.fail()
		}
	}
	return true
}

func (t *Tracks) variable() bool {
	c := cursor{p: t.variables}
	t.Name = c.lenencString()
	t.Value = c.lenencString()
	if c.failed {
		return t.fail()
	}
	t.variables = t.variables[c.pos:]
	return true
}

func (t *Tracks) fail() bool {
	t.Err = malformed("session state information")
	return false
}
