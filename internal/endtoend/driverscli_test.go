package endtoend

import (
	"bytes"
	"database/sql"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// commandLine holds a conversation through the mariadb command line client: arguments are written into the statements.
func commandLine(t *testing.T, s side, files []string) string {
	t.Helper()
	login := filepath.Join(t.TempDir(), "login.cnf")
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.b.password)
	if err := os.WriteFile(login, fmt.Appendf(nil, "[client]\nuser=%s\npassword=\"%s\"\n", s.b.user, quoted), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(s.addr, ":")
	cmd := exec.Command("mariadb", "--defaults-file="+login, "--host="+host, "--port="+port, "--default-character-set=utf8mb4", "--batch", "--skip-column-names",
		"--unbuffered", "--force", s.database)
	steps := readSteps(t, files)
	var script, output bytes.Buffer
	for i, step := range steps {
		fmt.Fprintf(&script, "SELECT '#step %d';\n%s", i, step.script(t, s))
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &script, &output, &output
	// With --force the exit code says only that some statement failed, which the conversation wants.
	_ = cmd.Run()
	return commandLineReport(t, steps, output.String())
}

// script gives a step's statements, each of those that answer no rows followed by a question for the count.
func (step driverStep) script(t *testing.T, s side) string {
	t.Helper()
	count := "SELECT CONCAT('#affected=', ROW_COUNT());\n"
	if step.verb == "insert" {
		count = "SELECT CONCAT('#affected=', ROW_COUNT(), ' id=', LAST_INSERT_ID());\n"
	}
	if strings.HasPrefix(step.stmt, "SET ") {
		// ROW_COUNT() after a push is that of the statement before it: the backend hears nothing of a push.
		count = "SELECT '#affected=0';\n"
	}
	switch step.verb {
	case "begin", "commit", "rollback":
		return step.verb + ";\nSELECT '#done';\n"
	case "batch":
		head, _, _ := strings.Cut(step.stmt, "VALUES ")
		var lists []string
		for _, set := range step.sets {
			lists = append(lists, "("+strings.Join(literals(t, s, set), ", ")+")")
		}
		return head + "VALUES " + strings.Join(lists, ",\n") + ";\nSELECT '#done';\n"
	}
	sets := step.sets
	if len(sets) == 0 {
		sets = [][]string{nil}
	}
	var text strings.Builder
	for _, set := range sets {
		parts := strings.Split(step.stmt, "?")
		for i, literal := range literals(t, s, set) {
			parts[i] += literal
		}
		text.WriteString(strings.Join(parts, "") + ";\n")
		if !returnsRows(step.stmt) {
			text.WriteString(count)
		}
	}
	return text.String()
}

func literals(t *testing.T, s side, set []string) []string {
	t.Helper()
	var all []string
	for _, field := range set {
		kind, value, _ := strings.Cut(field, ":")
		switch kind {
		case "n":
			value = "NULL"
		case "b":
			value = "x'" + value + "'"
		case "k":
			value = "'" + s.key(value) + "'"
		case "s", "d", "t", "l":
			if kind == "l" {
				times, err := strconv.Atoi(value)
				if err != nil {
					t.Fatal(err)
				}
				value = strings.Repeat(largeLine, times)
			}
			value = "'" + strings.NewReplacer(`\`, `\\`, "'", "''").Replace(value) + "'"
		}
		all = append(all, value)
	}
	return all
}

var commandLineError = regexp.MustCompile(`^ERROR (\d+) `)

// commandLineReport turns the client's output into a report.
func commandLineReport(t *testing.T, steps []driverStep, output string) string {
	t.Helper()
	var report strings.Builder
	var lines []string
	var names []string
	current, failed := -1, false
	end := func() {
		for _, line := range lines {
			report.WriteString(line + "\n")
		}
		lines, failed = nil, false
	}
	for line := range strings.Lines(output) {
		line = strings.TrimSuffix(line, "\n")
		if number, ok := strings.CutPrefix(line, "#step "); ok {
			end()
			current, _ = strconv.Atoi(number)
			names = selected(steps[current].stmt)
			continue
		}
		if current < 0 {
			t.Fatalf("the client says %q", line)
		}
		label := steps[current].label
		switch found := commandLineError.FindStringSubmatch(line); {
		case line == "--------------" || line == "" || failed:
		case found != nil:
			// Rows before the error are no answer.
			lines, failed = []string{label + "\terror=" + found[1]}, true
		case strings.HasPrefix(line, "#"):
			lines = append(lines, label+"\t"+line[1:])
		default:
			row := label
			for i, field := range strings.Split(line, "\t") {
				name := ""
				if i < len(names) {
					name = names[i]
				}
				row += "\t" + commandLineValue(name, field)
			}
			lines = append(lines, row)
		}
	}
	end()
	return report.String()
}

// selected gives the columns of a SELECT as the conversation writes them.
func selected(stmt string) []string {
	list, _, _ := strings.Cut(strings.TrimPrefix(stmt, "SELECT "), " FROM ")
	if list == "*" {
		list = "id, user_id, title, tag, body, amount, day, at, stars, ratio, data"
	}
	return strings.Split(list, ", ")
}

func commandLineValue(name, field string) string {
	if field == "NULL" {
		return showValue(name, sql.NullString{})
	}
	field = strings.NewReplacer(`\\`, `\`, `\n`, "\n", `\t`, "\t", `\0`, "\x00").Replace(field)
	return showValue(name, sql.NullString{String: field, Valid: true})
}
