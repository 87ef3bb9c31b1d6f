package proxy

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"latchkey/proxy/evaluator"
)

// readyTimeout bounds one readiness check.
const readyTimeout = 5 * time.Second

// readyCheck is one condition for serving statements.
type readyCheck struct {
	name  string
	check func(context.Context) error
}

// AddReadyCheck makes readiness depend on check. Its error is logged, and shown to whoever asks
// only as the name of the check: the endpoint has no login.
func (s *Server) AddReadyCheck(name string, check func(context.Context) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.checks = append(s.checks, readyCheck{name, check})
}

var errNotServing = errors.New("not accepting clients")

// ready returns the name of the first condition that does not hold, empty if all do.
func (s *Server) ready(ctx context.Context) string {
	s.mu.Lock()
	checks := append([]readyCheck{{"listener", func(context.Context) error {
		if s.serving.Load() == 0 || s.closing.Load() {
			return errNotServing
		}
		return nil
	}}}, s.checks...)
	s.mu.Unlock()
	ctx, cancel := context.WithTimeout(ctx, readyTimeout)
	defer cancel()
	for _, c := range checks {
		if err := c.check(ctx); err != nil {
			s.log.Warn("not ready", "check", c.name, "error", err)
			return c.name
		}
	}
	return ""
}

// status is what /status shows.
type status struct {
	Version        string `json:"version"`
	UptimeSeconds  int64  `json:"uptime_seconds"`
	Serving        bool   `json:"serving"`
	Sessions       int    `json:"sessions"`
	SessionsLogin  int    `json:"sessions_logging_in"`
	SessionsActive int    `json:"sessions_active"`
	ClientTLS      bool   `json:"client_tls"`
	BackendTLS     bool   `json:"backend_tls"`
	// Evaluator is left out where nothing is protected.
	Evaluator *evaluator.Status `json:"evaluator,omitempty"`
	// Report is left out where the whole policy is enforced.
	Report *Report `json:"report,omitempty"`
}

func (s *Server) status() status {
	st := status{
		Version:       s.config.Version,
		UptimeSeconds: int64(time.Since(s.started).Seconds()),
		Serving:       s.serving.Load() > 0 && !s.closing.Load(),
		ClientTLS:     s.clientTLS != nil,
		BackendTLS:    s.backendTLS != nil,
	}
	if st.Version == "" {
		st.Version = "unknown"
	}
	if p := s.config.Protection; p != nil && p.Evaluator != nil {
		now := p.Evaluator.Status()
		// It is not started where nothing is protected yet.
		if current := p.Schema.current.Load(); now.Starts > 0 || current == nil || protects(current) {
			st.Evaluator = &now
		}
	}
	if p := s.config.Protection; p != nil && p.Schema != nil && p.Schema.reports.Load() {
		st.Report = s.report.list(p.Schema.current.Load(), p.maxRows())
	}
	for _, session := range s.appendSessions(nil) {
		st.Sessions++
		switch session.phase.Load() {
		case phaseLogin:
			st.SessionsLogin++
		case phaseRunning, phaseBusy:
			st.SessionsActive++
		}
	}
	return st
}

// AdminHandler serves /metrics (Prometheus), /healthz (the process answers), /readyz (statements can
// be served) and /status (a short overview as JSON or as a page). None of it names a user, a table or a statement, but for the
// report: /status then shows statements without their literals.
func (s *Server) AdminHandler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("ok\n"))
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		if failed := s.ready(r.Context()); failed != "" {
			http.Error(w, "not ready: "+failed, http.StatusServiceUnavailable)
			return
		}
		_, _ = w.Write([]byte("ready\n"))
	})
	mux.HandleFunc("GET /status", s.serveStatus)
	return mux
}

// NewAdminServer returns an HTTP server for AdminHandler with limits on slow clients. The caller
// gives it a listener and shuts it down.
func (s *Server) NewAdminServer() *http.Server {
	return &http.Server{
		Handler:           s.AdminHandler(),
		ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout:       10 * time.Second,
		WriteTimeout:      30 * time.Second,
		IdleTimeout:       time.Minute,
		MaxHeaderBytes:    16 << 10,
	}
}
