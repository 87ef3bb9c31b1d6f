package rewrite

import "strings"

// EvaluatorTarget gives what EvaluatorDefinition gives, for a table that a statement writes in the evaluator: with an invisible
// column of the name number, which numbers the rows from 1 in the order in which they are loaded, and with the constraints that
// the statement can break. The errors of those name them as the backend's would.
func EvaluatorTarget(t *Table, loaded []LoadColumn, target *WriteTarget, number string) (string, error) {
	definition, err := EvaluatorDefinition(t, nil, loaded)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString("(" + quoteName(number) + " INT UNSIGNED NOT NULL AUTO_INCREMENT INVISIBLE UNIQUE KEY,")
	for _, constraint := range target.Constraints {
		name := constraint.Name
		if constraint.OfColumn {
			name = t.Name + "." + name
		}
		b.WriteString("CONSTRAINT " + quoteName(name) + " CHECK (" + constraint.Expression + "),")
	}
	return b.String() + strings.TrimPrefix(definition, "("), nil
}
