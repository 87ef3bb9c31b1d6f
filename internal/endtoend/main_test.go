package endtoend

import (
	"flag"
	"testing"

	"latchkey/internal/mariadbtest"
)

var update = flag.Bool("update", false, "write generated files anew")

func TestMain(m *testing.M) { mariadbtest.Main(m) }
