package configs

import (
	"encoding/json"
	"os"
	"regexp"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/prometheus/client_golang/prometheus"

	"latchkey/proxy"
)

// metricNames returns the names of all metrics that a server has.
func metricNames(t *testing.T) map[string]bool {
	t.Helper()
	registry := prometheus.NewRegistry()
	if _, err := proxy.NewServer(proxy.Config{Backend: proxy.BackendConfig{Address: "127.0.0.1:3306"}, Registry: registry}); err != nil {
		t.Fatal(err)
	}
	descs := make(chan *prometheus.Desc)
	go func() {
		registry.Describe(descs)
		close(descs)
	}()
	names := make(map[string]bool)
	fqName := regexp.MustCompile(`fqName: "([^"]+)"`)
	for desc := range descs {
		m := fqName.FindStringSubmatch(desc.String())
		if m == nil {
			t.Fatalf("no name in %s", desc)
		}
		names[m[1]] = true
	}
	return names
}

var (
	metricInText    = regexp.MustCompile(`\blatchkey_[a-z_]+`)
	histogramSuffix = regexp.MustCompile(`_(bucket|sum|count)$`)
)

// checkMetrics reports names in an expression that no metric has.
func checkMetrics(t *testing.T, where, expression string, known map[string]bool) {
	t.Helper()
	for _, name := range metricInText.FindAllString(expression, -1) {
		if !known[name] && !known[histogramSuffix.ReplaceAllString(name, "")] {
			t.Errorf("%s: there is no metric %s", where, name)
		}
	}
}

func TestAlertsUseMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("alerts.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []struct {
				Alert, Expr, For    string
				Labels, Annotations map[string]string
			}
		}
	}
	if err := yaml.UnmarshalWithOptions(text, &file, yaml.Strict()); err != nil {
		t.Fatal(err)
	}
	known := metricNames(t)
	rules := 0
	for _, group := range file.Groups {
		for _, rule := range group.Rules {
			rules++
			if rule.Alert == "" || rule.Expr == "" || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" {
				t.Errorf("alert %q lacks its expression, severity or summary", rule.Alert)
			}
			checkMetrics(t, rule.Alert, rule.Expr, known)
		}
	}
	if rules == 0 {
		t.Error("alerts.yml has no rules")
	}
}

func TestTheDashboardUsesMetricsThatExist(t *testing.T) {
	text, err := os.ReadFile("grafana.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Panels []struct {
			Title   string
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	if len(dashboard.Panels) == 0 {
		t.Error("grafana.json has no panels")
	}
	known := metricNames(t)
	for _, panel := range dashboard.Panels {
		if len(panel.Targets) == 0 {
			t.Errorf("panel %q shows nothing", panel.Title)
		}
		for _, target := range panel.Targets {
			checkMetrics(t, panel.Title, target.Expr, known)
		}
	}
}

func TestPrometheusExampleLoadsTheAlerts(t *testing.T) {
	text, err := os.ReadFile("prometheus.yml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		RuleFiles     []string `yaml:"rule_files"`
		ScrapeConfigs []struct {
			JobName       string                       `yaml:"job_name"`
			StaticConfigs []struct{ Targets []string } `yaml:"static_configs"`
		} `yaml:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	for _, name := range file.RuleFiles {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
	if len(file.ScrapeConfigs) != 1 || file.ScrapeConfigs[0].JobName != "latchkey" {
		t.Fatalf("scrape configs = %+v, want the job latchkey", file.ScrapeConfigs)
	}
	if got, want := file.ScrapeConfigs[0].StaticConfigs[0].Targets[0], Default().Admin.Address; got != want {
		t.Errorf("it scrapes %s, want the default admin address %s", got, want)
	}
}
