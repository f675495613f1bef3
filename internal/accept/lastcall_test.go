package accept

import (
	"context"
	"io"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// backlog is a listener with deadlines, whose connections come without a peer. It fails as a socket
// does: a deadline that has passed comes before connections.
type backlog struct {
	waiting  int           // connections that are there
	every    time.Duration // one more comes after each; 0: never
	next     time.Time     // when
	starved  time.Duration // pause before every second Accept looks
	calls    int
	deadline time.Time
}

func (b *backlog) SetDeadline(t time.Time) error { b.deadline = t; return nil }
func (b *backlog) Close() error                  { return nil }
func (b *backlog) Addr() net.Addr                { return &net.TCPAddr{Port: 9000} }

func (b *backlog) Accept() (net.Conn, error) {
	if b.calls++; b.calls%2 == 1 {
		time.Sleep(b.starved)
	}
	for {
		now := time.Now()
		for b.every > 0 && !b.next.After(now) {
			b.waiting, b.next = b.waiting+1, b.next.Add(b.every)
		}
		switch {
		case !b.deadline.IsZero() && !now.Before(b.deadline):
			return nil, os.ErrDeadlineExceeded
		case b.waiting > 0:
			b.waiting--
			return new(net.TCPConn), nil
		case b.every == 0:
			time.Sleep(time.Until(b.deadline))
		default:
			time.Sleep(min(time.Until(b.deadline), time.Until(b.next)))
		}
	}
}

// lastCall ends Soft, lets Run empty a backlog, and returns how many connections it has accepted
// and how long that took. Each takes the machine some time to start.
func lastCall(t *testing.T, b *backlog, start time.Duration) (served int, took time.Duration) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		b.next = began.Add(b.every)
		soft, stop := context.WithCancel(t.Context())
		stop()
		loop := Loop{Listener: b, Soft: soft, Hard: t.Context(), Start: func(net.Conn) { served++; time.Sleep(start) }}
		loop.LastCall()
		if err := loop.Run(); err != nil && err != io.EOF {
			t.Error(err)
		}
		took = time.Since(began)
	})
	return served, took
}

// A busy machine takes its time. Accepting ended after a quarter of a second, or when a deadline
// had passed before Accept looked, whatever the backlog held: senders lost lines that they had
// written to a connection of their own.
func TestLastCallOnABusyMachine(t *testing.T) {
	const waiting = 20
	for name, test := range map[string]struct{ starved, start time.Duration }{
		"slow starts":    {start: 3 * maxBacklog / waiting},
		"late looks":     {starved: 2 * backlogWait},
		"both":           {starved: 2 * backlogWait, start: 2 * maxBacklog / waiting},
		"very late":      {starved: maxBacklog / 4},
		"nothing at all": {},
	} {
		if served, took := lastCall(t, &backlog{waiting: waiting, starved: test.starved}, test.start); served != waiting {
			t.Errorf("%s: %d of %d served in %v", name, served, waiting, took)
		}
	}
}

// Connections that keep coming do not hold up the end.
func TestLastCallEndsAlthoughConnectionsCome(t *testing.T) {
	for name, test := range map[string]struct {
		every, start, most time.Duration
	}{
		"now and then": {every: 5 * time.Millisecond, most: maxBacklog + 2*backlogWait},
		"a flood":      {every: time.Microsecond, start: time.Millisecond, most: maxEmptying + backlogWait},
	} {
		if served, took := lastCall(t, &backlog{every: test.every}, test.start); served == 0 || took > test.most {
			t.Errorf("%s: %d served in %v, want at most %v", name, served, took, test.most)
		}
	}
}
