package proxy

import (
	_ "embed"
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
	"time"
)

//go:embed statuspage.html
var statusPageText string

// statusPage is /status for people. It needs no script and nothing from elsewhere.
var statusPage = template.Must(template.New("status").Funcs(template.FuncMap{"marked": marked}).Parse(statusPageText))

// marked shows what stands between backticks as code.
func marked(text string) template.HTML {
	var b strings.Builder
	for i, part := range strings.Split(text, "`") {
		part = template.HTMLEscapeString(part)
		if i%2 == 1 {
			part = "<code>" + part + "</code>"
		}
		b.WriteString(part)
	}
	return template.HTML(b.String())
}

// Uptime is how long the server has been running, for people.
func (s status) Uptime() string { return (time.Duration(s.UptimeSeconds) * time.Second).String() }

// serveStatus answers /status: a page where ?format=html or the Accept header asks for one, else JSON.
func (s *Server) serveStatus(w http.ResponseWriter, r *http.Request) {
	header := w.Header()
	header.Set("Vary", "Accept")
	header.Set("X-Content-Type-Options", "nosniff")
	header.Set("Cache-Control", "no-store")
	format := r.URL.Query().Get("format")
	if format == "html" || format == "" && strings.Contains(r.Header.Get("Accept"), "text/html") {
		header.Set("Content-Type", "text/html; charset=utf-8")
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
		_ = statusPage.Execute(w, s.status())
		return
	}
	header.Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s.status())
}
