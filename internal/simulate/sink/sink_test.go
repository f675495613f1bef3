package sink

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

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

// Faults as a proxy may cause them are planted on real connections.
func TestFindsPlantedFaults(t *testing.T) {
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
		deliver(false, lines[60:99]...) // before lower numbers: 0-59 are out of order
		deliver(false, lines[:10]...)   // 10 is lost
		deliver(false, lines[11:20]...)
		deliver(false, altered, lines[21]) // 20 is lost, too
		deliver(false, lines[21:60]...)    // 21 is a duplicate
		deliver(false, lines[99][:50])     // torn
		deliver(s.o.Network == "tcp", lines[99])
		deliver(true, lines[0], lines[1][:30]) // 0 is a duplicate; the unfinished line is cut off on TCP
		r := o.Tally.Report(map[uint32]uint64{1: 100})
		torn := map[string]uint64{"tcp": 1, "unix": 2}[s.o.Network]
		if r.Lost != 2 || r.Duplicated != 2 || r.Corrupt != 1 || r.Torn != torn || r.Cut != 2-torn ||
			r.OutOfOrder != 58 {
			t.Errorf("%+v", r)
		}
	})
}

func TestStartErrors(t *testing.T) {
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

func TestOutputErrors(t *testing.T) {
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

// Lines of different connections do not mix.
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

// The accept loop survives errors, such as those of a process without free descriptors.
func TestAcceptRetriesAfterErrors(t *testing.T) {
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
	name := fmt.Sprint("@linesplit-sink-test-", os.Getpid()) // unique among test runs on this machine
	s := start(t, Options{Network: "unix", Address: name})
	if s.Target() != "unix://"+name {
		t.Errorf("target %s", s.Target())
	}
}
