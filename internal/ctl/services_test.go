package ctl

import (
	"context"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"linesplit/admin"
	"linesplit/tlsconf"
)

// severalFakes is a process with two services.
type severalFakes struct{ a, b *fake }

func (p severalFakes) Services() []admin.Service {
	return []admin.Service{{Name: "a", Control: p.a}, {Name: "b", Control: p.b}}
}

func (severalFakes) SharedPorts() admin.SharedPorts {
	return admin.SharedPorts{Refused: []admin.RefusedBy{{Reason: "no-tls"}, {Reason: "unknown-name", Count: 5}}}
}

func (severalFakes) Config() []admin.Setting { return []admin.Setting{{Name: "admin", Value: "x"}} }

func (p severalFakes) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	return p.a.Reload(ctx)
}

func serveSeveral(t *testing.T, p admin.Process, service string) *Client {
	t.Helper()
	address := "unix://" + filepath.Join(t.TempDir(), "a.sock") + "?mode=0600"
	ln, err := admin.Listen(t.Context(), address, tlsconf.ServerFiles{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- admin.New(admin.Options{Process: p}).Serve(ctx, ln) }()
	c, err := NewClient(Options{Address: address, Service: service})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close(); cancel(); <-ended })
	return c
}

func TestCommandsAboutSeveralServices(t *testing.T) {
	p := severalFakes{&fake{}, &fake{}}
	all, b := serveSeveral(t, p, ""), serveSeveral(t, p, "b")
	for _, words := range []string{"status", "targets", "ledger", "connections"} {
		out, err := run(t, all, false, words)
		if err != nil || !strings.HasPrefix(out, "service a\n") || !strings.Contains(out, "\nservice b\n") {
			t.Errorf("%s: %v\n%s", words, err, out)
		}
		if out, err = run(t, b, false, words); err != nil || strings.Contains(out, "service a") {
			t.Errorf("%s of b: %v\n%s", words, err, out)
		}
	}
	out, err := run(t, all, false, "services")
	if err != nil || !strings.Contains(out, "SERVICE") || !strings.Contains(out, "1 of 2") ||
		!strings.HasSuffix(out, "\nrefused at shared TLS ports: unknown-name 5\n") {
		t.Errorf("%v\n%s", err, out)
	}
	out, err = run(t, all, false, "config")
	if err != nil || !strings.Contains(out, "SERVICE") || !strings.Contains(out, "\n-        admin") || !strings.Contains(out, "\nb        max-line") {
		t.Errorf("%v\n%s", err, out)
	}
	p.a.takeCalls()
	if _, err := run(t, b, false, "drain", "tcp://10.0.0.1:9999"); err != nil || len(p.a.takeCalls()) > 0 || len(p.b.takeCalls()) == 0 {
		t.Errorf("drain: %v", err)
	}
	if _, err := run(t, b, false, "reload"); err != nil {
		t.Error(err)
	}
	for _, words := range [][]string{{"drain", "tcp://10.0.0.1:9999"}, {"add", "10.0.0.9:1"}} {
		_, err := run(t, all, false, words...)
		if err == nil || !strings.Contains(err.Error(), "there are a, b (ctl: write -service NAME before the command)") {
			t.Errorf("%q: %v", words, err)
		}
	}
}

// withTarget is a fake with one target.
type withTarget struct {
	*fake
	name string
}

func (f withTarget) Status() admin.Status {
	s := f.fake.Status()
	s.Targets = []admin.TargetStatus{{Name: f.name}}
	return s
}

// ownTargets is a process whose services have a target each.
type ownTargets struct{ severalFakes }

func (p ownTargets) Services() []admin.Service {
	return []admin.Service{
		{Name: "a", Control: withTarget{p.a, "tcp://10.0.0.1:9999"}},
		{Name: "b", Control: withTarget{p.b, "tcp://10.0.0.2:9999"}},
	}
}

// Beside other services, the name of a target had to be written with its scheme; without it, or
// with a typing error, the answer asked for a service.
func TestNamesOfTargetsOfSeveralServices(t *testing.T) {
	p := ownTargets{severalFakes{&fake{}, &fake{}}}
	c := serveSeveral(t, p, "")
	if _, err := run(t, c, false, "drain", "10.0.0.2:9999"); err != nil {
		t.Error(err)
	}
	if calls := p.b.takeCalls(); !slices.Equal(calls, []string{"drain tcp://10.0.0.2:9999"}) || len(p.a.takeCalls()) > 0 {
		t.Errorf("called %q", calls)
	}
	_, err := run(t, c, false, "drain", "10.0.0.2:999")
	const want = `in any of the services: there are a, b: did you mean tcp://10.0.0.2:9999?`
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
}

// leavingFakes is a process whose second service is removed while a command prints the first one.
type leavingFakes struct {
	severalFakes
	strings.Builder
	gone atomic.Bool
}

func (p *leavingFakes) Services() []admin.Service {
	all := p.severalFakes.Services()
	if p.gone.Load() {
		return all[:1]
	}
	return all
}

func (p *leavingFakes) Write(b []byte) (int, error) {
	p.gone.Store(true)
	return p.Builder.Write(b)
}

// A service that went between the list and its own answer ended the command with an error.
func TestCommandAboutAServiceThatGoes(t *testing.T) {
	p := &leavingFakes{severalFakes: severalFakes{&fake{}, &fake{}}}
	err := Run(t.Context(), serveSeveral(t, p, ""), p, false, []string{"targets"})
	if out := p.String(); err != nil || !strings.HasPrefix(out, "service a\n") || !strings.Contains(out, `there is no service "b"`) {
		t.Errorf("%v\n%s", err, out)
	}
}

func TestTopOfSeveralServices(t *testing.T) {
	c := serveSeveral(t, severalFakes{&fake{}, &fake{}}, "")
	ctx, cancel := context.WithCancel(t.Context())
	out := &page{left: 1, stop: cancel}
	if err := Run(ctx, c, out, false, []string{"top"}); err != nil {
		t.Fatal(err)
	}
	if text := out.String(); !strings.HasPrefix(text, "SERVICE") || !strings.Contains(text, "\nservice b\n") {
		t.Error(text)
	}
}
