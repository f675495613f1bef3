package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const asJSON = "application/json"

func TestChanges(t *testing.T) {
	for _, test := range []struct {
		method, path, body string
		code               int
		call               string
	}{
		{"POST", "/api/v1/targets", `{"address":"10.0.0.3:1?weight=2"}`, 201, "add 10.0.0.3:1?weight=2"},
		{"DELETE", at("/targets/%s", nameA), "", 202, "remove " + nameA},
		{"DELETE", at("/targets/%s", nameB), "", 202, "remove " + nameB},
		{"DELETE", at("/targets/%s", "tcp://gone:1"), "", 204, "remove tcp://gone:1"},
		{"POST", at("/targets/%s/drain", nameA), "", 200, "drain " + nameA},
		{"POST", at("/targets/%s/drain", nameB), "{}", 200, "drain " + nameB},
		{"POST", at("/targets/%s/resume", nameB), "", 200, "resume " + nameB},
		{"PUT", at("/targets/%s/weight", nameA), `{"weight":0}`, 200, "weight " + nameA + " 0"},
		{"PUT", "/api/v1/balance", `{"rule":"random"}`, 200, "balance random"},
		{"POST", "/api/v1/reload", "", 200, "reload"},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			control := &fake{}
			r := ask(New(Options{Control: control}), test.method, test.path, asJSON, test.body)
			if r.StatusCode != test.code {
				t.Errorf("%s: %s", r.Status, body(t, r))
			}
			if diff := cmp.Diff([]string{test.call}, control.called()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestControlErrorsAreProblems(t *testing.T) {
	for _, test := range []struct {
		err  error
		code int
		word string
		all  []string
	}{
		{fmt.Errorf("%w: %q", ErrUnknown, "x"), 404, "unknown-target", nil},
		{fmt.Errorf("%w: x", ErrExists), 409, "target-exists", nil},
		{ErrLast, 409, "last-target", nil},
		{ErrDraining, 409, "draining", nil},
		{fmt.Errorf("weight: %w", ErrNotInMode), 409, "not-in-mode", nil},
		{fmt.Errorf("%w: bad", ErrInvalid), 422, "invalid", nil},
		{
			fmt.Errorf("%w: %w", ErrInvalid, errors.Join(errors.New("one"), errors.New("two"))),
			422, "invalid", []string{"one", "two"},
		},
		{errOther, 500, "internal", nil},
	} {
		s := New(Options{Control: &fake{err: test.err}})
		for _, request := range [][3]string{
			{"POST", "/api/v1/targets", `{"address":"a:1"}`},
			{"DELETE", at("/targets/%s", nameA), ""},
			{"POST", at("/targets/%s/drain", nameA), ""},
			{"POST", at("/targets/%s/resume", nameA), ""},
			{"PUT", at("/targets/%s/weight", nameA), `{"weight":1}`},
			{"PUT", "/api/v1/balance", `{"rule":"x"}`},
			{"POST", "/api/v1/reload", ""},
		} {
			r := ask(s, request[0], request[1], asJSON, request[2])
			p := problemIn(t, r)
			if r.StatusCode != test.code || p.Type != problemPrefix+test.word || p.Detail != test.err.Error() {
				t.Errorf("%v, %v: %+v", test.err, request, p)
			}
			if diff := cmp.Diff(test.all, p.Errors); diff != "" {
				t.Errorf("%v: %s", test.err, diff)
			}
		}
	}
}

func TestInvalidRequestsGetProblems(t *testing.T) {
	long := `{"address":"` + strings.Repeat("x", maxBody) + `"}`
	for _, test := range []struct {
		method, path, contentType, body string
		code                            int
		word                            string
	}{
		{"POST", "/api/v1/targets", asJSON, "", 400, "body"},
		{"POST", "/api/v1/targets", asJSON, "{", 400, "body"},
		{"POST", "/api/v1/targets", asJSON, "{}", 400, "body"},
		{"POST", "/api/v1/targets", asJSON, `{"address":5}`, 400, "body"},
		{"POST", "/api/v1/targets", asJSON, `{"address":"a:1","weight":5}`, 400, "body"},
		{"POST", "/api/v1/targets", asJSON, `{"address":"a:1"} {}`, 400, "body"},
		{"POST", "/api/v1/targets", asJSON, `{"address":"a:1"} x`, 400, "body"},
		{"POST", "/api/v1/targets", asJSON, long, 413, "body-too-long"},
		{"POST", "/api/v1/targets", "text/plain", `{"address":"a:1"}`, 415, "content-type"},
		{"POST", "/api/v1/targets", "", `{"address":"a:1"}`, 415, "content-type"},
		{"POST", "/api/v1/targets", "application/x-www-form-urlencoded", "address=a", 415, "content-type"},
		{"POST", "/api/v1/reload", "text/plain", "x", 415, "content-type"},
		{"POST", "/api/v1/reload", asJSON, `{"force":true}`, 400, "body"},
		{"PUT", at("/targets/%s/weight", nameA), asJSON, "{}", 400, "body"},
		{"PUT", at("/targets/%s/weight", nameA), asJSON, `{"weight":1.5}`, 400, "body"},
		{"PUT", "/api/v1/balance", asJSON, "{}", 400, "body"},
		{"GET", at("/targets/%s", "tcp://none:1"), "", "", 404, "unknown-target"},
		{"GET", "/api/v1/nothing", "", "", 404, "no-such-path"},
		{"POST", "/api/v2/reload", "", "", 404, "no-such-path"},
		{"GET", "/api/v1/reload", "", "", 405, "method"},
		{"GET", at("/targets/%s/drain", nameA), "", "", 405, "method"},
		{"POST", "/api/v1/status", "", "", 405, "method"},
		{"PUT", "/api/v1/targets", "", "", 405, "method"},
		{"GET", "/api/v1/connections?limit=0", "", "", 400, "limit"},
		{"GET", "/api/v1/connections?limit=10001", "", "", 400, "limit"},
		{"GET", "/api/v1/connections?limit=x", "", "", 400, "limit"},
	} {
		t.Run(test.method+test.path, func(t *testing.T) {
			control := &fake{}
			r := ask(New(Options{Control: control}), test.method, test.path, test.contentType, test.body)
			if p := problemIn(t, r); r.StatusCode != test.code || p.Type != problemPrefix+test.word {
				t.Errorf("%+v, want %d %s", p, test.code, test.word)
			}
			if calls := control.called(); len(calls) > 0 {
				t.Errorf("called %v", calls)
			}
			if r.StatusCode == 405 && r.Header.Get("Allow") == "" {
				t.Error("no Allow header")
			}
		})
	}
}

func TestReads(t *testing.T) {
	control := &fake{}
	s := New(Options{Control: control})
	var target TargetStatus
	decodeBody(t, ask(s, "GET", at("/targets/%s", nameB), "", ""), &target)
	if target.Name != nameB || target.LastError != "refused" {
		t.Errorf("%+v", target)
	}
	var ledger Ledger
	decodeBody(t, ask(s, "GET", "/api/v1/ledger", "", ""), &ledger)
	if ledger.DroppedBy[0].Lines != 1 || ledger.DroppedBy[0].Reason != "torn" {
		t.Errorf("%+v", ledger)
	}
	for path, limit := range map[string]string{"": "100", "?limit=7": "7"} {
		ask(s, "GET", "/api/v1/connections"+path, "", "")
		if calls := control.called(); calls[len(calls)-1] != "connections "+limit {
			t.Errorf("%q: %v", path, calls)
		}
	}
	if r := ask(s, "HEAD", "/api/v1/status", "", ""); r.StatusCode != 200 || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("HEAD: %s %v", r.Status, r.Header)
	}
}

func TestConnectionModeHasNoLedger(t *testing.T) {
	r := ask(New(Options{Control: &fake{mode: ModeConnection}}), "GET", "/api/v1/ledger", "", "")
	if p := problemIn(t, r); p.Status != 409 || !strings.Contains(p.Detail, "connection mode") {
		t.Errorf("%+v", p)
	}
}

// Clients in statically typed languages expect an empty list rather than null.
func TestListsAreNeverNull(t *testing.T) {
	s := New(Options{Control: empty{}})
	for _, path := range []string{"/status", "/targets", "/connections", "/config"} {
		if text := body(t, ask(s, "GET", apiPrefix+path, "", "")); strings.Contains(text, "null") {
			t.Errorf("%s: %s", path, text)
		}
	}
	if text := body(t, ask(s, "POST", "/api/v1/reload", "", "")); strings.Contains(text, "null") {
		t.Errorf("reload: %s", text)
	}
}

// empty is a Control without targets, connections and settings.
type empty struct{ *fake }

func (empty) Status() Status                                     { return Status{Ledger: &Ledger{}} }
func (empty) Connections(int) []Connection                       { return nil }
func (empty) Config() []Setting                                  { return nil }
func (empty) Reload(context.Context) ([]string, []string, error) { return nil, nil, nil }

func TestRequestsAreLimited(t *testing.T) {
	control := &fake{waitOn: make(chan struct{})}
	s := New(Options{Control: control})
	var waiting sync.WaitGroup
	for range maxRequests {
		waiting.Go(func() {
			// It is repeated, since a request below may hold a slot for a moment.
			for ask(s, "POST", "/api/v1/reload", "", "").StatusCode != 200 {
			}
		})
	}
	// The reloads end only after a further request was refused, so this loop ends once all of
	// them are under way.
	for {
		r := ask(s, "GET", "/api/v1/status", "", "")
		if r.StatusCode == http.StatusServiceUnavailable {
			if p := problemIn(t, r); r.Header.Get("Retry-After") == "" || p.Type != problemPrefix+"busy" {
				t.Errorf("%v %+v", r.Header, p)
			}
			break
		}
	}
	close(control.waitOn)
	waiting.Wait()
	if r := ask(s, "GET", "/api/v1/status", "", ""); r.StatusCode != 200 {
		t.Errorf("afterwards: %s", r.Status)
	}
}

func TestConcurrentCalls(t *testing.T) {
	s := New(Options{Control: &fake{}})
	requests := [][3]string{
		{"GET", "/api/v1/status"}, {"GET", "/api/v1/targets"}, {"GET", "/api/v1/ledger"}, {"GET", "/metrics"},
		{"POST", "/api/v1/targets", `{"address":"a:1"}`}, {"POST", at("/targets/%s/drain", nameA)},
		{"POST", "/api/v1/reload"},
	}
	var all sync.WaitGroup
	for range 3 {
		for _, request := range requests {
			all.Go(func() {
				for range 50 {
					if r := ask(s, request[0], request[1], asJSON, request[2]); r.StatusCode/100 != 2 {
						t.Errorf("%v: %s", request, r.Status)
					}
					s.api.sampler.tick()
				}
			})
		}
	}
	all.Wait()
}

func decodeBody(t *testing.T, r *http.Response, value any) {
	t.Helper()
	if r.StatusCode/100 != 2 {
		t.Fatalf("%s: %s", r.Status, body(t, r))
	}
	if err := json.Unmarshal([]byte(body(t, r)), value); err != nil {
		t.Fatal(err)
	}
}
