package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/internal/export"
	"latchkey/keystore"
	"latchkey/proxy"
	"latchkey/rewrite"
)

// exportFlags are the flags of export.
type exportFlags struct {
	config, owner, keyFile, format, out string
}

func newExport() *cobra.Command {
	var flags exportFlags
	cmd := &cobra.Command{
		Use:   "export --config FILE --owner ID --key-file FILE --out DIR",
		Short: "Write one owner's rows, opened, into files",
		Long: `Opens the rows of one owner with that owner's key and writes them into a new
directory: a file for each table of the policy that has an owner column, or a foreign key
to such a table, as CSV or JSON, and export.json, which says what is in them and what was
left out. All tables are read at one moment, with Latchkey's own account; nothing is changed.

Every value is exact: text as MariaDB writes it, TIMESTAMP in UTC, bytes as base64, and
NULL told from the empty text (in CSV it is the only value without quotes). A row
that the key does not open ends the export with an error, and nothing is left.

The key file holds the owner's account key, or a token. Files are readable by their
owner alone and are never written over.`,
		Example: `  latchkey export --config /etc/latchkey/latchkey.yaml --owner 7 --key-file ada.key --format json --out ada`,
		Args:    usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			format := export.Format(flags.format)
			if format != export.CSV && format != export.JSON {
				return usageError{fmt.Errorf("--format must be %s or %s", export.CSV, export.JSON)}
			}
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runExport(ctx, &flags, cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	addConfigFlag(cmd, &flags.config)
	set := cmd.Flags()
	set.StringVar(&flags.owner, "owner", "", "the owner's `ID`, as the owner columns hold it")
	set.StringVar(&flags.keyFile, "key-file", "", "a `FILE` with the owner's account key or token")
	set.StringVar(&flags.format, "format", string(export.CSV), "csv or json")
	set.StringVar(&flags.out, "out", "", "the `DIR`ectory to write into")
	for _, name := range []string{"owner", "key-file", "out"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic("internal error: " + err.Error())
		}
	}
	return cmd
}

func runExport(ctx context.Context, flags *exportFlags, stdout, stderr io.Writer) (err error) {
	config, err := loadConfig(flags.config)
	if err != nil {
		return err
	}
	guardMemory(slog.New(slog.DiscardHandler))
	key, err := readPush(flags.keyFile)
	if err != nil {
		return err
	}
	defer clear(key)
	local, err := startLocal(config, stderr)
	if err != nil {
		return err
	}
	defer local.stop()
	x := &exporter{flags: flags, stdout: stdout, stderr: stderr}
	if x.snapshot, err = local.service.currentSchema(); err != nil {
		return fmt.Errorf("read the schema of %s: %w", config.Backend.Address, err)
	}
	if x.conn, err = local.connect(); err != nil {
		return err
	}
	defer x.conn.Close()
	defer context.AfterFunc(ctx, func() { _ = x.conn.Conn.Conn.Close() })()
	if err := x.begin(key); err != nil {
		return err
	}
	if x.dir, err = export.Create(flags.out, export.Format(flags.format)); err != nil {
		return err
	}
	if err := x.all(); err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return errors.Join(err, x.dir.Discard())
	}
	return nil
}

// readPush reads a key or token as it is pushed. The caller wipes it.
func readPush(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open key file: %w", err)
	}
	defer file.Close()
	const most = 1024
	text, err := io.ReadAll(io.LimitReader(file, most+1))
	if err != nil {
		clear(text)
		return nil, fmt.Errorf("read key file: %w", err)
	}
	trimmed := bytes.TrimSpace(text)
	if len(text) > most || !keystore.LooksLikeKey(trimmed) && !keystore.LooksLikeToken(trimmed) || bytes.ContainsAny(trimmed, "'\\\x00") {
		clear(text)
		return nil, fmt.Errorf("key file %s holds neither an account key nor a token", path)
	}
	return trimmed, nil
}

// localProxy is a proxy inside this process that serves this process alone.
type localProxy struct {
	service *service
	address string
	stop    func()
}

// startLocal runs a proxy on a free port of this machine. What a reader without a key gets is always an error: what stands in place
// of a value must not be taken for it.
func startLocal(config *configs.Config, stderr io.Writer) (*localProxy, error) {
	own := *config
	own.Listen.ListenConfig = proxy.ListenConfig{}
	own.Accounts, own.KeyringIdle = nil, 0
	own.Policy = withoutMasks(config.Policy)
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelError, ReplaceAttr: redact}))
	s, err := newService(&own, log)
	if err != nil {
		return nil, err
	}
	listener, err := new(net.ListenConfig).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		s.close()
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var workers sync.WaitGroup
	workers.Go(func() { _ = s.schema.Run(ctx) })
	workers.Go(func() { _ = s.server.Serve(listener) })
	return &localProxy{service: s, address: listener.Addr().String(), stop: func() {
		_ = s.server.Close()
		cancel()
		workers.Wait()
		s.close()
	}}, nil
}

// withoutMasks copies a policy without its option `locked`.
func withoutMasks(p *rewrite.Policy) *rewrite.Policy {
	next := &rewrite.Policy{Databases: make(map[string]map[string]*rewrite.TablePolicy)}
	for database, tables := range p.Databases {
		next.Databases[database] = make(map[string]*rewrite.TablePolicy)
		for name, table := range tables {
			t := *table
			t.Columns = make(map[string]*rewrite.ColumnPolicy)
			for column, policy := range table.Columns {
				c := *policy
				c.Locked = rewrite.Locked{}
				t.Columns[column] = &c
			}
			next.Databases[database][name] = &t
		}
	}
	return next
}

// connect logs in as the proxy's own account.
func (p *localProxy) connect() (*client.Conn, error) {
	schema, err := schemaConfig(p.service.config, nil, p.service.log)
	if err != nil {
		return nil, err
	}
	password, err := schema.Password()
	if err != nil {
		return nil, err
	}
	conn, err := client.Connect(p.address, schema.User, password, "")
	if err != nil {
		return nil, fmt.Errorf("connect as %s: %w", schema.User, err)
	}
	return conn, nil
}

// exporter writes one owner's rows.
type exporter struct {
	flags          *exportFlags
	stdout, stderr io.Writer
	snapshot       *proxy.Snapshot
	conn           *client.Conn
	dir            *export.Dir
	manifest       export.Manifest
}

// begin makes the session read one moment of the data, exactly.
func (x *exporter) begin(key []byte) error {
	push := slices.Concat([]byte("SET @latchkey = '"), key, []byte("'"))
	defer clear(push)
	if _, err := x.conn.Execute(string(push)); err != nil {
		return fmt.Errorf("unlock: %w", err)
	}
	for _, statement := range []string{
		"SET NAMES utf8mb4", "SET SESSION time_zone = '+00:00', sql_mode = 'NO_BACKSLASH_ESCAPES', max_statement_time = 0",
		"SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY",
	} {
		if _, err := x.conn.Execute(statement); err != nil {
			return fmt.Errorf("set up the session: %w", err)
		}
	}
	return nil
}

// all writes every table of the policy.
func (x *exporter) all() error {
	x.manifest = export.Manifest{
		Owner: x.flags.owner, Format: export.Format(x.flags.format), Time: time.Now().UTC().Format(time.RFC3339), Tables: []export.Table{}, LeftOut: []string{},
	}
	for _, t := range ownedTables(x.snapshot.Schema) {
		name := t.Database + "." + t.Name
		table, err := x.table(t)
		if errors.Is(err, errNobody) {
			reason := name + ": " + err.Error()
			x.manifest.LeftOut = append(x.manifest.LeftOut, reason)
			if _, err := fmt.Fprintf(x.stderr, "left out: %s\n", reason); err != nil {
				return err
			}
			continue
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		x.manifest.Tables = append(x.manifest.Tables, table)
		if _, err := fmt.Fprintf(x.stdout, "%s: %d rows in %s\n", name, table.Rows, table.File); err != nil {
			return err
		}
	}
	return x.dir.Finish(x.manifest)
}

// ownedTables are the tables that have an owner column or protected columns, in order.
func ownedTables(schema *rewrite.Schema) []*rewrite.Table {
	var all []*rewrite.Table
	for _, tables := range schema.Databases {
		for _, t := range tables {
			if t.Kind == rewrite.BaseTable && (t.Owner != "" || t.Protects) {
				all = append(all, t)
			}
		}
	}
	slices.SortFunc(all, func(a, b *rewrite.Table) int {
		return strings.Compare(a.Database+"\x00"+a.Name, b.Database+"\x00"+b.Name)
	})
	return all
}

// exportColumn is one column of a table that is read.
type exportColumn struct {
	export.Column
	// single: a FLOAT, whose text in a result has fewer digits than the value.
	single bool
}

// table writes the owner's rows of one table.
func (x *exporter) table(t *rewrite.Table) (export.Table, error) {
	condition, wanted, err := belonging(x.snapshot.Schema, t, x.flags.owner, 0)
	if err != nil {
		return export.Table{}, err
	}
	columns := exportColumns(t)
	owner := slices.IndexFunc(columns, func(c exportColumn) bool { return rewrite.FoldName(c.Name) == rewrite.FoldName(t.Owner) })
	query := exportQuery(t, columns, condition)
	var out *export.Writer
	begin := func(result *mysql.Result) error {
		described := make([]export.Column, len(columns))
		for i := range columns {
			field := result.Fields[i]
			columns[i].Binary = isBinary(field)
			described[i] = columns[i].Column
			// The values as the server wrote them: a number read and written again may be another text.
			field.Type = mysql.MYSQL_TYPE_STRING
		}
		out, err = x.dir.NewTable(t.Database, t.Name, described)
		return err
	}
	values := make([][]byte, len(columns))
	row := func(fields []mysql.FieldValue) error {
		for i := range fields {
			values[i] = nil
			if fields[i].Type == mysql.FieldValueTypeNull {
				continue
			}
			if values[i] = fields[i].AsString(); values[i] == nil {
				values[i] = []byte{}
			}
			if columns[i].single {
				if values[i], err = shortestFloat(values[i]); err != nil {
					return err
				}
			}
		}
		// The server may find more equal than the same text, such as one with spaces behind it.
		if wanted != nil && !wanted(string(values[owner])) {
			return nil
		}
		return out.Row(values)
	}
	var result mysql.Result
	err = x.conn.ExecuteSelectStreaming(query, &result, row, begin)
	if out == nil {
		return export.Table{}, err
	}
	table, closeErr := out.Close()
	return table, errors.Join(err, closeErr)
}

// exportColumns are the columns of a table with their declared types.
func exportColumns(t *rewrite.Table) []exportColumn {
	var columns []exportColumn
	for _, c := range t.Columns {
		declared := c.ColumnType
		if c.Protected != nil {
			declared = c.Protected.Type.ColumnType()
		}
		columns = append(columns, exportColumn{
			Column: export.Column{Name: c.Name, Type: declared}, single: strings.HasPrefix(declared, "float") && !strings.Contains(declared, "("),
		})
	}
	return columns
}

// belonging says which rows of a table are an owner's: by the owner column, or by the one foreign key that leads to a table whose rows
// are somebody's. wanted tells whether the text of the owner column is that owner; it is nil where the table has none. The error is
// errNobody where nothing says whose the rows are.
func belonging(schema *rewrite.Schema, t *rewrite.Table, id string, steps int) (condition string, wanted func(text string) bool, err error) {
	if t.Owner != "" {
		owner := t.Column(t.Owner)
		if owner == nil {
			return "", nil, errors.New("it does not have the owner column that the policy names")
		}
		return ownerCondition(owner, id)
	}
	if steps > maxSteps {
		return "", nil, errNobody
	}
	found := 0
	for _, r := range t.References {
		parent := schema.Table(r.Database, r.Table)
		if parent == nil || parent == t {
			continue
		}
		inner, _, err := belonging(schema, parent, id, steps+1)
		if errors.Is(err, errNobody) {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		found++
		condition = quoteIdentifier(r.Column) + " IN (SELECT " + quoteIdentifier(r.Parent) + " FROM " + quoteIdentifier(parent.Database) + "." + quoteIdentifier(parent.Name) +
			" WHERE " + inner + ")"
	}
	if found != 1 {
		return "", nil, errNobody
	}
	return condition, nil, nil
}

// errNobody says that nothing tells whose the rows of a table are.
var errNobody = errors.New("the policy names no owner column for it, and no single foreign key leads to a table that has one")

// maxSteps bounds how many foreign keys are followed.
const maxSteps = 8

// ownerCondition is SQL that is true of the rows of one owner.
func ownerCondition(owner *rewrite.Column, id string) (condition string, wanted func(text string) bool, err error) {
	name := quoteIdentifier(owner.Name)
	literal := "'" + strings.ReplaceAll(id, "'", "''") + "'"
	condition = name + " = " + literal
	wanted = func(text string) bool { return text == id }
	switch owner.DataType {
	case "tinyint", "smallint", "mediumint", "int", "bigint":
		if n, err := strconv.ParseInt(id, 10, 64); err == nil {
			id = strconv.FormatInt(n, 10)
		} else if n, err := strconv.ParseUint(id, 10, 64); err == nil {
			id = strconv.FormatUint(n, 10)
		} else {
			return "", nil, fmt.Errorf("the owner column %s holds integers, and --owner is none", owner.Name)
		}
		condition = name + " = " + id
	case "uuid":
		wanted = func(text string) bool { return strings.EqualFold(text, id) }
	case "char", "varchar", "tinytext", "text", "mediumtext", "longtext":
		// Names that are only equal for the column's collation are other owners.
		condition += " AND CONVERT(" + name + " USING utf8mb4) COLLATE utf8mb4_nopad_bin = " + literal
	}
	return condition, wanted, nil
}

// exportQuery reads the rows of a table of which a condition is true.
func exportQuery(t *rewrite.Table, columns []exportColumn, condition string) string {
	var b strings.Builder
	b.WriteString("SELECT ")
	for i, c := range columns {
		if i > 0 {
			b.WriteString(", ")
		}
		column := quoteIdentifier(c.Name)
		if c.single {
			column = "CAST(" + column + " AS DOUBLE) AS " + column
		}
		b.WriteString(column)
	}
	b.WriteString(" FROM " + quoteIdentifier(t.Database) + "." + quoteIdentifier(t.Name) + " WHERE " + condition)
	for _, index := range t.Indexes {
		if index.Name != "PRIMARY" {
			continue
		}
		for i, part := range index.Parts {
			b.WriteString([]string{", ", " ORDER BY "}[boolIndex(i == 0)] + quoteIdentifier(part.Column))
		}
	}
	return b.String()
}

func boolIndex(b bool) int {
	if b {
		return 1
	}
	return 0
}

func quoteIdentifier(name string) string { return "`" + strings.ReplaceAll(name, "`", "``") + "`" }

// binaryCollation is the number of the collation `binary`.
const binaryCollation = 63

// isBinary tells bytes from text, numbers and dates, which carry the same collation.
func isBinary(f *mysql.Field) bool {
	switch f.Type {
	case mysql.MYSQL_TYPE_BIT, mysql.MYSQL_TYPE_GEOMETRY:
		return true
	case mysql.MYSQL_TYPE_STRING, mysql.MYSQL_TYPE_VAR_STRING, mysql.MYSQL_TYPE_VARCHAR, mysql.MYSQL_TYPE_TINY_BLOB, mysql.MYSQL_TYPE_BLOB,
		mysql.MYSQL_TYPE_MEDIUM_BLOB, mysql.MYSQL_TYPE_LONG_BLOB:
		return f.Charset == binaryCollation
	}
	return false
}

// shortestFloat gives the shortest text that reads as the same FLOAT, from the text of that value as a DOUBLE.
func shortestFloat(text []byte) ([]byte, error) {
	wide, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		return nil, errors.New("a FLOAT could not be read")
	}
	return strconv.AppendFloat(nil, wide, 'g', -1, 32), nil
}
