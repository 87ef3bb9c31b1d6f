package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"

	"github.com/spf13/cobra"

	"latchkey/proxy"
)

const (
	// reportTimeout bounds the whole request.
	reportTimeout = 30 * time.Second
	// maxReport bounds the answer, and a baseline, in bytes. 1,000 statements of the longest kind stay far below.
	maxReport = 64 << 20
)

func newReport() *cobra.Command {
	var address, against, write string
	cmd := &cobra.Command{
		Use:   "report --url URL (--against FILE | --write FILE)",
		Short: "Hold what a proxy in mode report has seen against a baseline",
		Long: `Reads /status of a proxy in mode report, at the end of a test run for instance.

With --write it saves which statements there were, what would become of them and
what the columns need; commit that file. With --against it compares with such a
file and prints the difference, a line for each statement or column:

  +  a statement that the file does not have
  -  a statement of the file that was not seen
  >  a statement or column that became better
  <  one that became worse

Worse is a new statement that would be refused, a known one whose class became
worse (pass, sealed, residual, refused, in this order), a column that
cannot be protected any more or that needs another policy. The exit code is 4 then, 0 when
nothing became worse and 1 after an error.`,
		Example: `  latchkey report --url http://127.0.0.1:9307/status --write latchkey-report.json
  latchkey report --url http://127.0.0.1:9307/status --against latchkey-report.json`,
		Args: usage(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			now, err := fetchReport(cmd.Context(), address)
			if err != nil {
				return err
			}
			if write != "" {
				return writeBaseline(write, newBaseline(now))
			}
			before, err := readBaseline(against)
			if err != nil {
				return err
			}
			return printDifference(compareBaselines(before, newBaseline(now)), cmd.OutOrStdout())
		},
	}
	cmd.Flags().StringVar(&address, "url", "", "the `URL` of the proxy's /status")
	cmd.Flags().StringVar(&against, "against", "", "compare with the baseline in `FILE`")
	cmd.Flags().StringVar(&write, "write", "", "write the baseline to `FILE`, over what is there")
	if err := cmd.MarkFlagRequired("url"); err != nil {
		panic("internal error: " + err.Error())
	}
	cmd.MarkFlagsOneRequired("against", "write")
	cmd.MarkFlagsMutuallyExclusive("against", "write")
	return cmd
}

// fetchReport reads the report of a proxy.
func fetchReport(ctx context.Context, address string) (*proxy.Report, error) {
	target, err := url.Parse(address)
	if err != nil || target.Scheme != "http" && target.Scheme != "https" || target.Host == "" {
		return nil, usageError{errors.New("--url must be like http://127.0.0.1:9307/status")}
	}
	query := target.Query()
	query.Set("format", "json")
	target.RawQuery = query.Encode()
	ctx, cancel := context.WithTimeout(ctx, reportTimeout)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("read the report: %s answered %s", target.Redacted(), response.Status)
	}
	text, err := readLimited(response.Body)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	var status struct{ Report *proxy.Report }
	if err := json.Unmarshal(text, &status); err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	if status.Report == nil {
		return nil, errors.New("the proxy is not in mode: report")
	}
	return status.Report, nil
}

func readLimited(r io.Reader) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(r, maxReport+1))
	if err == nil && len(text) > maxReport {
		err = fmt.Errorf("it is longer than %d bytes", maxReport)
	}
	return text, err
}

// readBaseline reads a file that writeBaseline wrote.
func readBaseline(path string) (*baseline, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read the baseline: %w", err)
	}
	defer file.Close()
	text, err := readLimited(file)
	if err != nil {
		return nil, fmt.Errorf("read the baseline %s: %w", path, err)
	}
	b := new(baseline)
	if err := json.Unmarshal(text, b); err != nil {
		return nil, fmt.Errorf("read the baseline %s: %w", path, err)
	}
	if b.Version != baselineVersion {
		return nil, fmt.Errorf("the baseline %s has version %d, and this program reads %d: write it anew", path, b.Version, baselineVersion)
	}
	return b, nil
}

// writeBaseline writes a file that changes only where the report does.
func writeBaseline(path string, b *baseline) error {
	var text bytes.Buffer
	out := json.NewEncoder(&text)
	out.SetIndent("", " ")
	out.SetEscapeHTML(false)
	if err := out.Encode(b); err != nil {
		return err
	}
	return os.WriteFile(path, text.Bytes(), 0o644)
}

// printDifference prints what changed. The error is errWorse when something became worse.
func printDifference(changes []change, out io.Writer) error {
	worse := 0
	for _, c := range changes {
		if _, err := fmt.Fprintln(out, c); err != nil {
			return err
		}
		if c.worse {
			worse++
		}
	}
	if _, err := fmt.Fprintf(out, "%d changes, %d for the worse\n", len(changes), worse); err != nil {
		return err
	}
	if worse > 0 {
		return errWorse
	}
	return nil
}
