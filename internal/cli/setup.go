package cli

import (
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"latchkey/configs"
	"latchkey/keystore"
	"latchkey/proxy"
	"latchkey/proxy/evaluator"
)

// addConfigFlag adds the flag --config, which must be given.
func addConfigFlag(cmd *cobra.Command, file *string) {
	cmd.Flags().StringVar(file, "config", "", "the configuration `FILE`")
	if err := cmd.MarkFlagRequired("config"); err != nil {
		panic("internal error: " + err.Error())
	}
}

// loadConfig reads the configuration. Its error lists every problem, one a line.
func loadConfig(file string) (*configs.Config, error) {
	config, err := configs.Load(file)
	var problems configs.Problems
	if errors.As(err, &problems) {
		return nil, fmt.Errorf("%d problems in the configuration:\n%w", len(problems), problems)
	}
	return config, err
}

// keys are the keys that the configuration names by file.
type keys struct {
	realm    string
	fleet    *keystore.FleetSecret // nil when none is configured
	services *keystore.ServiceKeys
	accounts map[string]*keystore.UserKey // by login
	warnings []keystore.FileWarning
}

// loadKeys reads every key file of the configuration. The error names each file
// that is wrong; then only the warnings are set. The caller closes the keys.
func loadKeys(config *configs.Config) (*keys, error) {
	k := &keys{realm: config.Keystore.Realm, accounts: make(map[string]*keystore.UserKey)}
	warn := func(warning *keystore.FileWarning) {
		if warning != nil {
			k.warnings = append(k.warnings, *warning)
		}
	}
	var problems []error
	if path := config.Keystore.SecretFile; path != "" {
		fleet, warning, err := keystore.LoadFleetSecret(path)
		warn(warning)
		if err != nil {
			problems = append(problems, fmt.Errorf("keystore.secret_file: %w", err))
		}
		k.fleet = fleet
	}
	services, warnings, err := keystore.LoadServiceKeys(k.realm, config.Keystore.ServiceKeys)
	k.warnings = append(k.warnings, warnings...)
	if err != nil {
		problems = append(problems, err)
	}
	k.services = services
	for _, login := range slices.Sorted(maps.Keys(config.Accounts)) {
		path := config.Accounts[login].KeyFile
		if path == "" {
			continue
		}
		account, warning, err := keystore.LoadAccountKey(path)
		warn(warning)
		if err != nil {
			problems = append(problems, fmt.Errorf("accounts.%s: %w", login, err))
			continue
		}
		key, err := account.UserKey(k.realm)
		account.Wipe()
		if err != nil {
			problems = append(problems, fmt.Errorf("accounts.%s: %w", login, err))
			continue
		}
		k.accounts[login] = key
	}
	if len(problems) > 0 {
		k.close()
		return &keys{warnings: k.warnings}, errors.Join(problems...)
	}
	return k, nil
}

// verify returns the check of annotations' MACs, nil without a fleet secret: then
// no annotation is believed.
func (k *keys) verify() func(body, mac []byte) bool {
	if k.fleet == nil {
		return nil
	}
	return func(body, mac []byte) bool { return k.fleet.VerifySchemaMAC(k.realm, body, mac) }
}

// schemaMAC returns what makes annotations' MACs, nil without a fleet secret.
func (k *keys) schemaMAC() func(body []byte) []byte {
	if k.fleet == nil {
		return nil
	}
	return func(body []byte) []byte {
		mac := k.fleet.SchemaMAC(k.realm, body)
		return mac[:]
	}
}

// close wipes the keys.
func (k *keys) close() {
	if k.fleet != nil {
		k.fleet.Wipe()
	}
	if k.services != nil {
		k.services.Close()
	}
	for _, key := range k.accounts {
		key.Release()
	}
}

// schemaConfig is how Latchkey's own account reads the schema; keys may be nil
// where no annotation is looked at.
func schemaConfig(config *configs.Config, k *keys, log *slog.Logger) (proxy.SchemaConfig, error) {
	backendTLS, err := config.Backend.TLS.Config(config.Backend.Address)
	if err != nil {
		return proxy.SchemaConfig{}, err
	}
	schema := proxy.SchemaConfig{
		Address:          config.Backend.Address,
		User:             config.Backend.User,
		PasswordFile:     config.Backend.PasswordFile,
		TLS:              backendTLS,
		KeystoreDatabase: config.Keystore.Database,
		Logger:           log,
	}
	if k != nil {
		schema.Verify = k.verify()
	}
	return schema, nil
}

// evaluatorConfig says how the evaluator is run.
func evaluatorConfig(config *configs.Evaluator, registry *prometheus.Registry, log *slog.Logger) evaluator.Config {
	c := evaluator.Config{Binary: config.Binary, Dir: config.Dir, TableBytes: 8 * config.MaxBytes, Registry: registry, Logger: log}
	switch config.Binary {
	case configs.EvaluatorAuto:
		c.Binary = ""
	case configs.EvaluatorOff:
		c.Binary = evaluator.Off
	}
	return c
}
