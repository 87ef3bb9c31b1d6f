package rewrite

import "strings"

// EvaluatorTarget gives what EvaluatorDefinition gives, for a table that a statement writes in the evaluator: with an invisible
// column of the name number, which has the number of each row that is loaded and a greater one for each that comes later, in
// their order, and with the constraints that the statement can break. The errors of those name them as the backend's would.
func EvaluatorTarget(t *Table, loaded []LoadColumn, target *WriteTarget, number string) (string, error) {
	definition, err := EvaluatorDefinition(t, nil, loaded)
	if err != nil {
		return "", err
	}
	return targetDefinition(t, target, number, definition), nil
}

// EvaluatorInto is EvaluatorTarget for a table to which a statement adds rows. Without meets it has no keys, and a column that
// the backend counts is one that may be NULL; with meets it counts by itself, and has the unique keys.
func EvaluatorInto(t *Table, target *WriteTarget, number string, meets bool) (string, error) {
	left := func(c *Column) bool { return c.Generated || c.computesDefault() || c.AutoIncrement && !meets }
	definition, _, err := evaluatorDefinition(t, nil, nil, meets, left)
	if err != nil {
		return "", err
	}
	definition = targetDefinition(t, target, number, definition)
	if meets {
		// With a column of varying length the engine compares rows column by column, as InnoDB does, and not the bytes under NULL.
		definition = "(" + quoteName(number+" text") + " VARCHAR(1) INVISIBLE," + strings.TrimPrefix(definition, "(")
	}
	return definition, nil
}

// targetDefinition puts the number of the rows and the constraints in front of the columns.
func targetDefinition(t *Table, target *WriteTarget, number, definition string) string {
	var b strings.Builder
	b.WriteString("(" + quoteName(number) + " BIGINT UNSIGNED NOT NULL DEFAULT (UUID_SHORT()) INVISIBLE,KEY (" + quoteName(number) + "),")
	for _, constraint := range target.Constraints {
		name := constraint.Name
		if constraint.OfColumn {
			name = t.Name + "." + name
		}
		b.WriteString("CONSTRAINT " + quoteName(name) + " CHECK (" + constraint.Expression + "),")
	}
	return b.String() + strings.TrimPrefix(definition, "(")
}
