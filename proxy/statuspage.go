package proxy

import (
	"encoding/json"
	"html/template"
	"net/http"
	"strings"
)

// statusPage is /status for people.
var statusPage = template.Must(template.New("status").Parse(`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Latchkey</title>
<style>
body { font: 15px/1.4 sans-serif; margin: 2em; }
table { border-collapse: collapse; }
th, td { border: 1px solid #bbb; padding: .3em .6em; text-align: left; vertical-align: top; }
td.n { text-align: right; }
code { white-space: pre-wrap; overflow-wrap: anywhere; }
</style>
</head>
<body>
<h1>Latchkey {{.Version}}</h1>
<p>Serving: {{.Serving}}. Up for {{.UptimeSeconds}} seconds. Sessions: {{.Sessions}}, active {{.SessionsActive}}, logging in {{.SessionsLogin}}.
TLS of clients: {{.ClientTLS}}, of the backend: {{.BackendTLS}}.{{with .Evaluator}} Evaluator: {{.State}}.{{end}}</p>
{{with .Report}}<h2>Report</h2>
<p>Columns that only the policy names are not protected yet. This is what would become of the statements.</p>
<table>
<tr><th>Class</th><th>Count</th><th>Statement</th><th>Database</th><th>Reason</th><th>Rows</th><th>Last seen</th></tr>
{{range .Statements}}<tr><td>{{.Class}}</td><td class="n">{{.Count}}</td><td><code>{{.Statement}}</code></td><td>{{.Database}}</td>
<td>{{if .Code}}{{.Code}}{{with .Column}} {{.}}{{end}}: {{.Reason}}{{with .Hint}}; {{.}}{{end}}{{end}}</td><td class="n">{{if .Rows}}{{.Rows}}{{end}}</td><td>{{.LastSeen.Format "2006-01-02 15:04:05"}}</td></tr>
{{end}}</table>
{{end}}</body>
</html>
`))

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
