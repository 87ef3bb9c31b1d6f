package endtoend

import (
	"fmt"
	"net"
	"os/exec"
	"strconv"
	"syscall"
	"testing"
	"time"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

const throttledRows = 40

// throttled is a table under a service key whose rows wait for encrypt, on a server of its own.
func throttled(t *testing.T, server *mariadbtest.Server) *latchkeytest.Proxy {
	t.Helper()
	server.Exec(t, "CREATE DATABASE shop", "CREATE TABLE shop.orders (id INT PRIMARY KEY AUTO_INCREMENT, note VARCHAR(100))",
		fmt.Sprintf("INSERT INTO shop.orders (note) SELECT CONCAT('note ', seq) FROM shop.seq_1_to_%d", throttledRows))
	p := latchkeytest.Write(t, latchkeytest.Config{
		Server: server, ServiceKeys: []string{"app"}, Databases: "  shop:\n    orders:\n      columns:\n        note: {key: \"service:app\", plaintext: accept}",
	})
	latchkeytest.Run(t, 0, "migrate", "prepare", "--config", p.Config, "--run")
	return p
}

// sealedOrders counts the rows that are cells.
func sealedOrders(t *testing.T, server *mariadbtest.Server) int {
	t.Helper()
	n, err := strconv.Atoi(server.Query(t, "SELECT COUNT(*) FROM shop.orders WHERE LEFT(note, 3) = x'ff4c4b'")[0][0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// pausesUntil runs encrypt in batches of one row, and demands that it stands still after the first batch and goes on to the end
// when the server is relieved.
func pausesUntil(t *testing.T, server *mariadbtest.Server, p *latchkeytest.Proxy, relieve func(), limits ...string) {
	t.Helper()
	cmd := exec.Command(latchkeytest.Binary(t), append([]string{"migrate", "encrypt", "--config", p.Config, "--batch", "1"}, limits...)...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Signal(syscall.SIGKILL)
		}
	})
	eventually(t, "the first row is sealed", func() bool { return sealedOrders(t, server) > 0 })
	select {
	case err := <-ended:
		t.Fatalf("encrypt %v ended (%v) while the server was over the limit", limits, err)
	case <-time.After(3 * time.Second):
	}
	if n := sealedOrders(t, server); n == throttledRows {
		t.Errorf("encrypt %v sealed all %d rows while the server was over the limit", limits, n)
	}
	relieve()
	select {
	case err := <-ended:
		if err != nil {
			t.Fatalf("encrypt %v: %v", limits, err)
		}
	case <-time.After(time.Minute):
		t.Fatalf("encrypt %v did not go on when the server was within the limit", limits)
	}
	if n := sealedOrders(t, server); n != throttledRows {
		t.Errorf("%d rows are sealed, want %d", n, throttledRows)
	}
}

// TestMigrateWaitsForReplicas has encrypt stand still while the SQL thread of a replica is stopped, and go on with it.
func TestMigrateWaitsForReplicas(t *testing.T) {
	primary := mariadbtest.Start(t, mariadbtest.WithArgs("--server-id=1", "--log-bin=binlog", "--binlog-format=ROW", "--binlog-row-image=MINIMAL"))
	replica := mariadbtest.Start(t, mariadbtest.WithArgs("--server-id=2"))
	host, port, err := net.SplitHostPort(primary.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// All that is in the binary log from here on; the databases of both servers are alike until then.
	at := primary.Query(t, "SHOW MASTER STATUS")[0]
	primary.Exec(t, "CREATE USER replica@127.0.0.1 IDENTIFIED BY 'replica'", "GRANT REPLICATION SLAVE ON *.* TO replica@127.0.0.1")
	replica.Exec(t, fmt.Sprintf("CHANGE MASTER TO MASTER_HOST='%s', MASTER_PORT=%s, MASTER_USER='replica', MASTER_PASSWORD='replica', MASTER_LOG_FILE='%s', MASTER_LOG_POS=%s, MASTER_CONNECT_RETRY=1", host, port, at[0], at[1]),
		"START SLAVE")
	p := throttled(t, primary)
	eventually(t, "the replica has the rows", func() bool {
		rows := replica.Query(t, "SELECT TABLE_ROWS FROM information_schema.TABLES WHERE TABLE_SCHEMA = 'shop' AND TABLE_NAME = 'orders'")
		return len(rows) == 1 && replica.Query(t, "SELECT COUNT(*) FROM shop.orders")[0][0] == strconv.Itoa(throttledRows)
	})
	replica.Exec(t, "STOP SLAVE SQL_THREAD")
	pausesUntil(t, primary, p, func() { replica.Exec(t, "START SLAVE SQL_THREAD") }, "--max-lag", "20s", "--replica", replica.Addr())
	eventually(t, "the replica has the cells", func() bool { return sealedOrders(t, replica) == throttledRows })
}

// TestMigrateWaitsForThreads has encrypt stand still while more threads run than it may see, and go on when they have ended.
func TestMigrateWaitsForThreads(t *testing.T) {
	server := mariadbtest.Start(t)
	p := throttled(t, server)
	const threads = 12
	db := server.Open(t, "")
	ended := make(chan struct{}, threads)
	for range threads {
		go func() {
			_, _ = db.Exec("DO SLEEP(300) /* load */")
			ended <- struct{}{}
		}()
	}
	load := "SELECT ID FROM information_schema.PROCESSLIST WHERE INFO LIKE 'DO SLEEP(300)%'"
	eventually(t, "the threads run", func() bool { return len(server.Query(t, load)) == threads })
	relieve := func() {
		for _, row := range server.Query(t, load) {
			server.Exec(t, "KILL "+row[0])
		}
		for range threads {
			<-ended
		}
	}
	pausesUntil(t, server, p, relieve, "--max-running", "10")
}
