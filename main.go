// Command latchkey is an encrypting proxy in front of MariaDB.
package main

import (
	"context"
	"os"

	"latchkey/internal/cli"
)

func main() {
	os.Exit(cli.Run(context.Background(), os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
}
