package main

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"linesplit/tools/known"
)

const repository = "../.."

// help returns linesplit's flags. It builds linesplit only once.
var help = sync.OnceValues(func() (commands, error) { return askHelp(repository) })

func TestDeployHasNoFaults(t *testing.T) {
	c := asked(t)
	deploy := filepath.Join(repository, "deploy")
	for name, err := range map[string]error{
		"compose":    checkCompose(filepath.Join(deploy, "compose.yaml"), c),
		"scale":      checkCompose(filepath.Join(deploy, "compose.scale.yaml"), c),
		"kubernetes": checkCluster(filepath.Join(deploy, "kubernetes"), c),
		"dashboards": checkDashboards(repository),
		"operations": checkOperations(repository),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// asked returns linesplit's flags.
func asked(t *testing.T) commands {
	t.Helper()
	c, err := help()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// someCommands returns flags to test with, so that the tests do not depend on linesplit's real
// flags.
func someCommands() commands {
	some := flags{}
	for _, name := range []string{"listen", "target", "memory", "drain-timeout", "failback-interval", "admin",
		"log-format", "to", "connections", "rate"} {
		some[name] = true
	}
	some["reconnect"] = false
	return commands{"": some, "send": some, "sink": some}
}

// fault is a change to a file of deploy/, and a part of the error that it must cause.
type fault struct{ name, file, old, new, want string }

func TestComposeFaultsAreFound(t *testing.T) {
	for _, test := range []fault{
		{"nothing wrong", "compose.yaml", "", "", ""},
		{"unknown key", "compose.yaml", "mem_limit:", "memory_limit:", "memory_limit"},
		{"unknown flag", "compose.yaml", "-memory=", "-memry=", "service linesplit: linesplit  has no flag -memry"},
		{"unknown command", "compose.yaml", "[send,", "[sent,", "no command linesplit sent"},
		{"unknown variable", "compose.yaml", "LINESPLIT_ADMIN", "LINESPLIT_ADMN", "LINESPLIT_ADMN sets no flag"},
		{"unknown target", "compose.yaml", "sink3:9999", "sink4:9999", "-target sink4:9999: no service"},
		{"unknown receiver", "compose.yaml", "linesplit:9000", "linespit:9000", "-to linespit:9000: no service"},
		{"killed while it drains", "compose.yaml", "stop_grace_period: 30s", "stop_grace_period: 20s", "is not longer than -drain-timeout 20s"},
		{"published", "compose.yaml", `"127.0.0.1:9000:9000"`, `"9000:9000"`, "on all addresses"},
		{"rights", "compose.yaml", "cap_drop: [ALL]", "cap_drop: [NET_RAW]", "cap_drop ALL"},
		{"no such file", "compose.yaml", "./prometheus/rules.yml:", "./prometheus/rule.yml:", "does not exist"},
		{"mounted for writing", "compose.yaml", "rules.yml:ro", "rules.yml:rw", "for writing"},
		{"rules not mounted", "prometheus/prometheus.yml", "/etc/prometheus/rules.yml", "/etc/rules.yml", "does not mount /etc/rules.yml"},
		{"scrapes no service", "prometheus/prometheus.yml", "linesplit:9091", "lines:9091", "job linesplit: lines:9091: no service"},
		{"Prometheus' unknown key", "prometheus/prometheus.yml", "scrape_interval", "scrap_interval", `unknown field "global.scrap_interval"`},
	} {
		t.Run(test.name, func(t *testing.T) {
			deploy := withFault(t, test)
			expect(t, checkCompose(filepath.Join(deploy, "compose.yaml"), someCommands()), test.want)
		})
	}
}

func TestClusterFaultsAreFound(t *testing.T) {
	const deployment, sidecar = "kubernetes/deployment.yaml", "kubernetes/examples/sidecar.yaml"
	for _, test := range []fault{
		{"nothing wrong", deployment, "", "", ""},
		{"unknown key", deployment, "replicas:", "replica:", `unknown field "spec.replica"`},
		{"key of another case", deployment, "runAsNonRoot", "runAsNonroot", "runAsNonroot"},
		{"key twice", deployment, "  replicas: 2", "  replicas: 2\n  replicas: 3", `"replicas" already`},
		{"two documents", deployment, "spec:\n  replicas", "---\nspec:\n  replicas", "more than one document"},
		{"wrong type", deployment, "replicas: 2", "replicas: two", "cannot unmarshal"},
		{"other kind", deployment, "kind: Deployment", "kind: DaemonSet", "is apps/v1 DaemonSet, want apps/v1 Deployment"},
		{"old version", "kubernetes/poddisruptionbudget.yaml", "policy/v1", "policy/v1beta1", "want policy/v1 PodDisruptionBudget"},
		{"service finds nothing", "kubernetes/service.yaml", "  selector:\n    app.kubernetes.io/name: linesplit", "  selector:\n    app: x", "Service: its selector"},
		{"budget finds nothing", "kubernetes/poddisruptionbudget.yaml", "      app.kubernetes.io/name: linesplit", "      app: x", "PodDisruptionBudget: its selector"},
		{"network finds nothing", "kubernetes/networkpolicy.yaml", "      app.kubernetes.io/name: linesplit\n  policy", "      app: x\n  policy", "NetworkPolicy: its selector"},
		{"monitor finds nothing", "kubernetes/servicemonitor.yaml", "      app.kubernetes.io/name: linesplit\n  end", "      app: x\n  end", "ServiceMonitor: its selector"},
		{"monitor's unknown key", "kubernetes/servicemonitor.yaml", "interval:", "every:", "every"},
		{"monitor's port", "kubernetes/servicemonitor.yaml", "port: metrics", "port: metric", `ServiceMonitor: no port "metric"`},
		{"service's port", "kubernetes/service.yaml", "targetPort: lines", "targetPort: line", `Service: no port "line"`},
		{"network's port", "kubernetes/networkpolicy.yaml", "port: lines", "port: line", `NetworkPolicy: no port "line"`},
		{"probe's port", deployment, "path: /readyz\n              port: metrics", "path: /readyz\n              port: admin", `no port "admin"`},
		{"service links", deployment, "enableServiceLinks: false", "enableServiceLinks: true", "LINESPLIT_PORT"},
		{"token of the cluster", sidecar, "automountServiceAccountToken: false", "automountServiceAccountToken: true", "sidecar: want automountServiceAccountToken"},
		{"root", deployment, "runAsNonRoot: true", "runAsNonRoot: false", "want runAsNonRoot"},
		{"writable", sidecar, "readOnlyRootFilesystem: true", "readOnlyRootFilesystem: false", "container sensor: want no privilege escalation"},
		{"killed while it drains", deployment, "terminationGracePeriodSeconds: 60", "terminationGracePeriodSeconds: 50", "take 55s, but it is killed after 50s"},
		{"unknown flag", sidecar, "-memory=", "-memry=", "container linesplit: linesplit  has no flag -memry"},
		{"bad duration", deployment, "-drain-timeout=45s", "-drain-timeout=soon", "soon"},
		{"no memory limit", deployment, "            limits:\n              memory: 512Mi", "            limits:\n              cpu: 1", "no memory limit"},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, checkCluster(filepath.Join(withFault(t, test), "kubernetes"), someCommands()), test.want)
		})
	}
}

func TestDashboardFaultsAreFound(t *testing.T) {
	metrics, err := allMetrics(repository)
	if err != nil {
		t.Fatal(err)
	}
	const file = "grafana/dashboards/linesplit.json"
	for _, test := range []fault{
		{"nothing wrong", file, "", "", ""},
		{"unknown key", file, `"fieldConfig"`, `"fieldConfigs"`, `fieldConfigs"`},
		{"no JSON", file, `"uid"`, `uid`, "invalid character"},
		{"two values", file, "\n}\n", "\n}\n{}\n", "after top-level value"},
		{"key twice", file, `"uid": "linesplit",`, `"uid": "linesplit", "uid": "other",`, "duplicate"},
		{"unknown metric", file, "linesplit_received_lines_total", "linesplit_received_total", `metric "linesplit_received_total" does not exist`},
		{"unknown label", file, "by (reason)", "by (why)", `grouped by "why"`},
		{"broken query", file, "sum(rate(linesplit_received_lines_total", "sum rate(linesplit_received_lines_total", "parse error"},
		{"legend", file, "{{instance}} held", "{{pod}} held", "the legend uses pod"},
		{"series of all instances", file, `sum by (instance) (linesplit_memory_bytes{job=\"$job\", instance=~\"$instance\", service=~\"$service\"})`, `sum by (instance) (linesplit_memory_bytes)`, "does not select $job"},
		{"variable's metric", file, "label_values(linesplit_build_info, job)", "label_values(linesplit_info, job)", `metric "linesplit_info" does not exist`},
		{"variable's query", file, "label_values(linesplit_build_info, job)", "jobs()", "want label_values"},
		{"unknown variable", file, `"name": "instance"`, `"name": "host"`, "there is no variable $instance"},
		{"same id", file, `"id": 3,`, `"id": 2,`, "have the same id 2"},
		{"overlap", file, `"x": 4,`, `"x": 3,`, "overlaps"},
		{"off the grid", file, `"x": 20,`, `"x": 22,`, "not on the grid"},
	} {
		t.Run(test.name, func(t *testing.T) {
			expect(t, checkDashboard(filepath.Join(withFault(t, test), file), metrics), test.want)
		})
	}
}

func TestOperationsFaultsAreFound(t *testing.T) {
	alerts := []string{"LinesplitAbsent", "LinesplitResends"}
	metrics := known.Metrics{"linesplit_up": nil, "linesplit_seconds_bucket": nil, "linesplit_seconds_sum": nil,
		"linesplit_seconds_count": nil}
	const whole = "# X\n\n`linesplit_up`\n\n## Metrics\n\n| `linesplit_up` | a |\n| `linesplit_seconds` | b |\n\n" +
		"## Runbooks\n\n### LinesplitAbsent\n\n### LinesplitResends\n"
	for _, test := range []struct{ name, old, new, want string }{
		{"nothing wrong", "", "", ""},
		{"metric left out", "| `linesplit_seconds` | b |\n", "", "no metric linesplit_seconds"},
		{"metric that does not exist", "| `linesplit_up` |", "| `linesplit_down` |", "metric linesplit_down is described but does not exist"},
		{"metric in the text", "`linesplit_up`\n", "`linesplit_down{a=\"b\"}`\n", "metric linesplit_down does not exist"},
		{"alert left out", "### LinesplitResends\n", "", "no runbook LinesplitResends"},
		{"alert that does not exist", "### LinesplitResends\n", "### LinesplitResend\n", "runbook LinesplitResend is described but does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			text := strings.Replace(whole, test.old, test.new, 1)
			f := &findings{}
			f.checkMetrics(text, metrics)
			f.compare("runbook", matches(text, `(?m)^### (Linesplit\w+)$`), alerts)
			expect(t, f.err(), test.want)
		})
	}
}

func TestMissingFilesAreErrors(t *testing.T) {
	none := t.TempDir()
	for name, err := range map[string]error{
		"compose":   checkCompose(filepath.Join(none, "compose.yaml"), someCommands()),
		"cluster":   checkCluster(none, someCommands()),
		"dashboard": checkDashboard(filepath.Join(none, "x.json"), known.Metrics{}),
		"metrics":   checkDashboards(none),
		"docs":      checkOperations(none),
	} {
		if !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s: got %v", name, err)
		}
	}
	if _, err := askHelp(none); err == nil {
		t.Error("no error without a program")
	}
}

func TestCommandLinesAreParsed(t *testing.T) {
	c := commands{"": {"target": true, "quiet": false}, "send": {"to": true}}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-target", "a", "-quiet", "--target=b"}, ""},
		{[]string{"send", "-to", "-x"}, ""},
		{nil, ""},
		{[]string{"-target"}, "wants a value"},
		{[]string{"-quiet", "a"}, "unexpected argument"},
		{[]string{"send", "-target", "a"}, "no flag -target"},
		{[]string{"serve"}, "no command"},
	} {
		_, err := c.parse(test.args)
		expect(t, err, test.want)
	}
}

func TestHelpIsParsed(t *testing.T) {
	got := parseHelp("Usage:\n  linesplit -x\n\nGroup:\n  -listen ADDRESS  where\n                   -not a flag\n" +
		"  -admin HOST:PORT  x\n  -tls-target      yes\n  -help\n")
	want := flags{"listen": true, "admin": true, "tls-target": false, "help": false}
	if len(got) != len(want) {
		t.Errorf("got %v, want %v", got, want)
	}
	for name, takes := range want {
		if v, exists := got[name]; !exists || v != takes {
			t.Errorf("-%s: got %t, %t", name, v, exists)
		}
	}
}

// withFault copies deploy/, puts a fault into the copy and returns its path.
func withFault(t *testing.T, f fault) (deploy string) {
	t.Helper()
	deploy = filepath.Join(t.TempDir(), "deploy")
	if err := os.CopyFS(deploy, os.DirFS(filepath.Join(repository, "deploy"))); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(deploy, f.file)
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(data), f.old) {
		t.Fatalf("%s has no %q to replace", f.file, f.old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(data), f.old, f.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	return deploy
}

func expect(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Error(err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("got %v, want %q in it", err, want)
	}
}
