package accept

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// script is a listener whose Accept returns one error after the other.
type script struct{ errs []error }

func (s *script) Accept() (net.Conn, error) {
	err := s.errs[0]
	s.errs = s.errs[1:]
	return nil, err
}
func (s *script) Close() error   { return nil }
func (s *script) Addr() net.Addr { return &net.TCPAddr{Port: 9000} }

func TestAcceptIsRetriedWithGrowingDelays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const failures = 20
		ln := &script{}
		for range failures {
			ln.errs = append(ln.errs, errors.New("too many open files"))
		}
		ln.errs = append(ln.errs, io.EOF)
		failed := 0
		loop := Loop{Listener: ln, Soft: t.Context(), Hard: t.Context(), Failed: func(error) { failed++ }}
		begin := time.Now()
		if err := loop.Run(); err != nil || failed != failures {
			t.Errorf("Run = %v after %d failures, want nil after %d", err, failed, failures)
		}
		if took := time.Since(begin); took < 3*time.Second || took > failures*2*maxRetry {
			t.Errorf("%d attempts took %v: too many or too few", failures, took)
		}
	})
}

func TestListenerClosedElsewhereIsAnError(t *testing.T) {
	loop := Loop{Listener: &script{errs: []error{net.ErrClosed}}, Soft: t.Context(), Hard: t.Context()}
	if err := loop.Run(); !errors.Is(err, net.ErrClosed) || !strings.Contains(err.Error(), ":9000") {
		t.Errorf("Run = %v, want an error that names the listener", err)
	}
}

func TestLastCallEmptiesTheBacklog(t *testing.T) {
	const waiting = 10
	if served, err := serveBacklog(t, waiting, (*Loop).LastCall); err != nil || served != waiting {
		t.Errorf("Run = %v with %d of %d served", err, served, waiting)
	}
}

// On a busy machine the loop may look at the backlog only after LastCall's deadline.
func TestLateLastCallEmptiesTheBacklog(t *testing.T) {
	passed := func(l *Loop) { l.acceptUntil(time.Unix(1, 0)) }
	if served, err := serveBacklog(t, 2, passed); err != nil || served != 2 {
		t.Errorf("Run = %v with %d of 2 served", err, served)
	}
}

// serveBacklog opens connections before Run accepts, ends Soft, and returns how many Run accepts.
func serveBacklog(t *testing.T, waiting int, lastCall func(*Loop)) (served int, err error) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	for range waiting {
		nc, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer nc.Close()
	}
	soft, stop := context.WithCancel(t.Context())
	stop()
	loop := Loop{Listener: ln, Soft: soft, Hard: t.Context(), Start: func(nc net.Conn) { served++; nc.Close() }}
	lastCall(&loop)
	err = loop.Run()
	return served, err
}

func TestStopWaitsForARunningAfter(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	ran := false
	stop := After(ctx, func() { time.Sleep(time.Millisecond); ran = true })
	cancel()
	stop()
	if !ran {
		t.Error("stop returned before the function did")
	}
}
