package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const rulesFile = "../../deploy/prometheus/rules.yml"

// metricsFiles hold the metrics of line mode, without named services and with them.
var metricsFiles = []string{"../../admin/testdata/metrics.txt", "../../admin/testdata/services.txt"}

func TestRulesHaveNoFaults(t *testing.T) {
	if err := check(metricsFiles, rulesFile); err != nil {
		t.Error(err)
	}
}

func TestBrokenRulesAreRefused(t *testing.T) {
	const whole = `groups:
  - name: x
    rules:
      - alert: A
        expr: sum by (target) (rate(linesplit_confirmed_lines_total{target!=""}[5m])) > 0
        for: 5m
        labels:
          severity: warning
        annotations:
          summary: "{{ $labels.target }}"
          description: text
`
	for _, test := range []struct{ name, old, new, want string }{
		{"nothing wrong", "", "", ""},
		{"not YAML", "groups:", "groups: [", "yaml"},
		{"no rules", whole, "groups: []", "no rules"},
		{"unknown key", "for: 5m", "during: 5m", "during"},
		{"bad duration", "for: 5m", "for: soon", "soon"},
		{"bad expression", "> 0", ">", "could not parse expression"},
		{"bad template", "{{ $labels.target }}", "{{ $labels.target", "template"},
		{"unknown metric", "confirmed_lines_total", "confirmed_total", `metric "linesplit_confirmed_total" does not exist`},
		{"another program's metric", "linesplit_confirmed_lines_total", "up", `metric "up" does not exist`},
		{"unknown label", "{target!", "{to!", `metric linesplit_confirmed_lines_total has no label "to"`},
		{"unknown group", "by (target)", "by (to)", `grouped by "to", which linesplit_confirmed_lines_total does not have`},
		{"part of a histogram", "rate(linesplit_confirmed_lines_total", "rate(linesplit_confirmation_seconds", `metric "linesplit_confirmation_seconds" does not exist`},
		{"severity", "severity: warning", "severity: urgent", `severity "urgent": want critical or warning`},
		{"no summary", "summary:", "title:", "has no summary"},
		{"no description", "description:", "runbook:", "has no description"},
		{"recording rule", "alert: A", "record: a", "is not an alert"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(whole, test.old, test.new, 1)
			if test.want == "is not an alert" { // a recording rule has no annotations and no "for"
				text = strings.Replace(text[:strings.Index(text, "        annotations")], "        for: 5m\n", "", 1)
			}
			file := filepath.Join(t.TempDir(), "rules.yml")
			if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			switch err := check(metricsFiles, file); {
			case test.want == "" && err != nil:
				t.Error(err)
			case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want)):
				t.Errorf("got %v, want %q in it", err, test.want)
			}
		})
	}
}

func TestMissingFilesAreErrors(t *testing.T) {
	if err := check([]string{"/nonexistent/metrics"}, rulesFile); err == nil {
		t.Error("no error without metrics")
	}
	if err := check(metricsFiles, "/nonexistent/rules"); err == nil {
		t.Error("no error without rules")
	}
}
