package evaluator

import (
	"testing"
	"time"
)

// BenchmarkStart is the time from nothing to the first answer.
func BenchmarkStart(b *testing.B) {
	for b.Loop() {
		e := New(Config{})
		began := time.Now()
		e.Start(Settings{}, nil)
		c := acquire(b, e)
		run(b, c, "DO 1")
		b.ReportMetric(float64(time.Since(began).Milliseconds()), "ms/first-answer")
		c.Release()
		e.Close()
	}
}

// BenchmarkAcquire is what a connection of the pool costs: its reset.
func BenchmarkAcquire(b *testing.B) {
	e := start(b, Config{})
	for b.Loop() {
		c, err := e.Acquire(b.Context(), BaseCaps)
		if err != nil {
			b.Fatal(err)
		}
		c.Release()
	}
}

// BenchmarkDial is what a connection costs that is not in the pool.
func BenchmarkDial(b *testing.B) {
	e := start(b, Config{})
	c := acquire(b, e)
	defer c.Release()
	for b.Loop() {
		fresh, err := c.server.dial(b.Context(), BaseCaps)
		if err != nil {
			b.Fatal(err)
		}
		fresh.close()
	}
}

// BenchmarkDescribe is what the column definitions of a statement cost.
func BenchmarkDescribe(b *testing.B) {
	e := start(b, Config{})
	c := acquire(b, e)
	defer c.Release()
	run(b, c, "CREATE DATABASE d")
	run(b, c, "CREATE TABLE d.t (id INT PRIMARY KEY, title VARCHAR(200), amount DECIMAL(12,2))")
	for b.Loop() {
		if _, err := c.Describe(b.Context(), []byte("SELECT id, title, amount FROM d.t WHERE id = ? ORDER BY title")); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkLoad is what 1,000 rows of four columns cost, with their temporary table.
func BenchmarkLoad(b *testing.B) {
	e := start(b, Config{})
	c := acquire(b, e)
	defer c.Release()
	run(b, c, "CREATE DATABASE d")
	row := [][]byte{[]byte("1234567"), []byte("groceries and other things"), []byte("123.45"), []byte("2024-02-29")}
	for b.Loop() {
		run(b, c, "CREATE TEMPORARY TABLE d.t (id INT, title VARCHAR(200), amount DECIMAL(12,2), day DATE) ENGINE=Aria TRANSACTIONAL=0")
		l, err := c.Load(b.Context(), "d", "t", []string{"id", "title", "amount", "day"})
		if err != nil {
			b.Fatal(err)
		}
		for range 1000 {
			if err := l.Row(row); err != nil {
				b.Fatal(err)
			}
		}
		if err := l.Close(); err != nil {
			b.Fatal(err)
		}
		run(b, c, "DROP TEMPORARY TABLE d.t")
	}
}
