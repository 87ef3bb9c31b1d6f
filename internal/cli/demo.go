package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-mysql-org/go-mysql/client"
	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/internal/mariadbserver"
	"latchkey/keystore"
	"latchkey/rewrite"
)

// The demo's journal. Its logins have short passwords: the server is private and
// gone in a moment.
const (
	demoDatabase = "journal"
	demoUser     = "app"
	demoPassword = "demo"

	demoSchema = `CREATE DATABASE journal;
CREATE TABLE journal.entries (
  id INT PRIMARY KEY AUTO_INCREMENT,
  user_id INT NOT NULL,
  title VARCHAR(200),
  body TEXT,
  amount DECIMAL(12,2),
  KEY (user_id), KEY (title)
);
CREATE USER app@127.0.0.1 IDENTIFIED BY 'demo';
GRANT ALL ON journal.* TO app@127.0.0.1;
CREATE USER latchkey@127.0.0.1;
GRANT SELECT, SHOW VIEW, TRIGGER, EVENT, PROCESS ON *.* TO latchkey@127.0.0.1;
GRANT ALL ON latchkey_keys.* TO latchkey@127.0.0.1;`

	demoPolicy = `databases:
  journal:
    entries:
      owner: user_id
      columns:
        title: {type: "varchar(200)", search: equality, locked: "(locked)"}
        body: {type: "text", locked: "(locked)"}
        amount: {type: "decimal(12,2)", locked: null}
`
	demoSettings = `listen: {address: "127.0.0.1:0"}
admin: {address: "127.0.0.1:0"}
backend:
  address: %s
  account: {user: latchkey}
keystore: {secret_file: fleet.secret, accounts: [app]}
`
)

// demoEntries is what the two users write, as an application would send it.
var demoEntries = []struct {
	user       int
	statements []string
}{
	{1, []string{
		"INSERT INTO entries (user_id, title, body, amount) VALUES (1, 'Monday', 'I told nobody about the money.', 1250.00)",
		"INSERT INTO entries (user_id, title, body, amount) VALUES (1, 'Tuesday', 'Slept until noon.', NULL)",
	}},
	{2, []string{
		"INSERT INTO entries (user_id, title, body, amount) VALUES (2, 'Monday', 'The doctor called back.', 80.50)",
	}},
}

var demoNames = map[int]string{1: "Ada", 2: "Ben"}

func newDemo() *cobra.Command {
	var keep bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Show a journal of two users through Latchkey and as it is stored",
		Long: `Starts a private MariaDB in a temporary directory and Latchkey in front of it,
writes a small journal through it as two users with keys of their own, and prints
the same rows as each of them sees them and as they are stored. Then it ends and
removes everything. No server of this machine is touched.

With --keep it prints how to connect and stays until Ctrl-C.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			return runDemo(ctx, cmd.OutOrStdout(), cmd.ErrOrStderr(), keep)
		},
	}
	cmd.Flags().BoolVar(&keep, "keep", false, "stay up and print how to connect")
	return cmd
}

// demo is a running demonstration.
type demo struct {
	out     *printer
	server  *mariadbserver.Server
	service *service
	addr    string             // of the proxy
	keys    map[int]string     // account keys as text, by user
	running chan error         // what the proxy ended with
	stop    context.CancelFunc // ends the proxy
}

func runDemo(ctx context.Context, stdout, stderr io.Writer, keep bool) (err error) {
	server, err := mariadbserver.Start(ctx, mariadbserver.Config{})
	if err != nil {
		return fmt.Errorf("start a private MariaDB: %w", err)
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	d := &demo{out: &printer{w: stdout}, server: server, keys: make(map[int]string)}
	if err := d.start(ctx, stderr); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.end()) }()
	for _, step := range []func() error{d.introduce, d.write, d.showUsers, d.showStored, d.showRefusals} {
		if err := step(); err != nil {
			return err
		}
	}
	if keep {
		d.showConnections()
		if d.out.err == nil {
			<-ctx.Done()
		}
	}
	d.out.printf("\nThe demo ends and removes its server.\n")
	return d.out.err
}

// start prepares the schema as `latchkey check --sql` would and starts the proxy.
func (d *demo) start(ctx context.Context, stderr io.Writer) error {
	root, err := d.connectDirect("")
	if err != nil {
		return err
	}
	defer root.Close()
	for statement := range strings.SplitSeq(demoSchema, ";\n") {
		if _, err := root.Execute(strings.TrimSuffix(statement, ";")); err != nil {
			return fmt.Errorf("prepare the journal: %w", err)
		}
	}
	config, err := d.configure()
	if err != nil {
		return err
	}
	alters, err := readyStatements(ctx, config)
	if err != nil {
		return err
	}
	for _, alter := range alters {
		if _, err := root.Execute(alter.SQL); err != nil {
			return fmt.Errorf("prepare the journal: %w", err)
		}
	}
	log := slog.New(slog.NewTextHandler(stderr, &slog.HandlerOptions{Level: slog.LevelWarn, ReplaceAttr: redact}))
	if d.service, err = newService(config, log); err != nil {
		return err
	}
	return d.serve()
}

// configure writes the configuration and the fleet secret into the server's
// directory, which goes with it.
func (d *demo) configure() (*configs.Config, error) {
	secret, err := newKeyText(true)
	if err != nil {
		return nil, err
	}
	defer clear(secret)
	if err := os.WriteFile(filepath.Join(d.server.Dir(), "fleet.secret"), secret, 0o400); err != nil {
		return nil, err
	}
	file := filepath.Join(d.server.Dir(), "latchkey.yaml")
	text := fmt.Sprintf(demoSettings, d.server.Addr()) + demoPolicy
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return loadConfig(file)
}

// serve runs the proxy beside the demo.
func (d *demo) serve() error {
	// The proxy outlives Ctrl-C until end, which stops it in order.
	ctx, stop := context.WithCancel(context.Background())
	addresses := make(chan net.Addr, 1)
	d.stop, d.running = stop, make(chan error, 1)
	go func() {
		d.running <- d.service.run(ctx, nil, func(client, _ net.Addr) { addresses <- client })
	}()
	select {
	case addr := <-addresses:
		d.addr = addr.String()
		return nil
	case err := <-d.running:
		stop()
		d.service.close()
		return err
	}
}

func (d *demo) end() error {
	d.stop()
	defer d.service.close()
	return <-d.running
}

func (d *demo) introduce() error {
	d.out.printf("A private MariaDB listens on %s, Latchkey in front of it on %s.\n", d.server.Addr(), d.addr)
	d.out.printf("The policy:\n\n%s\n", indent(demoPolicy))
	return nil
}

// write lets each user write with a fresh key of their own.
func (d *demo) write() error {
	d.out.printf("Two users write into one table, each with a key of their own:\n\n")
	for _, entry := range demoEntries {
		key, err := keystore.NewAccountKey(rand.Reader)
		if err != nil {
			return err
		}
		d.keys[entry.user] = string(key.Text())
		key.Wipe()
		conn, err := d.connectAs(entry.user)
		if err != nil {
			return err
		}
		for _, statement := range entry.statements {
			d.out.printf("  %s> %s\n", demoNames[entry.user], statement)
			if _, err := conn.Execute(statement); err != nil {
				conn.Close()
				return fmt.Errorf("%s: %w", demoNames[entry.user], err)
			}
		}
		if err := conn.Quit(); err != nil {
			return err
		}
	}
	return nil
}

// showUsers prints the table as each user sees it.
func (d *demo) showUsers() error {
	const statement = "SELECT * FROM entries ORDER BY id"
	for _, entry := range demoEntries {
		d.out.printf("\nWhat %s sees through Latchkey: %s\n\n", demoNames[entry.user], statement)
		conn, err := d.connectAs(entry.user)
		if err != nil {
			return err
		}
		err = d.out.query(conn, statement)
		conn.Close()
		if err != nil {
			return err
		}
	}
	const search = "SELECT id, title, amount FROM entries WHERE title = 'Monday'"
	d.out.printf("\nAn index finds equal values, each user's only: %s> %s\n\n", demoNames[1], search)
	conn, err := d.connectAs(1)
	if err != nil {
		return err
	}
	defer conn.Close()
	return d.out.query(conn, search)
}

// showStored prints the table as the database has it.
func (d *demo) showStored() error {
	d.out.printf("\nWhat is stored, and all that a DBA, a backup or a thief of the disk gets (hex):\n\n")
	conn, err := d.connectDirect(demoDatabase)
	if err != nil {
		return err
	}
	defer conn.Close()
	// The first bytes are format, search tag and key id; the rest is ciphertext.
	return d.out.query(conn, `SELECT id, user_id, CONCAT(LEFT(HEX(title), 48), '..') AS title, CONCAT(LEFT(HEX(body), 48), '..') AS body,
		CONCAT(LEFT(HEX(amount), 24), '..') AS amount FROM entries ORDER BY id`)
}

// showRefusals prints what happens without a key and with a statement that cannot
// be protected.
func (d *demo) showRefusals() error {
	d.out.printf("\nWhat Latchkey does not understand or cannot protect it refuses:\n\n")
	conn, err := d.connect()
	if err != nil {
		return err
	}
	defer conn.Close()
	for _, statement := range []string{
		"INSERT INTO entries (user_id, title) VALUES (1, 'without a key')",
		"ALTER TABLE entries ADD COLUMN initial CHAR(1) AS (LEFT(title, 1))",
	} {
		_, err := conn.Execute(statement)
		if err == nil {
			return fmt.Errorf("not refused: %s", statement)
		}
		d.out.printf("  %s\n  %v\n", statement, err)
	}
	return nil
}

// showConnections prints how to connect while the demo stays up.
func (d *demo) showConnections() {
	host, port, _ := net.SplitHostPort(d.addr)
	d.out.printf("\nStaying up until Ctrl-C. Through Latchkey:\n\n")
	d.out.printf("  mariadb --protocol=tcp --host=%s --port=%s --user=%s --password=%s %s\n", host, port, demoUser, demoPassword, demoDatabase)
	d.out.printf("  %s:%s@tcp(%s)/%s    (Go)\n", demoUser, demoPassword, d.addr, demoDatabase)
	d.out.printf("  mysql:host=%s;port=%s;dbname=%s    (PHP PDO, %s, %s)\n\n", host, port, demoDatabase, demoUser, demoPassword)
	for _, entry := range demoEntries {
		d.out.printf("  SET @latchkey = '%s';    (%s, user_id %d)\n", d.keys[entry.user], demoNames[entry.user], entry.user)
	}
	d.out.printf("  CALL latchkey.enroll('3', 'a password');    (a third user, whose key lies behind a password)\n")
	d.out.printf("\nStraight to MariaDB:\n\n")
	d.out.printf("  mariadb --protocol=tcp --host=127.0.0.1 --port=%d --user=root %s\n", d.server.Port(), demoDatabase)
}

// connectAs opens a connection through the proxy and pushes the user's key.
func (d *demo) connectAs(user int) (*client.Conn, error) {
	conn, err := d.connect()
	if err != nil {
		return nil, err
	}
	if _, err := conn.Execute("SET @latchkey = '" + d.keys[user] + "'"); err != nil {
		conn.Close()
		return nil, fmt.Errorf("push the key of %s: %w", demoNames[user], err)
	}
	return conn, nil
}

func (d *demo) connect() (*client.Conn, error) {
	return client.Connect(d.addr, demoUser, demoPassword, demoDatabase)
}

func (d *demo) connectDirect(database string) (*client.Conn, error) {
	return client.Connect(d.server.Addr(), "root", "", database)
}

// readyStatements are the statements that make the tables of config ready.
func readyStatements(ctx context.Context, config *configs.Config) ([]rewrite.Alter, error) {
	keys, err := loadKeys(config)
	if err != nil {
		return nil, err
	}
	defer keys.close()
	return readAlters(ctx, config, keys)
}

func indent(text string) string {
	return "  " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n  ") + "\n"
}
