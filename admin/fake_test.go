package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// fake is a Control that records its calls. All changes return err.
type fake struct {
	mu     sync.Mutex
	calls  []string
	err    error
	mode   string
	lines  uint64 // confirmed so far; grows by 100 with each Status
	gone   map[string]bool
	waitOn chan struct{} // if not nil, Reload receives from it first
}

var began = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

const (
	nameA = "tcp://10.0.0.1:9999"
	nameB = "unix:///run/b.sock?via-proxy=true"
)

func (f *fake) do(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fake) called() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

func (f *fake) Status() Status {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lines += 100
	s := Status{
		Mode: ModeLine, Version: "v1", Started: began, Ready: true, Listeners: []string{"tcp://127.0.0.1:9000"},
		Totals: Totals{Connections: 2, Accepted: 3, ReceivedBytes: f.lines * 10, Refused: []RefusedBy{{"denied", 1}}},
		Ledger: &Ledger{
			Received: Amount{f.lines, f.lines * 10}, Confirmed: Amount{f.lines, f.lines * 10},
			Sent: Amount{f.lines, f.lines * 10}, Acknowledged: Amount{f.lines, f.lines * 10},
			DroppedBy: []DroppedBy{{Reason: "torn", Amount: Amount{1, 10}}},
		},
		Keys: &KeyStatus{Rule: "json:host", Moving: 0.2, Waiting: Amount{1, 10}},
		Targets: []TargetStatus{
			{
				Name: nameA, State: StateUp, Since: began, Connections: 4, From: []string{"dns://a:1"},
				Lines: &TargetLines{
					Sent: Amount{f.lines, f.lines * 10}, Acknowledged: Amount{f.lines, f.lines * 10},
					Confirmed: Amount{f.lines, f.lines * 10}, Weight: 1, WantedConnections: 4,
					Lanes: &TargetLanes{Queued: Amount{3, 30}, Full: 1, FullSince: began},
				},
			},
			{
				Name: nameB, State: StateDown, Since: began, LastError: "refused", LastErrorAt: began, LatencySeconds: 0.1,
				Lines: &TargetLines{Weight: 3, Backup: true, WantedConnections: 4},
			},
		},
	}
	s.Sources = []SourceStatus{{
		Name: "dns://a:1", Failing: true, Targets: 1, Answers: 2, Failures: 3, LastAnswerAt: began, LastError: "SERVFAIL", LastErrorAt: began,
	}}
	if f.mode != ModeConnection {
		s.Groups = []GroupStatus{{Name: "main", Required: true, Targets: 2}, {Name: "archive", BudgetBytes: 5}}
		s.Targets[0].Group = "main"
		s.Spool = &SpoolStatus{
			Directory: "/var/spool/linesplit", LimitBytes: 1 << 30, Bytes: 1 << 20, Segments: 2, Unconfirmed: Amount{10, 100},
			Oldest: began, LastFault: "no space left on device", Groups: []SpoolGroup{{Name: "main", Waiting: Amount{10, 100}}},
		}
	}
	if f.mode == ModeConnection {
		s.Mode, s.Ledger, s.Keys, s.Balance = ModeConnection, nil, nil, "round-robin"
		for i := range s.Targets {
			s.Targets[i].Lines, s.Targets[i].Forward = nil, &TargetForward{Weight: 1, SentBytes: f.lines}
		}
	}
	s.Targets = slices.DeleteFunc(s.Targets, func(t TargetStatus) bool { return f.gone[t.Name] })
	return s
}

func (f *fake) Connections(limit int) []Connection {
	f.do("connections %d", limit)
	one := Connection{ID: 1, Client: "10.0.0.9:1", Listener: "tcp://127.0.0.1:9000", Target: nameA, Since: began}
	return []Connection{one}[:min(1, limit)]
}

func (f *fake) Config() []Setting {
	return []Setting{{Name: "target", Value: nameA, Source: SourceFlag, Reloadable: true}}
}

func (f *fake) Add(_ context.Context, address string) error { return f.do("add %s", address) }
func (f *fake) Remove(_ context.Context, name string) error { return f.do("remove %s", name) }
func (f *fake) Drain(_ context.Context, name string) error  { return f.do("drain %s", name) }
func (f *fake) Resume(_ context.Context, name string) error { return f.do("resume %s", name) }
func (f *fake) SetBalance(_ context.Context, rule string) error {
	return f.do("balance %s", rule)
}
func (f *fake) SetWeight(_ context.Context, name string, weight int) error {
	return f.do("weight %s %d", name, weight)
}
func (f *fake) Reload(context.Context) (changed, needRestart []string, err error) {
	if f.waitOn != nil {
		<-f.waitOn
	}
	return []string{"target"}, nil, f.do("reload")
}

// at returns a path of the API with a target's name in it.
func at(format, name string) string { return apiPrefix + fmt.Sprintf(format, url.PathEscape(name)) }

// ask sends an authenticated request without a network.
func ask(s *Server, method, path, contentType, body string) *http.Response {
	var from io.Reader = http.NoBody
	if body != "" {
		from = strings.NewReader(body)
	}
	r := httptest.NewRequest(method, path, from)
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	s.Handler().ServeHTTP(w, r.WithContext(withTrust(r.Context(), always(fromOwner))))
	return w.Result()
}

// problemIn reads the problem that a response must have as its body.
func problemIn(t *testing.T, r *http.Response) problem {
	t.Helper()
	var p problem
	if got := r.Header.Get("Content-Type"); got != "application/problem+json" {
		t.Errorf("content type %q", got)
	}
	if err := json.Unmarshal([]byte(body(t, r)), &p); err != nil {
		t.Fatal(err)
	}
	if p.Status != r.StatusCode || p.Title == "" || p.Detail == "" || !strings.HasPrefix(p.Type, problemPrefix) {
		t.Errorf("%s: %+v", r.Status, p)
	}
	return p
}

var errOther = errors.New("disk on fire")

// always returns a trust that does not change.
func always(t trust) func() trust { return func() trust { return t } }
