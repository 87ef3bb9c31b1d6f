package tables

import (
	"context"
	"crypto/sha256"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"

	"latchkey/keystore"
)

// notesPerStatement bounds how many notes one statement writes or deletes.
const notesPerStatement = 256

// LoadNotes implements keystore.NoteStore. do may be called again for a note when a connection was lost.
func (s *Store) LoadNotes(ctx context.Context, kind string, id *[sha256.Size]byte, do func(keystore.StoredNote) error) error {
	query := "SELECT id, body, mac FROM " + s.table("notes") + " WHERE kind = " + literal(kind)
	if id != nil {
		query += " AND id = " + literal(id[:])
	}
	return s.use(ctx, func(conn *client.Conn) error {
		r, err := conn.Execute(query)
		if err != nil {
			return err
		}
		defer r.Close()
		for _, row := range r.Values {
			n := keystore.StoredNote{Kind: kind, Body: clone(row[1].AsString()), MAC: clone(row[2].AsString())}
			if copy(n.ID[:], row[0].AsString()) != len(n.ID) {
				continue
			}
			if err := do(n); err != nil {
				return err
			}
		}
		return nil
	})
}

// ChangeNotes implements keystore.NoteStore.
func (s *Store) ChangeNotes(ctx context.Context, put, drop []keystore.StoredNote) error {
	statements := s.NoteStatements(put, drop)
	return s.use(ctx, func(conn *client.Conn) error {
		if _, err := conn.Execute("START TRANSACTION"); err != nil {
			return err
		}
		for _, statement := range statements {
			if _, err := conn.Execute(statement); err != nil {
				return s.rollback(conn, err)
			}
		}
		_, err := conn.Execute("COMMIT")
		return err
	})
}

// NotesTable is SQL for the table of the notes, for a caller that changes them in a transaction of its own.
func (s *Store) NotesTable() string { return s.table("notes") }

// NoteStatements are the statements that ChangeNotes runs. Run again they change nothing.
func (s *Store) NoteStatements(put, drop []keystore.StoredNote) []string {
	var all []string
	for ; len(drop) > 0; drop = drop[min(len(drop), notesPerStatement):] {
		var names []string
		for i := range min(len(drop), notesPerStatement) {
			names = append(names, "("+literal(drop[i].Kind)+","+literal(drop[i].ID[:])+")")
		}
		all = append(all, "DELETE FROM "+s.table("notes")+" WHERE (kind, id) IN ("+strings.Join(names, ",")+")")
	}
	for ; len(put) > 0; put = put[min(len(put), notesPerStatement):] {
		var rows []string
		for i := range min(len(put), notesPerStatement) {
			n := &put[i]
			rows = append(rows, "("+literal(n.Kind)+","+literal(n.ID[:])+","+literal(n.Body)+","+literal(n.MAC)+")")
		}
		all = append(all, "REPLACE INTO "+s.table("notes")+" (kind, id, body, mac) VALUES "+strings.Join(rows, ","))
	}
	return all
}
