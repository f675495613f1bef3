package service

import (
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/target"
)

// A service of a rounds, with a listener of its own. It sends to the places in targets.
func roundService(t *testing.T, r *rounds, name string, targets ...string) (s *service, address string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { ln.Close() })
	s = &service{name: name, finder: &finder{}}
	s.own.set(&inbound{listeners: []net.Listener{ln}}, nil)
	sendTo(t, s, targets...)
	r.add(s)
	return s, ln.Addr().String()
}

// sendTo sets the targets of a service.
func sendTo(t *testing.T, s *service, targets ...string) {
	o := &origins{}
	for _, text := range targets {
		a, err := target.ParseAddress(text, false)
		if err != nil {
			t.Fatal(err)
		}
		o.targets = append(o.targets, a)
	}
	s.finder.origins.Store(o)
}

func TestRoundsRefuseTheConnectionThatClosesOne(t *testing.T) {
	var r rounds
	a, atA := roundService(t, &r, "a")
	b, atB := roundService(t, &r, "b", atA)
	c, atC := roundService(t, &r, "c", strings.Replace(atB, "127.0.0.1", "localhost", 1))
	allowed := func(from *service, to string) {
		t.Helper()
		if err := r.mayConnect(from, "tcp4", to); err != nil {
			t.Errorf("%s to %s: %v", from.name, to, err)
		}
	}
	refused := func(from *service, to, path string) {
		t.Helper()
		if err := r.mayConnect(from, "tcp4", to); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s to %s: %v", from.name, to, err)
		}
	}
	allowed(b, atA)
	allowed(c, atB)
	allowed(c, atA)
	allowed(a, "192.0.2.1:9999")
	sendTo(t, a, atB, atC)
	refused(a, atB, "a to b to a")
	refused(a, atC, "a to c to ")
	allowed(b, atA) // again and again

	sendTo(t, b, "192.0.2.1:9999") // the way from there has gone
	refused(a, atB, "a to b to a") // it was used just now
	r.ways[b][way{"tcp4", atA}] = time.Now().Add(-settleWays)
	allowed(a, atB)
	refused(b, atA, "b to a to b")
}

// A service that drains after it was replaced, or that has ended, receives nothing.
func TestRoundsForgetServicesThatLeave(t *testing.T) {
	var r rounds
	a, atA := roundService(t, &r, "a")
	b, atB := roundService(t, &r, "b", atA)
	sendTo(t, a, atB)
	if err := r.mayConnect(b, "tcp4", atA); err != nil {
		t.Fatal(err)
	}
	if r.mayConnect(a, "tcp4", atB) == nil {
		t.Fatal("the round is allowed")
	}
	b.left.Store(true)
	if err := r.mayConnect(a, "tcp4", atB); err != nil {
		t.Errorf("the service drains: %v", err)
	}
	b.left.Store(false)
	r.remove(b)
	if err := r.mayConnect(a, "tcp4", atB); err != nil {
		t.Errorf("the service has ended: %v", err)
	}
}
