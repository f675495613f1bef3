package health

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"linesplit/target"
)

// A real target goes down and comes back, seen by a real check.
func TestCheckerOnSockets(t *testing.T) {
	var mu sync.Mutex
	well := true
	a := server(t, target.SchemeTCP, func(conn net.Conn) {
		mu.Lock()
		answer := map[bool]string{true: "+PONG\r\n", false: "-LOADING\r\n"}[well]
		mu.Unlock()
		answering("PING\r\n", answer)(conn)
	})
	x := target.New(a, nil)
	c := New([]*target.Target{x}, Options{Check: mustCheck(t, Settings{Kind: "redis"}), Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	for _, now := range []bool{false, true} {
		mu.Lock()
		well = now
		mu.Unlock()
		for end := time.Now().Add(wait); x.Unhealthy() == now; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("well %v, ejected %v", now, x.Unhealthy())
			}
		}
	}
	cancel()
	running.Wait()
}

// A target without active checks is found again once it listens.
func TestRedialOnSockets(t *testing.T) {
	path := t.TempDir() + "/s"
	x := target.New(target.Address{Scheme: target.SchemeUnix, Host: path}, nil)
	x.DialFailed(errBad)
	c := New([]*target.Target{x}, Options{RedialDelay: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	eventually(t, func() bool { return x.DialErrors() > 2 })
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	eventually(t, func() bool { return !x.Down() })
	cancel()
	running.Wait()
}
