package cli

import (
	"bytes"
	"crypto/rand"
	"errors"
	"log/slog"
	"strings"
	"testing"

	"latchkey/keystore"
)

func TestLogsHoldNoKeys(t *testing.T) {
	account, err := keystore.NewAccountKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	fleet, err := keystore.NewFleetSecret(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	secrets := []string{
		string(account.Text()), strings.ToLower(string(account.Text())), string(account.Text())[:20],
		string(fleet.Text()), "LKT1-AbCdEfGhIjKlMnOpQrStUvWxYz012345-_",
	}
	for _, format := range []string{"text", "json"} {
		for _, secret := range secrets {
			var out bytes.Buffer
			options := logOptions{format: format}
			log, err := options.logger(&out)
			if err != nil {
				t.Fatal(err)
			}
			log.Info("said "+secret, "text", "before "+secret+" after", "error", errors.New("near "+secret), "bytes", []byte(secret),
				slog.Group("group", "inner", secret))
			if got := out.String(); strings.Contains(strings.ToLower(got), strings.ToLower(secret[5:])) {
				t.Errorf("%s: a key of %d characters was logged", format, len(secret))
			} else if !strings.Contains(got, "before "+redacted+" after") {
				t.Errorf("%s: the rest of the record is gone: %s", format, got)
			}
		}
	}
}
