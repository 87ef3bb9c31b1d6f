package rewrite

import "strings"

// PlaintextCondition is SQL that is true where a column in the mixed state holds plaintext, marked or bare, the empty value
// included, false where it holds a cell, and NULL for NULL. It is made of ranges, which an index serves. column is SQL for the
// column.
func PlaintextCondition(column string) string {
	return strings.ReplaceAll("(@<x'FF4C4B' OR @>=x'FF4C4B70' AND @<x'FF4C4B71' OR @>=x'FF4C4C')", "@", column)
}

// sealable refuses to write a column that has a conflict, or whose new value could be there already as plaintext where a UNIQUE
// key allows it once.
func sealable(p *Protected) error {
	if p.Conflict != nil {
		return p.Conflict
	}
	if p.PlaintextUnique {
		return notPossible(p, "it is in a UNIQUE key and may hold plaintext, which the database cannot compare with cells",
			"convert the rows with `latchkey migrate` and take `plaintext: accept` out of the policy")
	}
	return nil
}
