package cli

import (
	"fmt"
	"io"
	"log/slog"
	"regexp"

	"github.com/spf13/cobra"
)

// logOptions are the flags about the log.
type logOptions struct {
	format string
	level  slog.Level
}

func (o *logOptions) addFlags(cmd *cobra.Command) {
	cmd.Flags().StringVar(&o.format, "log-format", "text", "how the log is written: text or json")
	cmd.Flags().TextVar(&o.level, "log-level", slog.LevelInfo, "least `LEVEL` that is logged: debug, info, warn, error")
}

// logger returns a logger that writes to w.
func (o *logOptions) logger(w io.Writer) (*slog.Logger, error) {
	options := &slog.HandlerOptions{Level: o.level, ReplaceAttr: redact}
	switch o.format {
	case "text":
		return slog.New(slog.NewTextHandler(w, options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(w, options)), nil
	}
	return nil, usageError{fmt.Errorf("--log-format must be text or json")}
}

// keyText matches account keys, service keys, fleet secrets and tokens as text,
// complete or not.
var keyText = regexp.MustCompile(`(?i)\bLK[FT]?1-[0-9A-Z_-]{4,}`)

const redacted = "[redacted]"

// redact takes keys out of log records. No part of the program writes any; this
// holds for what comes with the texts of other programs' errors.
func redact(_ []string, a slog.Attr) slog.Attr {
	switch a.Value.Kind() {
	case slog.KindString:
		if s := a.Value.String(); keyText.MatchString(s) {
			a.Value = slog.StringValue(keyText.ReplaceAllString(s, redacted))
		}
	case slog.KindAny:
		switch v := a.Value.Any().(type) {
		case error:
			a.Value = slog.StringValue(keyText.ReplaceAllString(v.Error(), redacted))
		case fmt.Stringer:
			a.Value = slog.StringValue(keyText.ReplaceAllString(v.String(), redacted))
		case []byte:
			a.Value = slog.StringValue(redacted)
		}
	}
	return a
}
