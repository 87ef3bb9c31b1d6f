package endtoend

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"latchkey/internal/latchkeytest"
	"latchkey/internal/mariadbtest"
)

var (
	shellFence = regexp.MustCompile("(?ms)^```sh\n(.*?)^```$")
	textFence  = regexp.MustCompile("(?ms)^```text\n(.*?)^```$")
)

// TestExamplesAsTheirPagesSay follows the README of each example that is SQL only: its commands are run one after the other, and what
// it shows of the answers is what comes.
func TestExamplesAsTheirPagesSay(t *testing.T) {
	for i := range models {
		m := &models[i]
		t.Run(m.title, func(t *testing.T) {
			server := mariadbtest.Start(t)
			page := readText(t, m.path("README.md"))
			output := followPage(t, server, page)
			for _, block := range textFence.FindAllStringSubmatch(page, -1) {
				if !strings.Contains(output, block[1]) {
					t.Errorf("%s shows what does not come:\n%s", m.path("README.md"), block[1])
				}
			}
			if t.Failed() {
				t.Logf("what comes:\n%s", output)
			}
			w := &twin{server: server, sealed: m.database, protected: m.columns}
			w.onlyCells(t, "the page")
		})
	}
}

// followPage runs the commands of a page in one shell and gives what they print. In the place of the page's ports are the server's
// and free ones, and in that of the terminal that the page has Latchkey started in, the background.
func followPage(t *testing.T, server *mariadbtest.Server, page string) string {
	t.Helper()
	home, programs := t.TempDir(), t.TempDir()
	if err := os.Symlink(latchkeytest.Binary(t), filepath.Join(programs, "latchkey")); err != nil {
		t.Fatal(err)
	}
	client, err := exec.LookPath("mariadb")
	if err != nil {
		t.Fatal(err)
	}
	host, port, err := net.SplitHostPort(server.Addr())
	if err != nil {
		t.Fatal(err)
	}
	// The page's reader is an administrator of the server on this machine.
	wrapper := fmt.Sprintf("#!/bin/sh\ncase \"$1\" in --defaults-file=*) exec %[1]s \"$@\";; esac\nexec %[1]s --no-defaults --host=%[2]s --port=%[3]s --user=root \"$@\"\n",
		client, host, port)
	if err := os.WriteFile(filepath.Join(programs, "mariadb"), []byte(wrapper), 0o700); err != nil {
		t.Fatal(err)
	}
	listen, admin := freePort(t), freePort(t)
	const (
		copied = "&& umask 077\n"
		serve  = "latchkey serve --config latchkey.yaml\n"
	)
	ports := fmt.Sprintf("sed -i 's/3306/%s/; s/3307/%s/' latchkey.yaml\necho 'admin: {address: 127.0.0.1:%s}' >> latchkey.yaml\n", port, listen, admin)
	background := fmt.Sprintf("latchkey serve --config latchkey.yaml 2> serve.log & serve=$!\ntrap 'kill $serve; wait $serve || true' EXIT\n"+
		"for i in $(seq 600); do (exec 3<>/dev/tcp/127.0.0.1/%s) 2> /dev/null && break; sleep 0.1; done\n", listen)
	var script strings.Builder
	script.WriteString("set -e\n")
	for _, block := range shellFence.FindAllStringSubmatch(page, -1) {
		text := strings.Replace(block[1], copied, copied+ports, 1)
		text = strings.Replace(text, serve, background, 1)
		script.WriteString(strings.ReplaceAll(text, "port=3307", "port="+listen))
	}
	cmd := exec.Command("bash", "-c", script.String())
	cmd.Dir = "../.."
	cmd.Env = append(os.Environ(), "HOME="+home, "PATH="+programs+":"+os.Getenv("PATH"), "GORACE="+os.Getenv("GORACE")+" atexit_sleep_ms=0")
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	if err := cmd.Run(); err != nil {
		t.Fatalf("the commands of the page: %v\n%s", err, output.String())
	}
	return output.String()
}

// freePort is a port of the loopback interface that was free a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	_, port, err := net.SplitHostPort(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}
