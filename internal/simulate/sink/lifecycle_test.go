package sink

import (
	"context"
	"errors"
	"io"
	"net"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/tally"
)

func TestShutdown(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		s := start(t, o)
		p := dial(t, s)
		p.send(t, numbered(1, 10))
		waitFor(t, "the lines", func() bool { return s.Lines() == 10 })
		var ending sync.WaitGroup
		ending.Go(func() {
			if err := s.Shutdown(t.Context()); err != nil {
				t.Error(err)
			}
		})
		if how := p.ends(t, patience); how != "eof" {
			t.Errorf("ends with %s", how)
		}
		if _, err := tryDial(s); err == nil {
			t.Error("accepts still")
		}
		p.send(t, numbered(2, 10)) // the sink reads to the end
		p.closeWrite()
		ending.Wait()
		if s.Lines() != 20 || s.Open() != 0 {
			t.Errorf("counts %+v", s.Counts())
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		dial(t, s).send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 21 })
	})
}

func TestShutdownCutsOffAtItsDeadline(t *testing.T) {
	s := start(t, Options{})
	dial(t, s)
	waitFor(t, "the connection", func() bool { return s.Open() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "connections that did not end and were cut off: 1") ||
		s.Open() != 0 {
		t.Errorf("error = %v, %d open", err, s.Open())
	}
}

// Exit also ends a Shutdown that would wait for ever.
func TestExitDuringShutdown(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		waitFor(t, "the line", func() bool { return s.Lines() == 1 })
		var ending sync.WaitGroup
		ending.Go(func() { s.Shutdown(t.Context()) })
		p.ends(t, patience)
		s.Exit()
		ending.Wait()
		if n := s.Open(); n != 0 {
			t.Errorf("%d connections", n)
		}
	})
}

func TestCrash(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		s := start(t, o)
		p := dial(t, s)
		p.send(t, append(numbered(1, 10), "half"...))
		waitFor(t, "the lines", func() bool { return s.Lines() == 10 })
		s.Pause()
		p.send(t, numbered(2, 10))
		if unread := s.Crash(10 * time.Millisecond); unread == 0 {
			t.Error("nothing unread")
		}
		if how := p.ends(t, patience); how != "reset" {
			t.Errorf("ends with %s", how)
		}
		r := o.Tally.Report(map[uint32]uint64{1: 10})
		if s.Lines() != 10 || r.Cut != 1 || r.Torn != 0 {
			t.Errorf("counts %+v, %+v", s.Counts(), r)
		}
		if err := s.Restart(); err != nil {
			t.Fatal(err)
		}
		dial(t, s).send(t, []byte("line\n"))
		waitFor(t, "a line of the next life", func() bool { return s.Lines() == 11 })
	})
}

// TLS reports an orderly end, the kernel a reset.
func TestCloseUnread(t *testing.T) {
	server, _ := testTLS()
	s := start(t, Options{TLS: server})
	p := dial(t, s)
	p.send(t, []byte("line\n"))
	waitFor(t, "the line", func() bool { return s.Lines() == 1 })
	s.Pause()
	p.send(t, []byte("unread\n"))
	s.CloseUnread(10 * time.Millisecond)
	if _, err := p.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("TLS ends with %v", err)
	}
	if how := (peer{p.raw, p.raw}).ends(t, patience); how != "reset" {
		t.Errorf("TCP ends with %s", how)
	}
	if s.Lines() != 1 {
		t.Errorf("counts %+v", s.Counts())
	}
}

func TestPauseAndResume(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		s := start(t, o)
		p := dial(t, s)
		p.send(t, []byte("line\n"))
		waitFor(t, "a line", func() bool { return s.Lines() == 1 })
		for i := range uint64(5) {
			s.Pause()
			s.Pause()
			p.send(t, []byte("line\n"))
			time.Sleep(10 * time.Millisecond)
			if n := s.Lines(); n != i+1 {
				t.Errorf("%d lines while paused", n)
			}
			s.Resume()
			waitFor(t, "a line", func() bool { return s.Lines() == i+2 })
		}
	})
}

// Regression: a connection that had passed awaitActive still read once after the sink was paused.
func TestPausedStateReadsNothing(t *testing.T) {
	s := start(t, Options{})
	p := dial(t, s)
	p.send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == 1 })
	s.Pause()
	p.send(t, []byte("line\n"))
	c := s.connections()[0]
	waitFor(t, "it to arrive", func() bool { return unreadBytes(c.raw) > 0 || runtime.GOOS != "linux" })
	if n, err := c.fetch(make([]byte, 10), s.state.Load()); n != 0 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestRestartWhileRunning(t *testing.T) {
	s := start(t, Options{})
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
	dial(t, s).send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == 1 })
}

func TestRestartOnATakenPort(t *testing.T) {
	s := start(t, Options{})
	s.Exit()
	ln, err := net.Listen("tcp", s.Addr())
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Restart(); err == nil {
		t.Error("no error")
	}
	if s.Status().Listening {
		t.Error("reports that it listens")
	}
	ln.Close()
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
}

// Ends and restarts, from many goroutines at once and in any order, neither block nor leave
// anything behind.
func TestConcurrentEndsAndRestarts(t *testing.T) {
	t.Parallel()
	s := start(t, Options{Behaviour: Behaviour{Request: true}})
	ctx, stop := context.WithTimeout(t.Context(), 500*time.Millisecond)
	defer stop()
	var all sync.WaitGroup
	for _, do := range []func(){
		func() { s.Exit() },
		func() { s.Crash(time.Millisecond) },
		func() { s.CloseUnread(time.Millisecond) },
		func() { s.Restart() },
		func() { s.Restart() },
		func() { s.Pause(); s.Resume() },
		func() { s.ResetConnections() },
		func() { s.Behave(Behaviour{Refuse: true}); s.Behave(Behaviour{Request: true}) },
		func() { s.Status() },
		func() {
			soon, cancel := context.WithTimeout(ctx, time.Millisecond)
			defer cancel()
			s.Shutdown(soon)
		},
		func() {
			if p, err := tryDial(s); err == nil {
				p.Write([]byte("line\nline\n"))
				p.raw.Close()
			}
		},
	} {
		all.Go(func() {
			for ctx.Err() == nil {
				do()
			}
		})
	}
	all.Wait()
	s.Exit()
	if n := s.Open(); n != 0 {
		t.Errorf("%d connections left", n)
	}
}
