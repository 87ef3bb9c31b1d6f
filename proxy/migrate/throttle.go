package migrate

import (
	"context"
	"fmt"
	"strconv"
	"time"
)

// throttle keeps a run within its limits.
type throttle struct {
	e *Engine
	// began and rows are of the stretch over which the rate is kept.
	began time.Time
	rows  int
	// looked is when the server was last asked how it fares.
	looked time.Time
}

const (
	// lookEvery is how often the server is asked, calmDown how long a pause is before it is asked again.
	lookEvery = time.Second
	calmDown  = 500 * time.Millisecond
	// stretch is how much of unused rate may be caught up with.
	stretch = 2 * time.Second
)

// after waits, having written n rows, until the next batch may go.
func (t *throttle) after(ctx context.Context, n int) error {
	now := t.e.config.Now()
	if t.began.IsZero() || now.Sub(t.began) > stretch && t.e.config.Rate > 0 && float64(t.rows) < now.Sub(t.began).Seconds()*float64(t.e.config.Rate) {
		t.began, t.rows = now, 0
	}
	t.rows += n
	if rate := t.e.config.Rate; rate > 0 {
		due := time.Duration(float64(t.rows) / float64(rate) * float64(time.Second))
		if err := sleep(ctx, due-now.Sub(t.began)); err != nil {
			return err
		}
	}
	if t.e.config.MaxLag == 0 && t.e.config.MaxRunning == 0 || now.Sub(t.looked) < lookEvery {
		return ctx.Err()
	}
	for {
		calm, err := t.calm(ctx)
		if err != nil {
			return err
		}
		if calm {
			t.looked = t.e.config.Now()
			return nil
		}
		if err := sleep(ctx, calmDown); err != nil {
			return err
		}
	}
}

// calm tells whether the server is within the limits.
func (t *throttle) calm(ctx context.Context) (bool, error) {
	if most := t.e.config.MaxRunning; most > 0 {
		rows, err := t.e.rows(ctx, "SHOW GLOBAL STATUS LIKE 'Threads_running'")
		if err != nil {
			return false, err
		}
		if len(rows) == 1 {
			if n, err := strconv.Atoi(string(rows[0][1])); err == nil && n > most {
				return false, nil
			}
		}
	}
	if most := t.e.config.MaxLag; most > 0 {
		ask := t.e.config.Lag
		if ask == nil {
			ask = t.e.ownLag
		}
		lag, err := ask(ctx)
		if err != nil {
			return false, err
		}
		return lag <= most, nil
	}
	return true, nil
}

// ownLag is how far the server itself is behind as a replica.
func (e *Engine) ownLag(ctx context.Context) (time.Duration, error) {
	r, err := e.run(ctx, "SHOW ALL SLAVES STATUS")
	if err != nil {
		return 0, fmt.Errorf("ask for the lag of replication: %w", err)
	}
	defer r.Close()
	return ReplicaLag(r)
}

func sleep(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return ctx.Err()
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
