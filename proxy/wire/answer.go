package wire

// Answer writes replies that the backend never sees. Everything is collected in the client's Writer,
// with the sequence ids that Writer.Seq says, and goes out when the caller flushes it.
type Answer struct {
	To *Conn
	// Caps are the client's capabilities.
	Caps Capabilities
	// Status goes into every OK and EOF packet.
	Status StatusFlags
}

// OK writes an OK packet.
func (a Answer) OK(affected, lastInsertID uint64, warnings uint16) error {
	w := &a.To.Writer
	o := OK{AffectedRows: affected, LastInsertID: lastInsertID, Status: a.Status, Warnings: warnings}
	return w.Finish(o.Append(w.Start(32), a.Caps))
}

// ERR writes an ERR packet.
func (a Answer) ERR(e ERR) error {
	w := &a.To.Writer
	return w.Finish(e.Append(w.Start(16 + len(e.Message))))
}

// Columns begins a resultset. The rows follow, by TextRow or BinaryRow, and then End.
func (a Answer) Columns(columns []Column) error {
	w := &a.To.Writer
	if err := w.Finish(AppendLenenc(w.Start(9), uint64(len(columns)))); err != nil {
		return err
	}
	if err := a.definitions(columns); err != nil || a.Caps.Has(CapDeprecateEOF) {
		return err
	}
	return a.eof()
}

func (a Answer) definitions(columns []Column) error {
	w := &a.To.Writer
	for i := range columns {
		if err := w.Finish(columns[i].Append(w.Start(128), a.Caps)); err != nil {
			return err
		}
	}
	return nil
}

func (a Answer) eof() error {
	w := &a.To.Writer
	return w.Finish(EOF{Status: a.Status}.Append(w.Start(5)))
}

// TextRow writes one text row; nil is NULL.
func (a Answer) TextRow(values ...[]byte) error {
	w := &a.To.Writer
	dst := w.Start(rowSize(values))
	for _, v := range values {
		dst = AppendTextValue(dst, v, v == nil)
	}
	return w.Finish(dst)
}

// BinaryRow writes one binary row of columns whose types are sent as length-encoded strings; nil is
// NULL. Values of other types have to be encoded by the caller, see StartBinaryRow.
func (a Answer) BinaryRow(values ...[]byte) error {
	w := &a.To.Writer
	dst := w.Start(rowSize(values))
	start := len(dst)
	dst = StartBinaryRow(dst, len(values))
	for i, v := range values {
		if v == nil {
			SetBinaryNull(dst[start:], i)
			continue
		}
		dst = AppendLenencString(dst, v)
	}
	return w.Finish(dst)
}

func rowSize(values [][]byte) int {
	n := 2 + len(values)/8
	for _, v := range values {
		n += 9 + len(v)
	}
	return n
}

// End ends a resultset.
func (a Answer) End(warnings uint16) error {
	w := &a.To.Writer
	if a.Caps.Has(CapDeprecateEOF) {
		return w.Finish(OK{EOF: true, Status: a.Status, Warnings: warnings}.Append(w.Start(16), a.Caps))
	}
	return w.Finish(EOF{Warnings: warnings, Status: a.Status}.Append(w.Start(5)))
}

// Prepared writes the whole reply to COM_STMT_PREPARE.
func (a Answer) Prepared(statement uint32, params int, columns []Column) error {
	w := &a.To.Writer
	o := PrepareOK{Statement: statement, Columns: uint16(len(columns)), Params: uint16(params)}
	if err := w.Finish(o.Append(w.Start(prepareOKSize))); err != nil {
		return err
	}
	for range params {
		if err := w.Finish(ParamDefinition(w.Start(32), a.Caps)); err != nil {
			return err
		}
	}
	old := !a.Caps.Has(CapDeprecateEOF)
	if params > 0 && old {
		if err := a.eof(); err != nil {
			return err
		}
	}
	if err := a.definitions(columns); err != nil || len(columns) == 0 || !old {
		return err
	}
	return a.eof()
}
