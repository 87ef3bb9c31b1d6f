package cli

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/configs"
	"latchkey/keystore"
	"latchkey/keystore/tables"
	"latchkey/proxy"
	"latchkey/proxy/evaluator"
	"latchkey/rewrite"
)

// stopTimeout is how long statements may go on after the request to stop.
const stopTimeout = 30 * time.Second

// service is a proxy with everything it needs, from one configuration.
type service struct {
	config *configs.Config
	log    *slog.Logger
	keys   *keys
	cache  *keystore.Cache
	tables *tables.Store   // nil without a fleet secret
	vault  *keystore.Vault // the same
	schema *proxy.SchemaLoader
	server *proxy.Server
	// evaluator does nothing before the schema loader starts it.
	evaluator *evaluator.Evaluator

	// In force; of the goroutine that runs reload.
	policy *rewrite.Policy
	mode   configs.Mode
}

// newService reads the key files and puts a proxy together. The caller closes it.
func newService(config *configs.Config, log *slog.Logger) (*service, error) {
	if problems := config.Unavailable(); len(problems) > 0 {
		return nil, problems
	}
	k, err := loadKeys(config)
	for _, warning := range k.warnings {
		log.Warn("key file", "problem", warning.String())
	}
	if err != nil {
		return nil, err
	}
	if k.fleet == nil {
		log.Warn("no keystore.secret_file: annotations cannot be authenticated, and every touch of an annotated column is refused")
	}
	s := &service{config: config, log: log, keys: k, policy: config.Policy, mode: config.Mode}
	if err := s.assemble(); err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *service) assemble() error {
	var err error
	keystoreConfig := &s.config.Keystore
	s.cache, err = keystore.NewCache(keystoreConfig.Realm, keystoreConfig.CacheSize, keystoreConfig.CacheTTL, time.Now)
	if err != nil {
		return fmt.Errorf("keystore: %w", err)
	}
	schema, err := schemaConfig(s.config, s.keys, s.log)
	if err != nil {
		return err
	}
	registry := prometheus.NewRegistry()
	s.evaluator = evaluator.New(evaluatorConfig(&s.config.Evaluator, registry, s.log))
	schema.Evaluator = s.evaluator
	schema.Report = s.config.Mode == configs.ModeReport
	s.schema = proxy.NewSchemaLoader(schema, s.config.Policy)
	if err := s.openVault(&schema); err != nil {
		return err
	}
	accounts := make(map[string]proxy.Account, len(s.config.Accounts))
	for login, account := range s.config.Accounts {
		accounts[login] = proxy.Account{Raw: account.Raw, Key: s.keys.accounts[login]}
	}
	s.server, err = proxy.NewServer(proxy.Config{
		Listen:   s.config.Listen.ListenConfig,
		Backend:  s.config.Backend.BackendConfig,
		Version:  Version(),
		Logger:   s.log,
		Registry: registry,
		Protection: &proxy.Protection{
			Schema:            s.schema,
			Evaluator:         s.evaluator,
			MaxRows:           s.config.Evaluator.MaxRows,
			MaxBytes:          s.config.Evaluator.MaxBytes,
			MaxTime:           s.config.Evaluator.MaxTime,
			SchemaMAC:         s.keys.schemaMAC(),
			Services:          s.keys.services,
			Cache:             s.cache,
			Vault:             s.vault,
			KeyAccounts:       keystoreConfig.Accounts,
			Admins:            keystoreConfig.Admins,
			Accounts:          accounts,
			AllowInsecureKeys: s.config.AllowInsecureKeys,
			KeyringIdle:       s.config.KeyringIdle,
			Conversion:        s.conversion(&schema),
		},
	})
	if err != nil {
		return err
	}
	s.server.AddReadyCheck("schema", func(context.Context) error { return s.schema.Ready() })
	return nil
}

// conversion says how sessions convert the rows of their owners; nil when they do not.
func (s *service) conversion(backend *proxy.SchemaConfig) *proxy.ConversionConfig {
	if s.config.ConversionRate == 0 || s.tables == nil {
		return nil
	}
	return &proxy.ConversionConfig{
		Rate: s.config.ConversionRate, Dial: proxy.MigrationDial(*backend), Fleet: s.keys.fleet, Realm: s.keys.realm, Notes: s.tables,
	}
}

// close ends the evaluator and wipes the keys.
func (s *service) close() {
	if s.evaluator != nil {
		s.evaluator.Close()
	}
	if s.cache != nil {
		s.cache.Purge()
	}
	if s.vault != nil {
		s.vault.Close()
		s.tables.Close()
	}
	s.keys.close()
}

// run serves clients until ctx ends or the listener fails, and then lets running
// statements finish. It reloads the policy whenever reload receives. ready is
// called once with the addresses that are listened on; admin is nil when the
// endpoint is off.
func (s *service) run(ctx context.Context, reload <-chan struct{}, ready func(client, admin net.Addr)) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Listen.Address)
	if err != nil {
		return fmt.Errorf("listen.address: %w", err)
	}
	background, stopBackground := context.WithCancel(context.WithoutCancel(ctx))
	var workers sync.WaitGroup
	defer func() {
		stopBackground()
		workers.Wait()
	}()
	adminAddr, err := s.serveAdmin(background, &workers)
	if err != nil {
		listener.Close()
		return err
	}
	workers.Go(func() { _ = s.schema.Run(background) })
	if err := s.refuseSealed(background); err != nil {
		listener.Close()
		return err
	}
	failed := make(chan error, 2)
	workers.Go(func() { s.expireKeys(background) })
	workers.Go(func() {
		if err := s.tendKeystore(background); err != nil {
			failed <- err
		}
	})
	workers.Go(func() { failed <- s.server.Serve(listener) })
	ready(listener.Addr(), adminAddr)
	for {
		select {
		case <-reload:
			s.reload()
		case err := <-failed:
			return errors.Join(err, s.server.Close())
		case <-ctx.Done():
			return s.stop()
		}
	}
}

// refuseSealed is checkSealed at the start. A keystore that cannot be asked is asked again by tendKeystore.
func (s *service) refuseSealed(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, sealedTimeout)
	defer cancel()
	var sealed *sealedError
	if err := s.checkSealed(ctx, s.policy); errors.As(err, &sealed) {
		return err
	}
	return nil
}

// stop lets running statements finish, for stopTimeout.
func (s *service) stop() error {
	s.log.Info("stopping: running statements may finish", "at_most", stopTimeout)
	ctx, cancel := context.WithTimeout(context.Background(), stopTimeout)
	defer cancel()
	if err := s.server.Shutdown(ctx); err != nil {
		s.log.Warn("statements were cut off", "error", err)
	}
	s.log.Info("stopped")
	return nil
}

// serveAdmin starts the admin endpoint if it is configured.
func (s *service) serveAdmin(ctx context.Context, workers *sync.WaitGroup) (net.Addr, error) {
	if s.config.Admin.Address == "" {
		return nil, nil
	}
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.config.Admin.Address)
	if err != nil {
		return nil, fmt.Errorf("admin.address: %w", err)
	}
	admin := s.server.NewAdminServer()
	workers.Go(func() {
		stop := context.AfterFunc(ctx, func() { _ = admin.Close() })
		defer stop()
		// Always an error; after Close it says nothing.
		if err := admin.Serve(listener); ctx.Err() == nil {
			s.log.Error("the admin endpoint failed", "error", err)
		}
	})
	return listener.Addr(), nil
}

// expireKeys drops derived keys that have not been used for the cache's TTL.
func (s *service) expireKeys(ctx context.Context) {
	tick := time.NewTicker(max(time.Second, s.config.Keystore.CacheTTL/4))
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			s.cache.Expire()
			if s.vault != nil {
				s.vault.Expire()
			}
		case <-ctx.Done():
			return
		}
	}
}

// openVault makes the vault over the keystore's tables, which are made at first use. Without a fleet secret there is none.
func (s *service) openVault(backend *proxy.SchemaConfig) error {
	if s.keys.fleet == nil {
		return nil
	}
	if s.config.Keystore.Adopt {
		s.log.Warn("keystore.adopt is on: owners whose record was made under another fleet secret are taken over when they show a recovery code or secret; switch it off when they are through")
	}
	if name := s.config.Keystore.Escrow; name != "" {
		s.log.Warn("escrow is on: the operator can open the key of every owner who is enrolled", "service_key", name)
	}
	var err error
	s.tables, s.vault, err = newVault(s.config, s.keys, backend)
	return err
}

// newVault makes the keystore's tables, as they are used, and the vault over them. The keys have a fleet secret.
func newVault(c *configs.Config, keys *keys, backend *proxy.SchemaConfig) (*tables.Store, *keystore.Vault, error) {
	k := &c.Keystore
	config := keystore.VaultConfig{
		Realm: k.Realm, Fleet: keys.fleet, Rand: rand.Reader, TokenTTL: k.TokenTTL, Sliding: k.TokenSliding,
		ForgetGrace: k.ForgetGrace, CacheSize: k.CacheSize, CacheTTL: k.CacheTTL, Cost: k.Password, ShredList: k.ShredList, Adopt: k.Adopt,
	}
	if k.Escrow != "" {
		key, ok := keys.services.Lookup(k.Escrow)
		if !ok {
			return nil, nil, fmt.Errorf("keystore.escrow: there is no service key %s", k.Escrow)
		}
		config.Escrow = key
	}
	store := tables.New(tables.Config{
		Address: backend.Address, User: backend.User, Password: backend.Password, TLS: backend.TLS,
		Database: k.Database, Realm: k.Realm, Fingerprint: keys.fleet.Fingerprint(k.Realm),
		Adopt: k.Adopt,
	})
	config.Store = store
	vault, err := keystore.NewVault(config)
	if err != nil {
		store.Close()
		return nil, nil, fmt.Errorf("keystore: %w", err)
	}
	return store, vault, nil
}

const (
	// keystoreRetry is the pause before the tables are tried again.
	keystoreRetry = 5 * time.Second
	// keystoreTend is how often owners whose time has come are looked for.
	keystoreTend = time.Minute
)

// tendKeystore makes or upgrades the keystore's tables, and then destroys the key slots of forgotten owners when their time
// has come. It returns an error, before ctx ends, when the policy turns out to be one that may not be.
func (s *service) tendKeystore(ctx context.Context) error {
	if s.vault == nil {
		return nil
	}
	ready := false
	for pause := time.Duration(0); ; {
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return nil
		}
		pause = keystoreTend
		if !ready {
			if err := s.tables.Setup(ctx); err != nil {
				s.log.Warn("the keystore is not usable: nobody can enroll or unlock", "error", err)
				pause = keystoreRetry
				continue
			}
			var sealed *sealedError
			if err := s.checkSealed(ctx, s.config.Policy); errors.As(err, &sealed) {
				return err
			} else if err != nil {
				s.log.Warn("which columns are sealed cannot be read", "error", err)
				pause = keystoreRetry
				continue
			}
			ready = true
			s.log.Info("keystore ready", "database", s.config.Keystore.Database)
		}
		done, err := s.vault.Destroy(ctx)
		for _, owner := range done {
			s.log.Info("key slots destroyed", "owner", s.vault.OwnerHash(owner))
		}
		if err != nil && ctx.Err() == nil {
			s.log.Warn("keystore", "error", err)
		}
	}
}

// reload replaces the policy by that of the configuration file, or says why not.
func (s *service) reload() {
	next, err := loadConfig(s.config.File)
	if err == nil {
		err = s.accept(next)
	}
	if err != nil {
		s.log.Error("the policy was not reloaded: the old one stays", "error", err)
		return
	}
	s.policy = next.Policy
	s.schema.SetPolicy(next.Policy)
	if s.mode != next.Mode {
		s.mode = next.Mode
		s.schema.Enforce()
	}
	s.log.Info("policy reloaded", "mode", string(s.mode))
}

// accept says why a configuration may not take the place of the one in force.
func (s *service) accept(next *configs.Config) error {
	if problems := next.Unavailable(); len(problems) > 0 {
		return problems
	}
	if !sameButPolicy(s.config, next) {
		return errors.New("settings other than databases changed: they need a restart")
	}
	if next.Mode == configs.ModeReport && s.mode != next.Mode {
		return errors.New("mode: report would take protection from columns without an annotation: it needs a restart")
	}
	snapshot, err := s.currentSchema()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), sealedTimeout)
	defer cancel()
	if err := s.checkSealed(ctx, next.Policy); err != nil {
		return err
	}
	if columns := unprotected(snapshot.Schema, s.policy, next.Policy); len(columns) > 0 {
		return fmt.Errorf("it no longer protects columns whose annotation says that they hold cells: %s", strings.Join(columns, ", "))
	}
	return nil
}

// currentSchema waits a little for the schema: without it nobody knows which
// columns hold cells.
func (s *service) currentSchema() (*proxy.Snapshot, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return s.schema.Current(ctx)
}

// sameButPolicy tells whether two configurations differ at most in the policy.
func sameButPolicy(a, b *configs.Config) bool {
	return reflect.DeepEqual(a.WithoutPolicy(), b.WithoutPolicy())
}

// unprotected returns the annotated columns that the old policy names and the new
// one does not.
func unprotected(schema *rewrite.Schema, old, next *rewrite.Policy) []string {
	var columns []string
	for _, tables := range schema.Databases {
		for _, table := range tables {
			was := old.Table(table.Database, table.Name, schema.LowerCaseTableNames)
			is := next.Table(table.Database, table.Name, schema.LowerCaseTableNames)
			for _, column := range table.Columns {
				p := column.Protected
				if p != nil && p.Annotated && was.Column(column.Name) != nil && is.Column(column.Name) == nil {
					columns = append(columns, p.String())
				}
			}
		}
	}
	slices.Sort(columns)
	return columns
}
