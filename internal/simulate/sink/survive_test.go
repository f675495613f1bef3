package sink

import (
	"bytes"
	"math/rand/v2"
	"runtime"
	"sync"
	"testing"
	"time"

	"linesplit/internal/simulate/tally"
)

// checkAlive checks that a sink still serves connections.
func checkAlive(t *testing.T, s *Sink) {
	t.Helper()
	before := s.Lines()
	dial(t, s).send(t, []byte("line\n"))
	waitFor(t, "a line", func() bool { return s.Lines() == before+1 })
}

// Fifty senders that never write a newline do not exceed the memory limit of unfinished lines.
func TestSurvivesEndlessLines(t *testing.T) {
	const maxPartial = 4 << 20
	tl := tally.New(tally.Options{Partial: maxPartial})
	s := start(t, Options{Tally: tl, Output: &safeBuffer{}})
	before := heap()
	var clients sync.WaitGroup
	const n, each = 50, 2 << 20
	piece := bytes.Repeat([]byte("\x00\xffx\r"), 64<<10/4)
	for range n {
		p := dial(t, s)
		clients.Go(func() {
			for range each / len(piece) {
				p.Write(piece)
			}
		})
	}
	clients.Wait()
	waitFor(t, "all bytes", func() bool { return s.Bytes() == n*each })
	if grown := heap() - before; grown > maxPartial+n*(maxBuffer+64<<10) {
		t.Errorf("heap grew by %d bytes", grown)
	}
	if r := tl.Report(nil); r.Corrupt == 0 {
		t.Errorf("%+v", r)
	}
	checkAlive(t, s)
}

func TestSurvivesGarbageOnTLS(t *testing.T) {
	server, _ := testTLS()
	s := start(t, Options{TLS: server})
	rng := rand.New(rand.NewPCG(1, 2))
	garbage := [][]byte{
		[]byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
		numbered(1, 100),
		{0x16, 0x03, 0x01, 0xff, 0xff}, // the length of the handshake record is too large
		{0x16, 0x03, 0x01, 0x00, 0x05, 0x01, 0x00, 0x00, 0x01, 0x00},
		{},
		bytes.Repeat([]byte{0}, 1<<20),
	}
	for range 30 {
		b := make([]byte, 1+rng.IntN(4000))
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		garbage = append(garbage, b)
	}
	for _, b := range garbage {
		p := dial(t, s)
		p.raw.Write(b)
		p.raw.(interface{ CloseWrite() error }).CloseWrite()
	}
	waitFor(t, "their ends", func() bool { return int(s.Counts().Handshakes) == len(garbage) && s.Open() == 0 })

	p := dial(t, s) // garbage after a handshake
	p.send(t, []byte("line\n"))
	p.raw.Write(garbage[1])
	waitFor(t, "its end", func() bool { return s.Counts().Broken == 1 })
	checkAlive(t, s)
}

func TestSurvivesThousandsOfConnections(t *testing.T) {
	const n = 3000
	if runtime.GOOS != "linux" {
		t.Skip("descriptors may be few, and cannot be counted")
	}
	tl := tally.New(tally.Options{})
	s := start(t, Options{Tally: tl})
	before, open := heap(), descriptors()
	peers := make([]peer, n)
	for i := range peers {
		p, err := tryDial(s)
		if err != nil {
			t.Fatal(err)
		}
		defer p.raw.Close()
		peers[i] = p
		p.send(t, []byte("line\nhalf a line"))
	}
	waitFor(t, "all of them", func() bool { return s.Open() == n && s.Lines() == n })
	if grown := (heap() - before) / n; grown > 16<<10 {
		t.Errorf("%d bytes of heap for each connection", grown)
	}
	for i, p := range peers {
		if i%2 == 0 {
			p.reset()
		} else {
			p.raw.Close()
		}
	}
	waitFor(t, "their ends", func() bool { return s.Open() == 0 })
	if r := tl.Report(nil); r.Torn != n/2 || r.Cut != n/2 {
		t.Errorf("%d torn, %d cut off", r.Torn, r.Cut)
	}
	checkAlive(t, s)
	s.Exit()
	http := 4 // connections of other tests to a control may still be open
	waitFor(t, "the descriptors", func() bool { return descriptors() <= open+http })
}

// Connections are made and reset at random times, with and without TLS.
func TestSurvivesResets(t *testing.T) {
	eachKind(t, func(t *testing.T, o Options) {
		o.Tally = tally.New(tally.Options{})
		s := start(t, o)
		var clients sync.WaitGroup
		const n, each = 8, 20
		for id := range uint32(n) {
			clients.Go(func() {
				rng := rand.New(rand.NewPCG(uint64(id), 1))
				stream := numbered(id, 200)
				for range each {
					p, err := tryDial(s)
					if err != nil {
						t.Error(err)
						return
					}
					if rng.IntN(4) > 0 {
						p.Write(stream[:rng.IntN(len(stream))])
					}
					time.Sleep(time.Duration(rng.IntN(1000)) * time.Microsecond)
					p.reset()
				}
			})
		}
		clients.Wait()
		waitFor(t, "their ends", func() bool { return s.Accepted() == n*each && s.Open() == 0 })
		if r := o.Tally.Report(nil); r.Corrupt > 0 || r.Foreign > 0 {
			t.Errorf("%+v", r)
		}
		checkAlive(t, s)
	})
}
