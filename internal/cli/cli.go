// Package cli is the latchkey command, one file a subcommand: it reads flags and
// configuration, wires the other packages together and turns their errors into
// exit codes. It holds no logic of its own. Results go to standard output, all
// else to standard error. No key is printed but the one that keygen makes and those of
// the demo's made-up users.
package cli

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"
)

// Exit codes.
const (
	exitOK = iota
	exitFailure
	exitUsage
	exitUnfinished
)

// exitWorse is the exit code of a report in which something became worse.
const exitWorse = 4

// errFound says that a check found problems, which are printed already.
var errFound = errors.New("problems found")

// errUnfinished says that a command has more to do: run it again. Why is printed already.
var errUnfinished = errors.New("not finished")

// errWorse says that a report became worse, which is printed already.
var errWorse = errors.New("the report became worse")

// usageError is a command line that does not fit the command.
type usageError struct{ error }

func (e usageError) Unwrap() error { return e.error }

// Run runs the command with args, which do not include the program's name, and
// returns its exit code: 0 for success, 1 for a failure or found problems, 2 for
// a command line that was not understood, 3 for a command that was stopped before
// it was finished, or cannot finish yet, 4 for a report that became worse.
func Run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var usage usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errFound):
		return exitFailure
	case errors.Is(err, errUnfinished):
		return exitUnfinished
	case errors.Is(err, errWorse):
		return exitWorse
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "latchkey: %v\nSee latchkey --help.\n", err)
		return exitUsage
	}
	fmt.Fprintf(stderr, "latchkey: %v\n", err)
	return exitFailure
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   "latchkey",
		Short: "An encrypting proxy in front of MariaDB",
		Long: `Latchkey sits between an application and MariaDB and encrypts the columns that a
policy names, each user's data under that user's own key.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		Args:          usage(cobra.NoArgs),
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return usageError{err} })
	root.CompletionOptions.HiddenDefaultCmd = true
	root.AddCommand(newCheck(), newDemo(), newExport(), newInit(), newKeygen(), newMigrate(), newReport(), newServe(), newVersion())
	return root
}

// usage turns complaints about arguments into usage errors.
func usage(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if err := check(cmd, args); err != nil {
			return usageError{err}
		}
		return nil
	}
}
