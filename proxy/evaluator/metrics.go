package evaluator

import "github.com/prometheus/client_golang/prometheus"

// metrics are those of one Evaluator.
type metrics struct {
	starts     prometheus.Counter
	statements prometheus.Counter
	seconds    prometheus.Counter
	rows       prometheus.Counter
	bytes      prometheus.Counter
}

func newMetrics(reg prometheus.Registerer, e *Evaluator) *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Namespace: "latchkey", Subsystem: "evaluator", Name: name, Help: help})
	}
	m := &metrics{
		starts:     counter("starts_total", "Starts of the evaluator's server; more than one means that it ended and was started again."),
		statements: counter("statements_total", "Statements sent to the evaluator."),
		seconds:    counter("seconds_total", "Time in which connections to the evaluator were in use, in seconds."),
		rows:       counter("loaded_rows_total", "Rows loaded into the evaluator."),
		bytes:      counter("loaded_bytes_total", "Bytes of rows loaded into the evaluator, before escaping."),
	}
	if reg == nil {
		return m
	}
	gauge := func(name, help string, value func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Namespace: "latchkey", Subsystem: "evaluator", Name: name, Help: help}, value)
	}
	reg.MustRegister(m.starts, m.statements, m.seconds, m.rows, m.bytes,
		gauge("up", "1 while the evaluator's server runs.", func() float64 {
			if e.Status().State == "running" {
				return 1
			}
			return 0
		}),
		gauge("connections", "Connections to the evaluator that are in use.", func() float64 { return float64(len(e.slots)) }),
	)
	return m
}
