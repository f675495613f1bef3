package send

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/testcert"
)

// patience is for what takes no time unless something hangs.
const patience = time.Minute

// runAll runs and fails the test on an error.
func runAll(t *testing.T, o Options) Summary {
	t.Helper()
	return runUntil(t, o, func(Progress) bool { return false })
}

// runUntil is runAll that ends the run when done says so. Limits that a test does not set do not pass.
func runUntil(t *testing.T, o Options, done func(Progress) bool) (s Summary) {
	t.Helper()
	for _, d := range []*time.Duration{&o.DialTimeout, &o.Timeout, &o.Grace} {
		set(d, patience)
	}
	set(&o.Interval, 5*time.Millisecond)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var err error
	within(t, patience, func() {
		s, err = Run(ctx, o, func(p Progress) {
			if done(p) {
				cancel()
			}
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestKinds(t *testing.T) {
	for _, tt := range []struct {
		kind  Kind
		serve func(*receiver, net.Conn)
		o     Options
		lines uint64 // that each of three clients sends
	}{
		{kind: Stream, serve: readAll, o: Options{Lines: 5000}, lines: 5000},
		{kind: Stream, serve: readAll, o: Options{Lines: 60, Length: record.Length{Min: 100, Max: 300 << 10}}, lines: 60},
		{kind: Request, serve: answer, o: Options{Lines: 50}, lines: 50},
		{kind: FireAndForget, serve: readAll, lines: 1},
		{kind: FireAndForget, serve: readAll, o: Options{Lines: 7}, lines: 1},
		{kind: Idle, serve: readAll, o: Options{Lines: 7, Duration: 3 * time.Second, Clients: 3}}, // enough for three to connect

		{kind: Slow, serve: readAll, o: Options{Lines: 2, Pause: time.Microsecond, Length: record.Length{Min: 100, Max: 100}}, lines: 2},
	} {
		t.Run(string(tt.kind), func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, tt.serve)
			o := tt.o
			o.To, o.Mix, o.Connections, o.FirstSender = []Dial{r.dial()}, Mix{{tt.kind, 1}}, 3, 40
			s := runAll(t, o)
			r.stop()
			count := *s.Clients[tt.kind]
			if count.Started != 3 || count.Succeeded != 3 || count.Failed != 0 || s.Failed() != 0 {
				t.Errorf("clients %+v", count)
			}
			if accepted, _, torn, _ := r.counts(); accepted != 3 || torn != 0 {
				t.Errorf("%d connections, %d torn", accepted, torn)
			}
			if s.Lines != 3*tt.lines || r.received() != s.Lines || r.missing(s) != 0 || s.InDoubt != 0 || !s.Numbered {
				t.Errorf("%d sent, %d received, %d missing, %d in doubt", s.Lines, r.received(), r.missing(s), s.InDoubt)
			}
			for id := range s.Senders {
				if id < 40 || id > 42 {
					t.Errorf("sender %d", id)
				}
			}
			if tt.kind == Request && (s.Requests == nil || s.Requests.Count != s.Lines || s.Requests.P50 <= 0 || s.Requests.Max < s.Requests.P99) {
				t.Errorf("requests %+v", s.Requests)
			}
		})
	}
}

// A run that ends in a slow client's line sends the rest of it: half a line would be no record.
func TestSlowEndsItsLine(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	o := Options{To: []Dial{r.dial()}, Mix: Mix{{Slow, 1}}, Pause: 20 * time.Millisecond, Length: record.Length{Min: 60_000, Max: 60_000}}
	s := runUntil(t, o, func(Progress) bool { return r.begun.Load() == 1 })
	r.stop()
	if _, _, torn, lines := r.counts(); s.Lines != 1 || r.received() != 1 || torn != 0 || len(lines) != 0 {
		t.Errorf("%d sent, %d received, %d torn, %q", s.Lines, r.received(), torn, lines)
	}
}

func TestTransports(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	secure := certs.ServerTLS()
	tickets := certs.ServerTLS()
	tickets.SessionTicketsDisabled = false // what the server then writes must not turn our end into a reset
	client := certs.ClientTLS()
	client.ServerName = "" // it is the address's
	for _, tt := range []struct {
		name string
		r    *receiver
		tls  bool
	}{
		{"tcp", receive(t, "tcp", nil, answer), false},
		{"unix", receive(t, "unix", nil, answer), false},
		{"tls", receive(t, "tcp", secure, answer), true},
		{"tls with tickets", receive(t, "tcp", tickets, answer), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			d := tt.r.dial()
			if tt.tls {
				d.TLS = client
			}
			s := runAll(t, Options{To: []Dial{d}, Mix: Mix{{Stream, 1}, {Request, 1}, {FireAndForget, 1}}, Connections: 3, Lines: 500})
			tt.r.stop()
			// Fire and forget is just that: its line meets an answer that nobody reads.
			if s.Lines != 1001 || tt.r.missing(s) > 1 || s.Failed() != 0 || s.InDoubt != 0 {
				t.Errorf("%d sent, %d missing, %d in doubt, clients %s", s.Lines, tt.r.missing(s), s.InDoubt, text(s))
			}
			if client.ServerName != "" {
				t.Error("the caller's TLS configuration was changed")
			}
		})
	}
}

// Clients of each kind take the addresses in turn.
func TestAddressesInTurn(t *testing.T) {
	a, b := receive(t, "tcp", nil, answer), receive(t, "tcp", nil, answer)
	runAll(t, Options{To: []Dial{a.dial(), b.dial()}, Mix: Mix{{Request, 1}, {FireAndForget, 1}}, Connections: 4, Clients: 40, Lines: 1})
	for _, r := range []*receiver{a, b} {
		r.stop()
		if accepted, _, _, _ := r.counts(); accepted < 18 || accepted > 22 {
			t.Errorf("%d connections", accepted)
		}
	}
}

func TestClientsPerSecond(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{FireAndForget, 1}}, ClientsPerSecond: 200, Clients: 60})
	if s.Seconds < 0.25 || s.Lines != 60 { // nothing but a slow machine makes it longer
		t.Errorf("%d lines in %v s", s.Lines, s.Seconds)
	}
}

// Rates are kept from above whatever the machine does; that they are kept from below too is the pace's test.
func TestRate(t *testing.T) {
	for _, kind := range []Kind{Stream, Request} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, answer)
			s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{kind, 1}}, Connections: 2, Rate: 500, Lines: 150})
			if s.Lines != 300 || s.Seconds < 0.28 {
				t.Errorf("%d lines in %v s", s.Lines, s.Seconds)
			}
		})
	}
}

// A duration ends clients of every kind in order, and has those that end before it replaced.
func TestDuration(t *testing.T) {
	t.Parallel()
	const duration = 2 * time.Second // a slow machine connects ten times within it
	r := receive(t, "tcp", nil, answer)
	mix, err := ParseMix("stream=1,request=1,fire-and-forget=1,idle=1,slow=1")
	if err != nil {
		t.Fatal(err)
	}
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: mix, Connections: 10, Lines: 5, Duration: duration, Pause: time.Millisecond})
	if s.Seconds < duration.Seconds() || s.Failed() != 0 || s.Clients[Request].Started <= 2 || s.Clients[Idle].Succeeded != 2 {
		t.Errorf("after %v s: %s", s.Seconds, text(s))
	}
	if _, most, _, _ := r.counts(); most < 10 {
		t.Errorf("%d connections at one time", most)
	}
}

func TestInterrupted(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	o := Options{To: []Dial{r.dial()}, Mix: Mix{{Stream, 2}, {Idle, 1}}, Connections: 3}
	s := runUntil(t, o, func(p Progress) bool { return p.Open == 3 && p.Lines > 0 })
	r.stop()
	if s.Lines == 0 || r.missing(s) != 0 || r.received() != s.Lines || s.InDoubt != 0 || s.Failed() != 0 {
		t.Errorf("%d received, %d missing of %s", r.received(), r.missing(s), text(s))
	}
}

// Idle clients are not waited for when all others have ended.
func TestIdleGoLast(t *testing.T) {
	r := receive(t, "tcp", nil, answer)
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{Request, 1}, {Idle, 1}}, Connections: 4, Lines: 10})
	if s.Lines != 20 || s.Clients[Idle].Succeeded != 2 {
		t.Error(text(s))
	}
}

func TestPeersThatFail(t *testing.T) {
	const soon = 50 * time.Millisecond // of limits that are to pass
	for _, tt := range []struct {
		name    string
		kind    Kind
		serve   func(*receiver, net.Conn)
		o       Options
		reasons string // that clients may fail with
	}{
		{name: "resets a stream", kind: Stream, serve: resetAfter(10), reasons: "reset"},
		{name: "resets a request", kind: Request, serve: resetAfter(1), reasons: "reset closed"},
		{name: "resets an idle one", kind: Idle, serve: resetLater, reasons: "reset"},
		{name: "resets a slow one", kind: Slow, serve: resetAfter(1), reasons: "reset"},
		{name: "closes a stream", kind: Stream, serve: closeAfter(10), reasons: "closed"},
		{name: "closes a request", kind: Request, serve: closeAfter(1), reasons: "closed"},
		{name: "closes an idle one", kind: Idle, serve: closeAfter(0), reasons: "closed"},
		{name: "closes a slow one", kind: Slow, serve: closeAfter(1), reasons: "closed"},
		{name: "stalls a stream", kind: Stream, serve: silent, reasons: "stalled",
			o: Options{Length: record.Length{Min: 12 << 20, Max: 12 << 20}, Grace: soon}}, // more than kernels hold
		{name: "never answers", kind: Request, serve: silent, reasons: "no_answer", o: Options{Timeout: soon}},
		{name: "answers half", kind: Request, reasons: "no_answer", o: Options{Timeout: soon}, serve: func(r *receiver, c net.Conn) {
			io.WriteString(c, "ok")
			silent(r, c)
		}},
		{name: "answers without end", kind: Request, reasons: "no_answer", o: Options{Timeout: soon}, serve: func(r *receiver, c net.Conn) {
			for { // no newline, ever
				if _, err := c.Write(make([]byte, 4096)); err != nil {
					return
				}
			}
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, tt.serve)
			o := tt.o
			o.To, o.Mix, o.Connections, o.Clients, o.Pause = []Dial{r.dial()}, Mix{{tt.kind, 1}}, 2, 8, time.Microsecond
			s := runUntil(t, o, func(p Progress) bool {
				if p.Open == 2 {
					r.allOpen()
				}
				return tt.reasons == "stalled" && r.begun.Load() == 2
			})
			r.stop()
			if s.Failed() == 0 || len(s.Clients[tt.kind].Lost) != 0 {
				t.Errorf("no failure, or connections made good: %s", text(s))
			}
			for why := range s.Clients[tt.kind].Reasons {
				if !strings.Contains(tt.reasons, why) {
					t.Errorf("reason %q, want %s", why, tt.reasons)
				}
			}
			if tt.reasons == "closed" && r.missing(s) > 0 {
				t.Errorf("%d lines missing, though the peer took everything", r.missing(s))
			}
			if _, _, torn, _ := r.counts(); torn > 0 {
				t.Errorf("%d torn lines at the end of connections that were closed in order", torn)
			}
		})
	}
}

// A client that connects again goes on where it was: nothing is missing but what was in doubt, and after an end in order nothing is.
func TestReconnect(t *testing.T) {
	for _, tt := range []struct {
		name  string
		kind  Kind
		serve func(*receiver, net.Conn)
		lines uint64
		lost  string
		whole bool // nothing may be missing
	}{
		{name: "closed", kind: Stream, serve: closeAfter(100), lines: 3000, lost: "closed", whole: true},
		{name: "closed while slow", kind: Slow, serve: closeAfter(1), lines: 20, lost: "closed", whole: true},
		{name: "reset", kind: Stream, serve: resetAfter(100), lines: 3000, lost: "reset"},
		{name: "reset requests", kind: Request, serve: func(r *receiver, c net.Conn) { // the line is read, and not answered
			readLines(r, c, 1)
			c.(*net.TCPConn).SetLinger(0)
		}, lines: 5, lost: "reset", whole: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, tt.serve)
			s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{tt.kind, 1}}, Lines: tt.lines, Reconnect: true,
				Rate: map[Kind]float64{Stream: 5000}[tt.kind], Pause: 100 * time.Microsecond, Length: record.Length{Min: 100, Max: 100}})
			r.stop()
			count := s.Clients[tt.kind]
			if s.Lines != tt.lines || s.Senders[0] != tt.lines || count.Succeeded != 1 || count.Failed != 0 {
				t.Errorf("not all sent: %s", text(s))
			}
			if count.Lost[tt.lost] == 0 || len(count.Lost) != 1 {
				t.Errorf("lost %v, want %s", count.Lost, tt.lost)
			}
			if missing := r.missing(s); tt.whole && (missing > 0 || s.InDoubt > 0) {
				t.Errorf("%d missing, %d in doubt", missing, s.InDoubt)
			}
			if _, _, torn, lines := r.counts(); torn > 0 || len(lines) > 0 {
				t.Errorf("%d torn, and %q", torn, lines)
			}
		})
	}
}

// A receiver that is gone for a while is found again; one that stays away is a failure when the run ends.
func TestReconnectToNobody(t *testing.T) {
	r := receive(t, "tcp", nil, closeAfter(1))
	var gone bool
	var lost uint64 // soon after
	s := runUntil(t, Options{To: []Dial{r.dial()}, Rate: 1000, Reconnect: true}, func(p Progress) bool {
		switch {
		case !gone:
			r.stop()
			gone = true
		case lost == 0:
			lost = p.Lost
		}
		return lost > 0 && p.Lost > lost+1
	})
	if count := s.Clients[Stream]; count.Failed != 1 || count.Reasons["refused"] != 1 || count.Lost["refused"] == 0 {
		t.Error(text(s))
	}
}

// What a stalled peer had not acknowledged when the run ended is in doubt.
func TestInDoubt(t *testing.T) {
	r := receive(t, "tcp", nil, silent)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{To: []Dial{r.dial()}, Length: record.Length{Min: 8000, Max: 8000}, Interval: 10 * time.Millisecond, Grace: 50 * time.Millisecond}
	var before uint64
	stalled := 0 // calls in a row
	s, err := Run(ctx, o, func(p Progress) {
		if stalled++; p.Lines != before || p.Lines == 0 {
			before, stalled = p.Lines, 0
		}
		if stalled == 30 {
			cancel()
		}
	})
	if err != nil || s.InDoubt == 0 || s.InDoubt > s.Lines || s.Clients[Stream].Reasons["stalled"] != 1 {
		t.Error(err, text(s))
	}
}

func TestUnreachable(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	nobody := receive(t, "tcp", nil, readAll)
	nobody.stop()
	certs := testcert.New(t, t.TempDir())
	strange := r.dial()
	strange.TLS = certs.ClientTLS() // to one who speaks no TLS
	for name, d := range map[string]Dial{
		"refused":   nobody.dial(),
		"no socket": {Network: "unix", Address: filepath.Join(t.TempDir(), "none")},
		"no TLS":    strange,
	} {
		t.Run(name, func(t *testing.T) {
			within(t, patience, func() {
				s, err := Run(t.Context(), Options{To: []Dial{r.dial(), d}, Reconnect: true, DialTimeout: 100 * time.Millisecond}, nil)
				if !errors.Is(err, ErrUnreachable) || !strings.Contains(err.Error(), d.String()) || s.Lines != 0 {
					t.Errorf("%v, %s", err, text(s))
				}
			})
		})
	}
}

func TestBadOptions(t *testing.T) {
	for _, o := range []Options{
		{},
		{To: []Dial{{Network: "udp", Address: "127.0.0.1:1"}}},
		{To: []Dial{{Network: "tcp", Address: "127.0.0.1:1"}}, Connections: -1},
		{To: []Dial{{Network: "tcp", Address: "127.0.0.1:1"}}, Mix: Mix{{Idle, 1}, {Stream, 1}}, Clients: 2},
	} {
		if _, err := Run(t.Context(), o, nil); err == nil || errors.Is(err, ErrUnreachable) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

const zeek = "{\"a\":1}\n\r\n\x00\xff\nlast, without a newline"

func TestInput(t *testing.T) {
	file := filepath.Join(t.TempDir(), "zeek.log")
	if err := os.WriteFile(file, []byte(zeek), 0o600); err != nil {
		t.Fatal(err)
	}
	opened := func(t *testing.T) io.Reader {
		f, err := os.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		return f
	}
	piped := func(t *testing.T) io.Reader {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(w, zeek)
		w.Close()
		t.Cleanup(func() { r.Close() })
		return r
	}
	pass := []string{`{"a":1}`, "\r", "\x00\xff", "last, without a newline"}
	for _, tt := range []struct {
		name  string
		input func(*testing.T) io.Reader
		o     Options
		want  []string
	}{
		{name: "file", input: opened, want: pass},
		{name: "file three times", input: opened, o: Options{Repeat: 3}, want: append(append(pass[:4:4], pass...), pass...)},
		{name: "pipe", input: piped, want: pass},
		{name: "pipe twice", input: piped, o: Options{Repeat: 2}, want: append(pass[:4:4], pass...)},
		{name: "no more than lines", input: opened, o: Options{Repeat: -1, Lines: 6}, want: append(pass[:4:4], pass[:2]...)},
		{name: "at a rate", input: opened, o: Options{Rate: 1000}, want: pass},
		{name: "byte by byte", input: func(*testing.T) io.Reader { return iotest.OneByteReader(strings.NewReader(zeek)) }, want: pass},
		{name: "data with the end", input: func(*testing.T) io.Reader { return iotest.DataErrReader(strings.NewReader(zeek)) }, want: pass},
		{name: "empty", input: func(*testing.T) io.Reader { return strings.NewReader("") }, o: Options{Repeat: -1}},
		{name: "one client a line", input: opened, o: Options{Mix: Mix{{FireAndForget, 1}}, Clients: 100}, want: pass},
		{name: "slowly", input: opened, o: Options{Mix: Mix{{Slow, 1}}, Pause: time.Microsecond}, want: pass},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, readAll)
			o := tt.o
			o.To, o.Input = []Dial{r.dial()}, tt.input(t)
			s := runAll(t, o)
			r.stop()
			_, _, torn, lines := r.counts()
			if o.Clients > 0 { // they are on their way at once
				lines = append([]string(nil), lines...)
				for i, want := range tt.want {
					for j := i; j < len(lines); j++ {
						if lines[j] == want {
							lines[i], lines[j] = lines[j], lines[i]
						}
					}
				}
			}
			if !reflect.DeepEqual(lines, tt.want) || torn != 0 || s.Numbered || s.Lines != uint64(len(tt.want)) {
				t.Errorf("%q, %d torn, %s", lines, torn, text(s))
			}
		})
	}
}

// Clients share the input: each line goes out once.
func TestInputIsShared(t *testing.T) {
	g := record.NewGenerator(7, record.Length{})
	var all []byte
	for range 5000 {
		all = g.Append(all, time.Now())
	}
	r := receive(t, "tcp", nil, readAll)
	s := runAll(t, Options{To: []Dial{r.dial()}, Connections: 4, Input: iotest.HalfReader(bytes.NewReader(all))})
	r.stop()
	if s.Lines != 5000 || r.received() != 5000 || s.Bytes != uint64(len(all)) {
		t.Errorf("%d received, %s", r.received(), text(s))
	}
}

func TestBadInput(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	for name, input := range map[string]io.Reader{
		"fails":            io.MultiReader(strings.NewReader("one\n"), iotest.ErrReader(errors.New("disk on fire"))),
		"a long line":      io.MultiReader(strings.NewReader("one\n"), io.LimitReader(zeros{}, longestLine+1)),
		"too much to keep": io.MultiReader(strings.NewReader("one\n"), io.LimitReader(newlines{}, mostKept)),
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Run(t.Context(), Options{To: []Dial{r.dial()}, Input: input, Repeat: 2}, nil)
			if err == nil || !strings.Contains(err.Error(), "read input: ") || s.Lines == 0 {
				t.Errorf("%v, %s", err, text(s))
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

type newlines struct{}

func (newlines) Read(b []byte) (int, error) {
	clear(b)
	b[len(b)-1] = '\n'
	return len(b), nil
}

// A terminal on which nobody types must not keep a run from ending.
func TestInputThatHangs(t *testing.T) {
	in, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	io.WriteString(w, "one\ntwo\nthr")
	r := receive(t, "tcp", nil, readAll)
	o := Options{To: []Dial{r.dial()}, Connections: 3, Input: in}
	s := runUntil(t, o, func(p Progress) bool { return p.Lines == 2 })
	if s.Lines != 2 || s.Failed() != 0 {
		t.Error(text(s))
	}
}

func TestProgress(t *testing.T) {
	// Nobody is answered before there has been progress to see.
	r := receive(t, "tcp", nil, func(r *receiver, c net.Conn) { <-r.ready; answer(r, c) })
	var all []Progress
	s := runUntil(t, Options{To: []Dial{r.dial()}, Mix: Mix{{Request, 1}}, Connections: 2, Lines: 100}, func(p Progress) bool {
		if all = append(all, p); p.Lines == 2 {
			r.allOpen()
		}
		return false
	})
	first, last := all[0], all[len(all)-1]
	if len(all) < 2 || first.Done >= 1 || first.Open > 2 || first.Started > 2 || first.Lines > 2 {
		t.Errorf("first of %d: %+v", len(all), first)
	}
	if last.Done != 1 || last.Lines != s.Lines || last.Bytes != s.Bytes || last.Open != 0 || last.Failed != 0 || last.Started != 2 {
		t.Errorf("last %+v", last)
	}
}

func TestSummaryIsJSON(t *testing.T) {
	r := receive(t, "tcp", nil, answer)
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{Request, 1}}, Lines: 3})
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"lines":3`, `"senders":{"0":3}`, `"numbered":true`, `"request":{"started":1,"succeeded":1,"failed":0}`, `"p99_9":`} {
		if !strings.Contains(string(data), want) {
			t.Errorf("no %s in %s", want, data)
		}
	}
	var back Summary
	if err := json.Unmarshal(data, &back); err != nil || !reflect.DeepEqual(back.Senders, s.Senders) {
		t.Errorf("%v, %+v", err, back)
	}
}

func text(s Summary) string {
	data, _ := json.Marshal(s)
	return string(data)
}
