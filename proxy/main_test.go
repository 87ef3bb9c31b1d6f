package proxy

import (
	"testing"

	"latchkey/internal/mariadbtest"
)

func TestMain(m *testing.M) { mariadbtest.Main(m) }
