package proxy

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/go-mysql-org/go-mysql/mysql"
)

// schemaConn is a connection of the proxy's own account.
type schemaConn struct{ *client.Conn }

// dialSchema connects and sets the session so that information_schema prints the same text on every server.
func dialSchema(ctx context.Context, cfg *SchemaConfig) (*schemaConn, error) {
	conn, err := dialBackend(ctx, cfg, func(c *client.Conn) { c.ReadTimeout, c.WriteTimeout = schemaReadTimeout, schemaReadTimeout })
	if err != nil {
		return nil, err
	}
	if _, err := conn.Execute("SET SESSION sql_mode='', max_statement_time=0"); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("set up the schema connection: %w", err)
	}
	return &schemaConn{conn}, nil
}

// dialBackend connects with the proxy's own account. setup is run before the login.
func dialBackend(ctx context.Context, cfg *SchemaConfig, setup func(*client.Conn)) (*client.Conn, error) {
	password, err := cfg.Password()
	if err != nil {
		return nil, err
	}
	conn, err := client.ConnectWithContext(ctx, cfg.Address, cfg.User, password, "", schemaConnectTimeout, func(c *client.Conn) error {
		setup(c)
		if cfg.TLS != nil {
			c.SetTLSConfig(cfg.TLS)
		}
		return c.SetCollation("utf8mb4_general_ci")
	})
	if err != nil {
		return nil, fmt.Errorf("connect to %s as %s: %w", cfg.Address, cfg.User, err)
	}
	return conn, nil
}

// MigrationDial gives what connects migrations to the backend, with the proxy's own account. A statement may take as long as
// it does.
func MigrationDial(cfg SchemaConfig) func(ctx context.Context, setup func(*client.Conn)) (*client.Conn, error) {
	return func(ctx context.Context, setup func(*client.Conn)) (*client.Conn, error) {
		return dialBackend(ctx, &cfg, setup)
	}
}

// Password reads the password of the proxy's own account.
func (c *SchemaConfig) Password() (string, error) {
	file := c.PasswordFile
	if file == "" {
		return "", nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return "", fmt.Errorf("read the password of the backend account: %w", err)
	}
	return string(bytes.TrimRight(text, "\r\n")), nil
}

func (c *schemaConn) close() { _ = c.Close() }

// interrupt ends a read in progress. It closes the socket below go-mysql's own connection, whose Close must not run beside
// a read.
func (c *schemaConn) interrupt() { _ = c.Conn.Conn.Conn.Close() }

// schemaRow is one row of a result; it is valid within the callback only.
type schemaRow []mysql.FieldValue

func (r schemaRow) null(i int) bool { return r[i].Type == mysql.FieldValueTypeNull }

// text gives column i as text, empty for NULL.
func (r schemaRow) text(i int) string {
	switch v := r[i].Value().(type) {
	case nil:
		return ""
	case []byte:
		return string(v)
	default:
		return fmt.Sprint(v)
	}
}

// number gives column i as a number, 0 for NULL.
func (r schemaRow) number(i int) int64 {
	n, err := strconv.ParseInt(r.text(i), 10, 64)
	if err != nil {
		// LONGTEXT and LONGBLOB are the longest; an unsigned value beyond 63 bits is none of the columns read here.
		return 0
	}
	return n
}

func (r schemaRow) yes(i int) bool { return strings.EqualFold(r.text(i), "YES") }

// rows runs a query and calls do for every row.
func (c *schemaConn) rows(query string, do func(r schemaRow) error) error {
	var result mysql.Result
	return c.ExecuteSelectStreaming(query, &result, func(row []mysql.FieldValue) error { return do(row) }, nil)
}
