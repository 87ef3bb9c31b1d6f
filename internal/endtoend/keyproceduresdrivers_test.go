package endtoend

import (
	"bufio"
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
)

// talker starts a program and gives its input and the lines of its output. The program ends with its input.
func talker(t *testing.T, s side, name string, args ...string) (io.Writer, *bufio.Scanner) {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env = s.env()
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if filepath.Base(name) == "mariadb" {
		// Errors belong between the results.
		cmd.Stderr = cmd.Stdout
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		// With --force the exit code of the command line client says that some statement failed, which is wanted.
		if err := cmd.Wait(); err != nil && cmd.Stderr == &stderr || stderr.Len() > 0 {
			t.Errorf("%s: %v\n%s", name, err, stderr.String())
		}
	})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	return in, lines
}

// procedureProgram serves requests by a program of testdata/drivers.
func procedureProgram(t *testing.T, s side, name string, args ...string) func(procedureRequest) procedureAnswer {
	t.Helper()
	in, lines := talker(t, s, name, args...)
	return func(r procedureRequest) (a procedureAnswer) {
		if _, err := io.WriteString(in, strings.Join(append([]string{r.how, r.sql}, r.args...), "\t")+"\n"); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			fields := strings.Split(lines.Text(), "\t")
			switch fields[0] {
			case "columns":
				a.results = append(a.results, procedureResult{columns: fields[1:]})
			case "row":
				last := &a.results[len(a.results)-1]
				last.rows = append(last.rows, fields[1:])
			case "ok":
				a.results = append(a.results, procedureResult{})
			case "error":
				a.code, a.state, a.message = fields[1], fields[2], fields[3]
			case "end":
				return a
			default:
				t.Fatalf("%s says %q", name, lines.Text())
			}
		}
		t.Fatalf("%s ended: %v", name, lines.Err())
		return a
	}
}

func phpProcedures(mode string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		return procedureProgram(t, s, "php", "-d", "display_errors=stderr", filepath.Join(driversDir, "php/procedures.php"), mode)
	}
}

func pythonProcedures(mode string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		return procedureProgram(t, s, "/usr/bin/python3", filepath.Join(driversDir, "python/procedures.py"), mode)
	}
}

func nodeProcedures(mode string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		return procedureProgram(t, s, "node", filepath.Join(nodeDir(t), "procedures.js"), mode)
	}
}

var builtProceduresC, builtProceduresJava built

func connectorCProcedures(mode string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		return procedureProgram(t, s, buildProceduresC(t), mode)
	}
}

// connectorCCursors serves through Connector/C with cursors asked for: behind the rows of each procedure comes an OK, as from a
// procedure of MariaDB's own. It is taken out of the answers.
func connectorCCursors(t *testing.T, s side) func(procedureRequest) procedureAnswer {
	serve := connectorCProcedures("cursor")(t, s)
	return func(r procedureRequest) procedureAnswer {
		a := serve(r)
		if !strings.HasPrefix(r.sql, "CALL ") || r.how == "text" || a.code != "" {
			return a
		}
		var rows []procedureResult
		for i, result := range a.results {
			if last := i%2 == 1; last != (len(result.columns) == 0) || !last && i+1 == len(a.results) {
				t.Errorf("%s: the results are %+v, want rows and an OK", r.sql, a.results)
			} else if !last {
				rows = append(rows, result)
			}
		}
		a.results = rows
		return a
	}
}

func buildProceduresC(t *testing.T) string {
	t.Helper()
	return builtProceduresC.get(t, func(dir string) (string, error) {
		flags, err := exec.Command("mariadb_config", "--cflags", "--libs").Output()
		if err != nil {
			return "", fmt.Errorf("mariadb_config: %w", err)
		}
		path := filepath.Join(dir, "procedures")
		args := append([]string{"-std=gnu11", "-Wall", "-Wextra", "-Werror", "-o", path, filepath.Join(driversDir, "c/procedures.c")}, strings.Fields(string(flags))...)
		if out, err := exec.Command("gcc", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("gcc: %w\n%s", err, out)
		}
		return path, nil
	})
}

func javaProcedures(parameters string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		dir := builtProceduresJava.get(t, func(dir string) (string, error) {
			if out, err := exec.Command("javac", "-encoding", "UTF-8", "-d", dir, filepath.Join(driversDir, "java/Procedures.java")).CombinedOutput(); err != nil {
				return "", fmt.Errorf("javac: %w\n%s", err, out)
			}
			return dir, nil
		})
		return procedureProgram(t, s, "java", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-cp", dir+":"+connectorJ, "Procedures", parameters)
	}
}

// goProcedures serves through go-sql-driver/mysql; params is appended to the DSN.
func goProcedures(params string) func(*testing.T, side) func(procedureRequest) procedureAnswer {
	return func(t *testing.T, s side) func(procedureRequest) procedureAnswer {
		t.Helper()
		conn := loginConn(t, s.addr, s.database, s.b.user, s.b.password, "?multiStatements=true"+params)
		return func(r procedureRequest) (a procedureAnswer) {
			err := goProcedure(conn, r, &a)
			var server *mysql.MySQLError
			switch {
			case errors.As(err, &server):
				a.code, a.state, a.message = strconv.Itoa(int(server.Number)), string(server.SQLState[:]), server.Message
			case err != nil:
				t.Fatal(err)
			}
			return a
		}
	}
}

func goProcedure(conn *sql.Conn, r procedureRequest, a *procedureAnswer) error {
	ctx := context.Background()
	var args []any
	for _, arg := range r.args {
		if arg == `\N` {
			args = append(args, nil)
		} else {
			args = append(args, arg)
		}
	}
	if r.how != "twice" {
		return a.readRows(conn.QueryContext(ctx, r.sql, args...))
	}
	prepared, err := conn.PrepareContext(ctx, r.sql)
	if err != nil {
		return err
	}
	defer prepared.Close()
	for range 2 {
		if err := a.readRows(prepared.QueryContext(ctx, args...)); err != nil {
			return err
		}
	}
	return nil
}

func (a *procedureAnswer) readRows(rows *sql.Rows, err error) error {
	if err != nil {
		return err
	}
	defer rows.Close()
	for {
		names, err := rows.Columns()
		if err != nil {
			return err
		}
		result := procedureResult{columns: names}
		for rows.Next() {
			values, targets := make([]string, len(names)), make([]any, len(names))
			for i := range values {
				targets[i] = &values[i]
			}
			if err := rows.Scan(targets...); err != nil {
				return err
			}
			result.rows = append(result.rows, values)
		}
		if err := rows.Err(); err != nil {
			return err
		}
		a.results = append(a.results, result)
		if !rows.NextResultSet() {
			return rows.Err()
		}
	}
}

var (
	commandLineRow   = regexp.MustCompile(`^\*+ (\d+)\. row \*+$`)
	commandLineState = regexp.MustCompile(`^ERROR (\d+) \((\w{5})\) at line \d+: (.*)$`)
)

// commandLineProcedures serves through the mariadb command line client, which shows a value a line.
func commandLineProcedures(t *testing.T, s side) func(procedureRequest) procedureAnswer {
	t.Helper()
	login := filepath.Join(t.TempDir(), "login.cnf")
	quoted := strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s.b.password)
	if err := os.WriteFile(login, fmt.Appendf(nil, "[client]\nuser=%s\npassword=\"%s\"\n", s.b.user, quoted), 0o600); err != nil {
		t.Fatal(err)
	}
	host, port, _ := strings.Cut(s.addr, ":")
	in, lines := talker(t, s, "mariadb", "--defaults-file="+login, "--host="+host, "--port="+port, "--default-character-set=utf8mb4", "--batch", "--vertical",
		"--unbuffered", "--force", s.database)
	return func(r procedureRequest) (a procedureAnswer) {
		statements := r.sql + ";\nSELECT 'end' AS `#end`;\n"
		if r.how == "several" {
			// One packet: the client itself would send each statement in its own.
			statements = "DELIMITER //\n" + r.sql + "//\nDELIMITER ;\nSELECT 'end' AS `#end`;\n"
		}
		if _, err := io.WriteString(in, statements); err != nil {
			t.Fatal(err)
		}
		var result *procedureResult
		for lines.Scan() {
			line := lines.Text()
			if strings.TrimSpace(line) == "#end: end" {
				// The row that this is the only value of.
				a.results = a.results[:len(a.results)-1]
				return a
			}
			if m := commandLineRow.FindStringSubmatch(line); m != nil {
				if m[1] == "1" {
					a.results = append(a.results, procedureResult{})
				}
				result = &a.results[len(a.results)-1]
				result.rows = append(result.rows, nil)
			} else if m := commandLineState.FindStringSubmatch(line); m != nil {
				a.code, a.state, a.message = m[1], m[2], m[3]
			} else if name, value, found := strings.Cut(strings.TrimLeft(line, " "), ": "); found && result != nil {
				if !slices.Contains(result.columns, name) {
					result.columns = append(result.columns, name)
				}
				last := &result.rows[len(result.rows)-1]
				*last = append(*last, value)
			}
		}
		t.Fatalf("mariadb ended: %v", lines.Err())
		return a
	}
}
