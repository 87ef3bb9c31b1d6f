package endtoend

import (
	"flag"
	"os"
	"testing"

	"latchkey/internal/mariadbtest"
)

var update = flag.Bool("update", false, "write generated files anew")

// atExit are run after the tests of this process.
var atExit []func()

func TestMain(m *testing.M) {
	code := mariadbtest.Run(m)
	for _, f := range atExit {
		f()
	}
	os.Exit(code)
}
