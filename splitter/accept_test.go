package splitter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// Other projects end the service at an Accept error. Here it is retried and counted, and does not
// flood the log.
func TestAcceptErrorsAreRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		ln := newFakeListener()
		ln.next = make(chan any)
		out := make(chan *linebuf.Buffer, 1)
		s := New(linebuf.NewPool(1<<20), out, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		served := make(chan error)
		go func() { served <- s.Serve(t.Context(), t.Context(), ln) }()
		began := time.Now()
		for range 50 {
			ln.next <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		if took := time.Since(began); took < 20*time.Second || took > 2*time.Minute {
			t.Errorf("50 errors in %v", took)
		}
		there, here := net.Pipe()
		ln.next <- here
		io.WriteString(there, "served after all\n")
		if b := <-out; string(b.B) != "served after all\n" {
			t.Errorf("got %q", b.B)
		}
		there.Close()
		ln.next <- io.EOF
		if err := <-served; err != nil {
			t.Error(err)
		}
		if n := s.Stats().AcceptErrors; n != 50 {
			t.Errorf("%d errors counted", n)
		}
		if n := strings.Count(log.String(), "\n"); n < 1 || n > 4 {
			t.Errorf("%d lines in the log:\n%s", n, log.String())
		}
	})
}

func TestSoftEndInterruptsAcceptBackoff(t *testing.T) {
	ln := newFakeListener(syscall.EMFILE, syscall.EMFILE, syscall.EMFILE, syscall.EMFILE)
	r := newRig(t, ln, plenty, Options{})
	r.until("an error", func() bool { return r.Stats().AcceptErrors > 0 })
	r.end()
}

func TestServeReportsListenerClosedOutside(t *testing.T) {
	ln := listenTCP(t)
	r := newRig(t, ln, plenty, Options{})
	c := dial(t, r.addr)
	write(t, c, "a\n")
	r.wants("a\n")
	ln.Close()
	write(t, c, "b\n")
	r.wants("a\nb\n")
	c.Close()
	r.ended()
	if !errors.Is(r.err, net.ErrClosed) {
		t.Errorf("Serve: %v", r.err)
	}
}

func TestConnectionsBeyondTheLimitWait(t *testing.T) {
	var log bytes.Buffer
	r := newRig(t, listenTCP(t), plenty, Options{
		Tuning: Tuning{MaxConnections: 2}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	a, b := dial(t, r.addr), dial(t, r.addr)
	write(t, a, "a\n")
	r.wants("a\n")
	write(t, b, "b\n")
	r.wants("a\nb\n")
	c := dial(t, r.addr) // waits in the backlog
	write(t, c, "c\n")
	r.untilFull()
	if st := r.Stats(); st.Connections != 2 || st.Accepted != 2 {
		t.Errorf("at the limit: %+v", st)
	}
	a.Close()
	r.wants("a\nb\nc\n")
	b.Close()
	r.until("one connection", func() bool { return r.Stats().Connections == 1 })
	c.Close()
	r.end()
	if n := strings.Count(log.String(), "connection limit reached"); n == 0 || n > 2 {
		t.Errorf("the log:\n%s", log.String())
	}
}

func TestSoftEndAtTheConnectionLimit(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxConnections: 1}})
	c := dial(t, r.addr)
	write(t, c, "a\n")
	r.wants("a\n")
	dial(t, r.addr)
	r.untilFull()
	if st := r.end(); st.CutOff != 1 {
		t.Errorf("%d cut off", st.CutOff)
	}
}

// A sender whose connect succeeded may write its lines and close, whether or not its connection had
// been accepted when soft ended.
func TestBacklogIsServedAfterSoftEnd(t *testing.T) {
	for name, wrap := range map[string]func(net.Listener) net.Listener{
		"deadline":    func(ln net.Listener) net.Listener { return ln },
		"no deadline": func(ln net.Listener) net.Listener { return struct{ net.Listener }{ln} },
	} {
		t.Run(name, func(t *testing.T) {
			ln := listenTCP(t)
			for range 20 {
				c := dial(t, ln.Addr())
				write(t, c, "early\n")
				c.Close()
			}
			out := make(chan *linebuf.Buffer, 64)
			pool := linebuf.NewPool(1 << 20)
			s := New(pool, out, Options{Tuning: Tuning{Drain: wait}})
			soft, cancel := context.WithCancel(t.Context())
			cancel()
			if err := s.Serve(soft, t.Context(), wrap(ln)); err != nil {
				t.Error(err)
			}
			if n := s.Stats().Queued.Lines; n != 20 {
				t.Errorf("%d lines of 20", n)
			}
			if _, err := net.Dial("tcp", ln.Addr().String()); err == nil {
				t.Error("the listener is still open")
			}
		})
	}
}

func TestListenersShareASplitter(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxConnections: 2}})
	second := listenTCP(t)
	soft, cancel := context.WithCancel(t.Context())
	served := make(chan error)
	go func() { served <- r.Serve(soft, t.Context(), second) }()
	write(t, dial(t, r.addr), "first\n")
	r.wants("first\n")
	write(t, dial(t, second.Addr()), "second\n")
	r.wants("first\nsecond\n")
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := r.Stats().Connections; n != 1 {
		t.Errorf("%d connections after one listener ended", n)
	}
	r.end()
}
