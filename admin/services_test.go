package admin

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

// fakeProcess is a Process with a fake for each service, in the order of their names.
type fakeProcess map[string]*fake

func (p fakeProcess) Services() (all []Service) {
	for _, name := range slices.Sorted(maps.Keys(p)) {
		all = append(all, Service{Name: name, Control: p[name], Histogram: NewConfirmation()})
	}
	return all
}

func (fakeProcess) SharedPorts() SharedPorts {
	return SharedPorts{AcceptErrors: 3, Probes: 4, Refused: []RefusedBy{{Reason: "unknown-name", Count: 5}}}
}

func (fakeProcess) Config() []Setting {
	return []Setting{{Name: "admin", Value: "x", Source: SourceFile}}
}

func (p fakeProcess) Reload(context.Context) (changed, needRestart []string, err error) {
	for _, f := range p {
		err = errors.Join(err, f.err)
	}
	return []string{"a.target"}, nil, err
}

func TestServicesOfTheAPI(t *testing.T) {
	p := fakeProcess{"lines": {}, "web": {mode: ModeConnection, gone: map[string]bool{nameB: true}}}
	s := New(Options{Process: p})
	for _, test := range []struct {
		method, path string
		want         int
		holds        string
	}{
		{"GET", "/services", 200, `"service":"web"`},
		{"GET", "/services", 200, `"shared_ports":{"accept_errors":3,"probes":4,"refused":[{"reason":"unknown-name","count":5}]}`},
		{"GET", "/services/web/status", 200, `{"service":"web","mode":"connection"`},
		{"GET", "/services/lines/ledger", 200, `"received"`},
		{"GET", "/services/none/status", 404, "there is no service \\\"none\\\": there are lines, web"},
		{"GET", "/status", 409, "there are several services: use /api/v1/services/NAME/status: there are lines, web"},
		{"POST", "/targets", 409, "there are several services"},
		{"GET", strings.TrimPrefix(at("/targets/%s", nameB), apiPrefix), 200, nameB},
		{"GET", strings.TrimPrefix(at("/targets/%s", nameA), apiPrefix), 409, "there are several services"},
		{"GET", strings.TrimPrefix(at("/services/web/targets/%s", nameA), apiPrefix), 200, nameA},
		// The answer asked for a service, which was not what was wrong with the request.
		{"GET", strings.TrimPrefix(at("/targets/%s", "10.0.0.1:9999"), apiPrefix), 404,
			`no such target: \"10.0.0.1:9999\", in any of the services: there are lines, web`},
		{"GET", "/config", 200, `{"service":"web","name":"target"`},
		{"GET", "/services/web/config", 200, `{"settings":[{"service":"web","name":"target"`},
		{"POST", "/reload", 200, `a.target`},
	} {
		r := ask(s, test.method, apiPrefix+test.path, "", "")
		if text := body(t, r); r.StatusCode != test.want || !strings.Contains(text, test.holds) {
			t.Errorf("%s %s: %s %s\nwant %d, %s", test.method, test.path, r.Status, text, test.want, test.holds)
		}
	}
	if r := ask(s, "POST", at("/targets/%s/drain", nameB), "", ""); r.StatusCode != http.StatusOK ||
		!slices.Contains(p["lines"].called(), "drain "+nameB) || slices.Contains(p["web"].called(), "drain "+nameB) {
		t.Errorf("%s: %v, %v", r.Status, p["lines"].called(), p["web"].called())
	}
}

// Where there is one service, the paths without its name are those of the service.
func TestTheOnlyServiceNeedsNoName(t *testing.T) {
	for _, p := range []fakeProcess{{"only": {}}, {"only": {}, "only~1": {}, "only~2": {}}} {
		s := New(Options{Process: p})
		var status Status
		if err := json.Unmarshal([]byte(body(t, ask(s, "GET", "/api/v1/status", "", ""))), &status); err != nil || status.Service != "only" {
			t.Errorf("%+v, %v", status, err)
		}
	}
	s := New(Options{Control: &fake{}})
	if r := ask(s, "GET", "/api/v1/services/x/status", "", ""); r.StatusCode != http.StatusNotFound ||
		!strings.Contains(body(t, r), "has no name: leave out /services/NAME") {
		t.Error(r.Status)
	}
}

func TestReadinessOfOneService(t *testing.T) {
	p := fakeProcess{"a": {}}
	s := New(Options{Process: p, Ready: func() (bool, string) { return false, "service b: no target is connected" }})
	for path, want := range map[string]int{"/readyz": 503, "/readyz/a": 200, "/readyz/b": 404} {
		if r := ask(s, "GET", path, "", ""); r.StatusCode != want {
			t.Errorf("%s: %s", path, r.Status)
		}
	}
}

// Services of both modes are in one scrape, each with its label.
func TestMetricsOfServices(t *testing.T) {
	registry := newRegistry(Options{Process: fakeProcess{"lines": {}, "web": {mode: ModeConnection}}})
	for _, name := range []string{"linesplit_connections", "linesplit_target_up", "linesplit_confirmation_seconds"} {
		n, err := testutil.GatherAndCount(registry, name)
		if want := map[string]int{"linesplit_target_up": 4}[name]; err != nil || n != max(2, want) {
			t.Errorf("%s: %d series, %v", name, n, err)
		}
	}
	r := ask(New(Options{Process: fakeProcess{"lines": {}, "web": {mode: ModeConnection}}}), "GET", "/metrics", "", "")
	text := body(t, r)
	for _, want := range []string{
		`linesplit_connections{service="web"} 2`, `linesplit_received_lines_total{service="lines"} `,
		`linesplit_target_up{service="lines",target="` + nameA + `"} 0`, `linesplit_confirmation_seconds_count{service="lines"} 0`,
		`linesplit_connections_refused_total{reason="unknown-name",service=""} 5`, `linesplit_probes_total{service=""} 4`,
		`linesplit_accept_errors_total{service=""} 3`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	if strings.Contains(text, `linesplit_received_lines_total{service="web"}`) {
		t.Error("a metric of line mode for a service in connection mode")
	}
}

// Each stream gets the events of its service only, and ends with it.
func TestStreamsOfServices(t *testing.T) {
	p := fakeProcess{"a": {}, "b": {}}
	s := newAPI(Options{Process: p}, nil).sampler
	a, b := s.subscribeTo("a", "x", false, began), s.subscribeTo("b", "x", false, began)
	s.tick()
	if event := string(<-a.events); !strings.Contains(event, `"service":"a"`) {
		t.Error(event)
	}
	if event := string(<-b.events); !strings.Contains(event, `"service":"b"`) {
		t.Error(event)
	}
	delete(p, "b")
	s.tick()
	if ended(a) || !ended(b) || len(s.histories) != 1 {
		t.Errorf("%d histories, streams %v", len(s.histories), s.streams)
	}
}
