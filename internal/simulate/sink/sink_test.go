package sink

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/tally"
)

func TestReadsAndAccounts(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		var out safeBuffer
		o.Output = &out
		s := start(t, o)
		streams := [][]byte{numbered(1, 500), numbered(2, 500), bytes.Repeat([]byte("foreign\r\n"), 10)}
		for _, stream := range streams {
			p := dial(t, s)
			p.send(t, stream)
			p.closeWrite()
			if how := p.ends(t, patience); how != "eof" {
				t.Errorf("ends with %s", how)
			}
		}
		waitFor(t, "the ends", func() bool { return s.Open() == 0 })
		r := o.Tally.Report(map[uint32]uint64{1: 500, 2: 500})
		if r.Err() != nil || r.Distinct != 1000 || r.Foreign != 10 || r.Latency.Count != 1000 {
			t.Errorf("%+v", r)
		}
		want := bytes.Join(streams, nil)
		if s.Lines() != 1010 || s.Bytes() != uint64(len(want)) || s.Accepted() != 3 {
			t.Errorf("counts %+v", s.Counts())
		}
		if out.String() != string(want) {
			t.Error("the output is not what came")
		}
	})
}

// What a proxy would do to lines is planted on real connections.
func TestFindsWhatWasPlanted(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		s := start(t, o)
		lines := bytes.SplitAfter(numbered(1, 100), []byte("\n"))
		deliver := func(reset bool, lines ...[]byte) {
			p := dial(t, s)
			before := s.Bytes()
			p.send(t, bytes.Join(lines, nil))
			waitFor(t, "the bytes", func() bool { return s.Bytes() == before+uint64(len(bytes.Join(lines, nil))) })
			if reset && s.o.Network == "tcp" {
				p.reset()
			} else {
				p.closeWrite()
			}
			waitFor(t, "the end", func() bool { return s.Open() == 0 })
		}
		altered := bytes.Clone(lines[20])
		altered[40] ^= 1
		deliver(false, lines[60:99]...)          // before those with lower numbers: 0-59 are out of order
		deliver(false, lines[:10]...)            // 10 is lost
		deliver(false, lines[11:20]...)          //
		deliver(false, altered, lines[21])       // 20 is lost, too
		deliver(false, lines[21:60]...)          // 21 comes again
		deliver(false, lines[99][:50])           // torn
		deliver(s.o.Network == "tcp", lines[99]) //
		deliver(true, lines[0], lines[1][:30])   // 0 comes again; the rest of the line is cut off, on TCP
		r := o.Tally.Report(map[uint32]uint64{1: 100})
		torn := map[string]uint64{"tcp": 1, "unix": 2}[s.o.Network]
		if r.Lost != 2 || r.Duplicated != 2 || r.Corrupt != 1 || r.Torn != torn || r.Cut != 2-torn || r.OutOfOrder != 58 {
			t.Errorf("%+v", r)
		}
	})
}

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
		p.send(t, numbered(2, 10)) // it reads to the end
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

func TestShutdownCutsOff(t *testing.T) {
	s := start(t, Options{})
	dial(t, s)
	waitFor(t, "the connection", func() bool { return s.Open() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	err := s.Shutdown(ctx)
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "1 connections cut off") || s.Open() != 0 {
		t.Errorf("error = %v, %d open", err, s.Open())
	}
}

// Exit ends also what waits for ever otherwise.
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

// TLS says an orderly end, and the kernel a reset.
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

// A connection that was awake when it looked, and then finds a sink that is paused, once read what came next all the same.
func TestNothingIsReadOfAPausedMood(t *testing.T) {
	s := start(t, Options{})
	p := dial(t, s)
	p.send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == 1 })
	s.Pause()
	p.send(t, []byte("line\n"))
	c := s.all()[0]
	waitFor(t, "it to arrive", func() bool { return unreadBytes(c.raw) > 0 || runtime.GOOS != "linux" })
	if n, err := c.fetch(make([]byte, 10), s.mood.Load()); n != 0 || err != nil {
		t.Errorf("read %d bytes, %v", n, err)
	}
}

func TestRestartOfWhatRuns(t *testing.T) {
	s := start(t, Options{})
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
	dial(t, s).send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == 1 })
}

func TestRestartWhereSomebodyElseListens(t *testing.T) {
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
		t.Error("says that it listens")
	}
	ln.Close()
	if err := s.Restart(); err != nil {
		t.Error(err)
	}
}

// No order of a life's ends and beginnings, from many sides at once, blocks or leaves anything behind.
func TestEndsFromManySides(t *testing.T) {
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

func TestStartSaysWhatIsWrong(t *testing.T) {
	server, _ := testTLS()
	taken := start(t, Options{})
	for want, o := range map[string]Options{
		`unknown network "udp"`:      {Network: "udp"},
		"a Unix socket needs a path": {Network: "unix"},
		"no TLS on Unix sockets":     {Network: "unix", Address: "/tmp/x", TLS: server},
		"chaos 200":                  {Behaviour: Behaviour{Chaos: 200}},
		"address already in use":     {Address: taken.Addr()},
		"missing port in address":    {Address: "127.0.0.1"},
		"no such file or directory":  {Network: "unix", Address: "/nonexistent/sink.sock"},
	} {
		if s, err := Start(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error = %v, want %q", err, want)
			if s != nil {
				s.Exit()
			}
		}
	}
}

func TestOutputThatFails(t *testing.T) {
	s := start(t, Options{Output: failing{}})
	p := dial(t, s)
	for range 3 {
		p.send(t, []byte("line\n"))
	}
	waitFor(t, "the lines", func() bool { return s.Lines() == 3 })
	if err := s.OutputErr(); !errors.Is(err, errFull) {
		t.Errorf("error = %v", err)
	}
}

type failing struct{}

var errFull = errors.New("no space left")

func (failing) Write([]byte) (int, error) { return 0, errFull }

// Lines of many connections do not mix.
func TestOutputKeepsLinesWhole(t *testing.T) {
	var out safeBuffer
	tl := tally.New(tally.Options{})
	s := start(t, Options{Output: &out, Tally: tl})
	var clients sync.WaitGroup
	const n = 20
	for id := range uint32(n) {
		clients.Go(func() {
			p, err := tryDial(s)
			if err != nil {
				t.Error(err)
				return
			}
			defer p.raw.Close()
			for part := range slices.Chunk(numbered(id, 300), 777) {
				p.Write(part)
			}
		})
	}
	clients.Wait()
	waitFor(t, "the ends", func() bool { return s.Lines() == n*300 && s.Open() == 0 })
	check := tally.New(tally.Options{Strict: true})
	r := check.Reader()
	r.Feed([]byte(out.String()))
	r.End(true)
	if got := check.Report(nil); got.Err() != nil || got.Distinct != n*300 {
		t.Errorf("%v, %d lines", got.Err(), got.Distinct)
	}
}

// A listener that fails now and then, as one does without descriptors, goes on.
func TestAcceptGoesOn(t *testing.T) {
	s := start(t, Options{})
	ln := &listener{&flaky{Listener: s.ln.Listener, fails: 3}, make(chan struct{})}
	s.mu.Lock()
	s.ln.Close()
	opened, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.mu.Unlock()
		t.Fatal(err)
	}
	close(s.ln.closed)
	ln.Listener = &flaky{Listener: opened, fails: 3}
	s.ln = ln
	s.running.Go(func() { s.accept(ln) })
	s.mu.Unlock()
	dial(t, s).send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == 1 })
}

type flaky struct {
	net.Listener
	fails int
}

func (f *flaky) Accept() (net.Conn, error) {
	if f.fails > 0 {
		f.fails--
		return nil, errors.New("too many open files")
	}
	return f.Listener.Accept()
}

func TestTargets(t *testing.T) {
	for name, o := range kinds(t) {
		s := start(t, o)
		if want := name + "://" + s.Addr(); s.Target() != want {
			t.Errorf("target %s, want %s", s.Target(), want)
		}
	}
	name := fmt.Sprint("@linesplit-sink-test-", os.Getpid()) // these tests may be running elsewhere
	s := start(t, Options{Network: "unix", Address: name})
	if s.Target() != "unix://"+name {
		t.Errorf("target %s", s.Target())
	}
}
