package cli

import (
	"context"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

func newServe() *cobra.Command {
	var file string
	var logs logOptions
	cmd := &cobra.Command{
		Use:   "serve --config FILE",
		Short: "Run the proxy",
		Long: `Runs the proxy until SIGTERM or SIGINT. Then it accepts no more clients, lets
running statements finish for up to 30 seconds, and ends; a second signal ends
it at once.

SIGHUP reads the configuration file again and replaces the policy. A file with a
problem, one that takes protection from a column that holds cells, and one that
changes anything but the policy, or the mode from report to enforce, is refused,
and the old policy stays.

The log goes to standard error.`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			config, err := loadConfig(file)
			if err != nil {
				return err
			}
			guardMemory(log)
			s, err := newService(config, log)
			if err != nil {
				return err
			}
			defer s.close()
			ctx, stop := untilSignal(cmd.Context())
			defer stop()
			reload, stopReload := onHangup(ctx)
			defer stopReload()
			return s.run(ctx, reload, func(client, admin net.Addr) {
				log.Info("listening", "version", Version(), "address", client, "admin", admin, "backend", config.Backend.Address)
			})
		},
	}
	addConfigFlag(cmd, &file)
	logs.addFlags(cmd)
	return cmd
}

// untilSignal returns a context that ends with the first SIGTERM or SIGINT; from
// then on these signals end the process.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	context.AfterFunc(ctx, stop)
	return ctx, stop
}

// onHangup returns a channel that receives after every SIGHUP. Signals that come
// while one waits are the same request.
func onHangup(ctx context.Context) (<-chan struct{}, func()) {
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGHUP)
	requests := make(chan struct{})
	go func() {
		for {
			select {
			case <-signals:
			case <-ctx.Done():
				return
			}
			select {
			case requests <- struct{}{}:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, func() { signal.Stop(signals) }
}
