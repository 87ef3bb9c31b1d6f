package cli

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"latchkey/proxy/migrate"
	"latchkey/rewrite"
)

// sealedTimeout bounds how long the start waits for the keystore, which tells what was sealed.
const sealedTimeout = 5 * time.Second

// sealedError says that a policy lets plaintext into columns that hold cells only.
type sealedError struct{ columns []string }

// Error implements error.
func (e *sealedError) Error() string {
	return "plaintext: accept for columns that hold nothing but cells, since latchkey migrate finish: " + strings.Join(e.columns, ", ") + "; take it out of the policy"
}

// checkSealed refuses a policy that lets plaintext into a column which was finished. Other errors are the keystore's, when it
// cannot be asked.
func (s *service) checkSealed(ctx context.Context, policy *rewrite.Policy) error {
	accepting := false
	for _, tables := range policy.Databases {
		for _, table := range tables {
			for _, column := range table.Columns {
				accepting = accepting || column.PlaintextAccept
			}
		}
	}
	if !accepting || s.tables == nil {
		return nil
	}
	sealed, err := migrate.SealedSince(ctx, s.tables, s.keys.fleet, s.keys.realm)
	if err != nil {
		return err
	}
	snapshot, err := s.schema.Current(ctx)
	if err != nil {
		return err
	}
	var columns []string
	for _, tables := range snapshot.Schema.Databases {
		for _, t := range tables {
			tp := policy.Table(t.Database, t.Name, snapshot.Schema.LowerCaseTableNames)
			for _, c := range t.Columns {
				if cp := tp.Column(c.Name); cp == nil || !cp.PlaintextAccept || c.Protected == nil {
					continue
				}
				for i := range sealed {
					if sealed[i].Of(c.Protected) {
						columns = append(columns, fmt.Sprintf("%s (%s)", c.Protected, sealed[i].Since.Format(time.DateOnly)))
					}
				}
			}
		}
	}
	if len(columns) == 0 {
		return nil
	}
	slices.Sort(columns)
	return &sealedError{columns}
}
