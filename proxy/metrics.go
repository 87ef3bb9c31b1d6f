package proxy

import (
	"strconv"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"latchkey/rewrite"
)

// statementClass is the class of a statement, as metrics count it.
type statementClass uint8

const (
	classPass statementClass = iota
	classSealed
	classResidual
	classRefused
	classLocal // answered by the proxy itself: key procedures, pushes of keys
	classCount
)

var classNames = [classCount]string{"pass", "sealed", "residual", "refused", "local"}

func (c statementClass) String() string { return classNames[c] }

// metrics are all metrics of a server. Labels come from closed enums: never from SQL, a user or a
// table.
type metrics struct {
	sessions   prometheus.Gauge
	preAuth    prometheus.Gauge
	ended      [causeCount]prometheus.Counter
	statements [classCount]prometheus.Counter
	reported   [classLocal]prometheus.Counter
	refusals   *prometheus.CounterVec
	keyCalls   *prometheus.CounterVec
	delay      prometheus.Histogram

	clientReceived, clientSent, backendReceived, backendSent prometheus.Counter

	cellsSealed, cellsOpened, cellsFailed, cellsPlain prometheus.Counter

	rowsConverted prometheus.Counter
}

// newMetrics makes the metrics and registers them; with a nil registerer they only count.
func newMetrics(reg prometheus.Registerer, plans *rewrite.CacheStats) *metrics {
	var all []prometheus.Collector
	counter := func(name, help string, labels prometheus.Labels) prometheus.Counter {
		c := prometheus.NewCounter(prometheus.CounterOpts{Namespace: "latchkey", Name: name, Help: help, ConstLabels: labels})
		all = append(all, c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Namespace: "latchkey", Name: name, Help: help})
		all = append(all, g)
		return g
	}
	const (
		bytesName, bytesHelp = "bytes_total", "Bytes moved, by the connection and the direction seen from the proxy; inside TLS."
		cellsName, cellsHelp = "cells_total", "Cells sealed, opened, and found damaged or forged (9703), and plaintext read from columns that are being converted."
		plansName, plansHelp = "plan_lookups_total", "Look-ups in the plan cache, by result."
	)
	bytes := func(side, direction string) prometheus.Counter {
		return counter(bytesName, bytesHelp, prometheus.Labels{"connection": side, "direction": direction})
	}
	m := &metrics{
		sessions: gauge("sessions", "Sessions that are open, logged in or not."),
		preAuth:  gauge("sessions_pre_auth", "Sessions whose client is not logged in yet."),
		refusals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "latchkey", Name: "refusals_total",
			Help: "ERR packets that came from the proxy and not from the backend, by error number.",
		}, []string{"code"}),
		keyCalls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Namespace: "latchkey", Name: "key_procedures_total",
			Help: "Calls of key procedures over an owner, by procedure and result: ok, denied, delayed, tampered, error.",
		}, []string{"procedure", "result"}),
		delay: prometheus.NewHistogram(prometheus.HistogramOpts{
			Namespace: "latchkey", Name: "request_delay_seconds",
			Help:    "Time from having read a request to having sent it on: what planning, sealing and side queries add.",
			Buckets: []float64{5e-6, 10e-6, 25e-6, 50e-6, 100e-6, 250e-6, 500e-6, 1e-3, 2.5e-3, 5e-3, 10e-3, 25e-3, 50e-3, 100e-3, 1},
		}),
		clientReceived:  bytes("client", "received"),
		clientSent:      bytes("client", "sent"),
		backendReceived: bytes("backend", "received"),
		backendSent:     bytes("backend", "sent"),
		cellsSealed:     counter(cellsName, cellsHelp, prometheus.Labels{"result": "sealed"}),
		cellsOpened:     counter(cellsName, cellsHelp, prometheus.Labels{"result": "opened"}),
		cellsFailed:     counter(cellsName, cellsHelp, prometheus.Labels{"result": "failed"}),
		cellsPlain:      counter(cellsName, cellsHelp, prometheus.Labels{"result": "plaintext"}),
		rowsConverted:   counter("converted_rows_total", "Rows with plaintext that were sealed in the background of sessions.", nil),
	}
	for result, count := range map[string]*atomic.Uint64{"hit": &plans.Hits, "miss": &plans.Misses} {
		all = append(all, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Namespace: "latchkey", Name: plansName, Help: plansHelp, ConstLabels: prometheus.Labels{"result": result},
		}, func() float64 { return float64(count.Load()) }))
	}
	for c := range m.ended {
		m.ended[c] = counter("sessions_ended_total", "Sessions that ended, by cause.", prometheus.Labels{"cause": endCause(c).String()})
	}
	for c := range m.statements {
		m.statements[c] = counter("statements_total", "Statements, by class.", prometheus.Labels{"class": statementClass(c).String()})
	}
	for c := range m.reported {
		m.reported[c] = counter("report_statements_total", "Statements under mode: report, by the class that they would have under enforce.",
			prometheus.Labels{"class": statementClass(c).String()})
	}
	if reg != nil {
		reg.MustRegister(append(all, m.refusals, m.keyCalls, m.delay)...)
	}
	return m
}

// refused counts an ERR packet of the proxy's own.
func (m *metrics) refused(code uint16) {
	m.refusals.WithLabelValues(strconv.Itoa(int(code))).Inc()
}
