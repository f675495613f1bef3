package send

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/simulate/record"
)

func TestParseMix(t *testing.T) {
	for text, want := range map[string]string{
		"stream":                      "[{stream 1}]",
		"stream=15, request=50":       "[{stream 15} {request 50}]",
		"fire-and-forget=1,idle,slow": "[{fire-and-forget 1} {idle 1} {slow 1}]",
		"stream=1000000":              "[{stream 1000000}]",
		"":                            `unknown kind ""`,
		"stream=0":                    `weight "0" of stream`,
		"stream=":                     `weight ""`,
		"stream=1000001":              "from 1 to 1000000",
		"stream,stream=2":             "stream is given twice",
		"Stream=1,request=x,stream=1,": "unknown kind \"Stream\": known are stream, request, fire-and-forget, idle and slow\n" +
			"weight \"x\" of request: write a number from 1 to 1000000\nunknown kind \"\"",
	} {
		m, err := ParseMix(text)
		got := fmt.Sprint(m)
		if err != nil {
			got = err.Error()
		}
		if !strings.HasPrefix(got, want) && !strings.Contains(got, want) {
			t.Errorf("ParseMix(%q) = %s, want %s", text, got, want)
		}
	}
}

// Among any number of clients in a row, each kind has its share, give or take one.
func TestMixKeepsToItsWeights(t *testing.T) {
	m, err := ParseMix("stream=15,request=50,fire-and-forget=30,idle=4,slow=1")
	if err != nil {
		t.Fatal(err)
	}
	p := newPicker(m)
	count := map[Kind]int{}
	for n := 1; n <= 1000; n++ {
		count[p.next(func(Kind) bool { return true })]++
		for _, s := range m {
			if want := float64(n*s.Weight) / 100; float64(count[s.Kind]) < want-1 || float64(count[s.Kind]) > want+1 {
				t.Fatalf("%d of %d are %s, want %v", count[s.Kind], n, s.Kind, want)
			}
		}
	}
}

// Clients that stay take no more than their share of the connections.
func TestMixLimitsClientsThatStay(t *testing.T) {
	m := Mix{{Idle, 1}, {FireAndForget, 3}}
	p := newPicker(m)
	idle := 0
	for range 1000 {
		if p.next(func(k Kind) bool { return k != Idle || idle < m.shareOf(Idle, 10) }) == Idle {
			idle++
		}
	}
	if idle != 3 {
		t.Errorf("%d of 10 connections are idle, want 3: a quarter, rounded up", idle)
	}
}

// A pace reaches its rate, however late or early it is asked.
func TestPace(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, rate := range []float64{0.2, 1, 3, 100, 333, 80_000, 5e6} {
		for name, step := range map[string]time.Duration{"often": time.Millisecond, "on the tick": tick,
			"late": maxCatchUp * 3 / 4} {
			p := newPace(rate, start)
			const seconds = 60
			var total int
			for now := start; now.Sub(start) < seconds*time.Second; now = now.Add(step) {
				n, wait := p.due(now)
				if n == 0 && (wait < tick || wait > p.interval(1)+tick) {
					t.Fatalf("rate %v, %s: nothing due, and for %v", rate, name, wait)
				}
				p.done(n)
				total += n
			}
			want := rate*seconds + 1
			if slack := max(1.5, rate*step.Seconds()+1, want*1e-3); float64(total) < want-slack ||
				float64(total) > want+slack {
				t.Errorf("rate %v, %s: %d in a minute", rate, name, total)
			}
		}
	}
}

// A delayed client does not send a burst.
func TestPaceAfterAStall(t *testing.T) {
	start := time.Unix(1e9, 0)
	p := newPace(1000, start)
	n, _ := p.due(start.Add(time.Hour))
	if want := int(1000*maxCatchUp.Seconds()) + 1; n != want {
		t.Errorf("%d due after an hour, want %d", n, want)
	}
	p.done(n)
	if n, wait := p.due(start.Add(time.Hour)); n != 0 || wait != tick {
		t.Errorf("then %d due, next in %v", n, wait)
	}
}

func TestPaceWithoutLimit(t *testing.T) {
	p := newPace(0, time.Time{})
	p.done(1 << 40)
	if n, _ := p.due(time.Now()); n < 1<<40 {
		t.Errorf("%d due", n)
	}
}

// The history never reports too few lines in doubt, and not many too many.
func TestHistory(t *testing.T) {
	for _, tt := range []struct{ lines, size int }{{1, 60}, {3, 1000}, {100, 600}, {1, 300 << 10}} {
		var m lineHistory
		if m.linesInLast(0) != 0 || m.linesInLast(100) != 0 {
			t.Error("something in doubt on a connection that was given nothing")
		}
		const total = 20 << 20
		for m.end.bytes < total {
			m.add(tt.lines*tt.size, tt.lines)
		}
		for _, n := range []int{0, 1, tt.size - 1, tt.size, tt.size + 1, historyStep, 1 << 20, 4 << 20} {
			exact := (n + tt.size - 1) / tt.size
			slack := (historyStep+tt.lines*tt.size)/tt.size + 1
			if n == 0 {
				slack = 0
			}
			if got := int(m.linesInLast(uint64(n))); got < exact || got > exact+slack {
				t.Errorf("%d × %d bytes: the last %d bytes hold %d lines, got %d", tt.lines, tt.size, n, exact, got)
			}
		}
		if m.linesInLast(m.end.bytes) > m.end.lines {
			t.Error("more in doubt than was given")
		}
	}
}

// A batch that is written in pieces of any size counts each line once, with its last byte.
func TestSenderCountsWholeLines(t *testing.T) {
	for _, piece := range []int{1, 7, 100, 1000, 1 << 20} {
		s := newSender(1, record.Length{Min: 100, Max: 400}, nil)
		var lines, bytes int
		for range 3 {
			if !s.fill(context.Background(), 10) {
				t.Fatal("nothing to send")
			}
			for s.lines > 0 {
				part := s.next(2)
				n := min(piece, len(part))
				atEnd := strings.HasSuffix(string(part[:n]), "\n")
				l, size := s.advance(n)
				if s.midLine() == atEnd {
					t.Fatalf("in the midst of a line: %v, but the piece ends in a newline: %v", s.midLine(), atEnd)
				}
				lines, bytes = lines+l, bytes+size
			}
		}
		if lines != 30 || s.sent != 30 || s.gen.Next() != 30 || bytes < 3000 {
			t.Errorf("pieces of %d: %d lines, %d sent, %d bytes", piece, lines, s.sent, bytes)
		}
	}
}

// The next connection gets the interrupted line from its beginning.
func TestSenderRewinds(t *testing.T) {
	s := newSender(1, record.Length{Min: 100, Max: 100}, nil)
	s.fill(context.Background(), 3)
	s.advance(150)
	s.rewind()
	next := s.next(1)
	if id, ok := record.Parse(next[:len(next)-1]); !ok || id.Seq != 1 || s.sent != 1 || s.lines != 2 {
		t.Errorf("goes on with %q; %d sent, %d to come", next, s.sent, s.lines)
	}
}

func TestReasons(t *testing.T) {
	for want, err := range map[string]error{
		"closed":            fmt.Errorf("so: %w", errClosed),
		"tls":               fmt.Errorf("dial: %w: %w", errHandshake, io.EOF),
		"no_answer":         errNoAnswer,
		"no_address":        &net.OpError{Op: "dial", Err: &net.DNSError{IsTimeout: true}},
		"refused":           &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.ECONNREFUSED)},
		"reset":             &net.OpError{Op: "write", Err: os.NewSyscallError("write", syscall.EPIPE)},
		"no_ports_or_files": &net.OpError{Op: "dial", Err: os.NewSyscallError("connect", syscall.EADDRNOTAVAIL)},
		"dial_timeout":      &net.OpError{Op: "dial", Err: os.ErrDeadlineExceeded},
		"stalled":           &net.OpError{Op: "write", Err: os.ErrDeadlineExceeded},
		"other":             errors.New("disk on fire"),
	} {
		if got := reason(err); got != want {
			t.Errorf("reason(%v) = %s, want %s", err, got, want)
		}
	}
}

func TestDialNames(t *testing.T) {
	for want, d := range map[string]Dial{
		"tcp://a:1": {Network: "tcp", Address: "a:1"}, "unix://@x": {Network: "unix", Address: "@x"},
	} {
		if d.String() != want {
			t.Errorf("%s, want %s", d, want)
		}
	}
}

// discard accepts everything at once.
type discard struct{ net.Conn }

func (discard) Write(b []byte) (int, error) { return len(b), nil }

// round sends one batch of a stream, up to 64 KiB.
func round(c *client, l *link) error {
	n, err := c.awaitDue(context.Background(), l)
	if err != nil || !c.s.fill(context.Background(), n) {
		return err
	}
	return c.send(l, c.s.next(n))
}

func streamClient() (*client, *link) {
	r := newRun(Options{To: []Dial{{Network: "tcp"}}}.withDefaults())
	return newClient(r, Stream, 0, newSender(1, record.Length{}, nil)), &link{Conn: discard{}}
}

// pieces counts the writes that it gets.
type pieces struct {
	net.Conn
	n, longest int
}

func (p *pieces) Write(b []byte) (int, error) {
	p.n++
	p.longest = max(p.longest, len(b))
	return len(b), nil
}

// A slow client sends its line byte by byte.
func TestSlowClientPausesAfterEachByte(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const pause = 2 * time.Millisecond
		r := newRun(Options{To: []Dial{{Network: "tcp"}}, Pause: pause}.withDefaults())
		c := newClient(r, Slow, 0, newSender(1, record.Length{Min: 100, Max: 100}, nil))
		c.s.fill(t.Context(), 1)
		began, wire := time.Now(), &pieces{}
		err := c.sendSlowly(t.Context(), &link{Conn: wire}, c.s.next(1))
		if took := time.Since(began); err != nil || wire.n != 100 || wire.longest != 1 || took != 100*pause {
			t.Errorf("%d pieces of up to %d bytes in %v, %v", wire.n, wire.longest, took, err)
		}
	})
}

func TestStreamDoesNotAllocate(t *testing.T) {
	c, l := streamClient()
	if n := testing.AllocsPerRun(100, func() { round(c, l) }); n > 0 {
		t.Errorf("%v allocations for a batch", n)
	}
}

func BenchmarkStream(b *testing.B) {
	c, l := streamClient()
	b.ReportAllocs()
	for b.Loop() {
		round(c, l)
	}
	lines, bytes := c.run.lines.Load(), c.run.bytes.Load()
	b.SetBytes(int64(bytes) / int64(b.N))
	b.ReportMetric(float64(lines)/b.Elapsed().Seconds(), "lines/s")
}
