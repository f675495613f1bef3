package send

import (
	"context"
	"encoding/json"
	"net"
	"reflect"
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/testcert"
)

// patience limits operations that take no time unless something hangs.
const patience = time.Minute

// runAll runs o and fails the test on an error.
func runAll(t *testing.T, o Options) Summary {
	t.Helper()
	return runUntil(t, o, func(Progress) bool { return false })
}

// runUntil is runAll that ends the run when done returns true. Limits that a test does not set
// are not reached.
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
		lines uint64 // sent by each of three clients
	}{
		{kind: Stream, serve: readAll, o: Options{Lines: 5000}, lines: 5000},
		{kind: Stream, serve: readAll, o: Options{Lines: 60, Length: record.Length{Min: 100, Max: 300 << 10}},
			lines: 60},
		{kind: Request, serve: answer, o: Options{Lines: 50}, lines: 50},
		{kind: FireAndForget, serve: readAll, lines: 1},
		{kind: FireAndForget, serve: readAll, o: Options{Lines: 7}, lines: 1},
		{kind: Idle, serve: readAll, o: Options{Lines: 7, Duration: 3 * time.Second,
			Clients: 3}}, // enough for three to connect

		{kind: Slow, serve: readAll, o: Options{Lines: 2, Pause: time.Microsecond,
			Length: record.Length{Min: 100, Max: 100}}, lines: 2},
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
				t.Errorf("%d sent, %d received, %d missing, %d in doubt", s.Lines, r.received(), r.missing(s),
					s.InDoubt)
			}
			for id := range s.Senders {
				if id < 40 || id > 42 {
					t.Errorf("sender %d", id)
				}
			}
			if tt.kind == Request && (s.Requests == nil || s.Requests.Count != s.Lines || s.Requests.P50 <= 0 ||
				s.Requests.Max < s.Requests.P99) {
				t.Errorf("requests %+v", s.Requests)
			}
		})
	}
}

// When a run ends in the middle of a slow client's line, the client sends the rest, because half
// a line would not be a record.
func TestSlowClientCompletesItsLine(t *testing.T) {
	r := receive(t, "tcp", nil, readAll)
	o := Options{To: []Dial{r.dial()}, Mix: Mix{{Slow, 1}}, Pause: 20 * time.Millisecond,
		Length: record.Length{Min: 60_000, Max: 60_000}}
	s := runUntil(t, o, func(Progress) bool { return r.started.Load() == 1 })
	r.stop()
	if _, _, torn, lines := r.counts(); s.Lines != 1 || r.received() != 1 || torn != 0 || len(lines) != 0 {
		t.Errorf("%d sent, %d received, %d torn, %q", s.Lines, r.received(), torn, lines)
	}
}

func TestTransports(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	secure := certs.ServerTLS()
	tickets := certs.ServerTLS()
	tickets.SessionTicketsDisabled = false // the tickets that the server writes must not cause a reset at our end
	client := certs.ClientTLS()
	client.ServerName = "" // to be taken from the address
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
			s := runAll(t, Options{To: []Dial{d}, Mix: Mix{{Stream, 1}, {Request, 1}, {FireAndForget, 1}},
				Connections: 3, Lines: 500})
			tt.r.stop()
			// A fire-and-forget client does not read the answer, which may cost its line.
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
	runAll(t, Options{To: []Dial{a.dial(), b.dial()}, Mix: Mix{{Request, 1}, {FireAndForget, 1}}, Connections: 4,
		Clients: 40, Lines: 1})
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
	if s.Seconds < 0.25 || s.Lines != 60 { // no upper bound: a slow machine takes longer
		t.Errorf("%d lines in %v s", s.Lines, s.Seconds)
	}
}

// A rate is never exceeded. That it is reached is tested with the pace.
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

// After the duration, clients of every kind end cleanly. Clients that end earlier are replaced.
func TestDuration(t *testing.T) {
	t.Parallel()
	const duration = 2 * time.Second // enough for a slow machine to connect ten times
	r := receive(t, "tcp", nil, answer)
	mix, err := ParseMix("stream=1,request=1,fire-and-forget=1,idle=1,slow=1")
	if err != nil {
		t.Fatal(err)
	}
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: mix, Connections: 10, Lines: 5, Duration: duration,
		Pause: time.Millisecond})
	if s.Seconds < duration.Seconds() || s.Failed() != 0 || s.Clients[Request].Started <= 2 ||
		s.Clients[Idle].Succeeded != 2 {
		t.Errorf("after %v s: %s", s.Seconds, text(s))
	}
	if _, maxOpen, _, _ := r.counts(); maxOpen < 10 {
		t.Errorf("%d connections at one time", maxOpen)
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

// Idle clients end when all others have ended.
func TestIdleClientsEndLast(t *testing.T) {
	r := receive(t, "tcp", nil, answer)
	s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{Request, 1}, {Idle, 1}}, Connections: 4, Lines: 10})
	if s.Lines != 20 || s.Clients[Idle].Succeeded != 2 {
		t.Error(text(s))
	}
}

func TestProgress(t *testing.T) {
	// No client is answered before the first progress was reported.
	r := receive(t, "tcp", nil, func(r *receiver, c net.Conn) { <-r.ready; answer(r, c) })
	var all []Progress
	s := runUntil(t, Options{To: []Dial{r.dial()}, Mix: Mix{{Request, 1}}, Connections: 2, Lines: 100},
		func(p Progress) bool {
			if all = append(all, p); p.Lines == 2 {
				r.allOpen()
			}
			return false
		})
	first, last := all[0], all[len(all)-1]
	if len(all) < 2 || first.Done >= 1 || first.Open > 2 || first.Started > 2 || first.Lines > 2 {
		t.Errorf("first of %d: %+v", len(all), first)
	}
	if last.Done != 1 || last.Lines != s.Lines || last.Bytes != s.Bytes || last.Open != 0 || last.Failed != 0 ||
		last.Started != 2 {
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
	for _, want := range []string{`"lines":3`, `"senders":{"0":3}`, `"numbered":true`,
		`"request":{"started":1,"succeeded":1,"failed":0}`, `"p99_9":`} {
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

// A client that reads notices that the peer has sent FIN, and one that only writes goes on.
func TestWriteOnlyClientsDoNotNoticeTheirPeersEnd(t *testing.T) {
	t.Parallel()
	const lines = 5000
	r := receive(t, "tcp", nil, closeAfter(10))
	s := runAll(t, Options{To: []Dial{r.dial()}, Lines: lines, WriteOnly: true})
	r.stop()
	if count := *s.Clients[Stream]; count.Succeeded != 1 || s.Senders[0] != lines || r.missing(s) != 0 {
		t.Errorf("clients %+v, %d lines sent, of which %d are missing", count, s.Senders[0], r.missing(s))
	}
	r = receive(t, "tcp", nil, closeAfter(10))
	s = runAll(t, Options{To: []Dial{r.dial()}, Rate: 1000})
	if count := *s.Clients[Stream]; count.Reasons["closed"] != 1 {
		t.Errorf("clients that read: %+v", count)
	}
}

func TestConnectOpensTheConnections(t *testing.T) {
	t.Parallel()
	r := receive(t, "tcp", nil, readAll)
	to := r.dial()
	var opened []net.Conn
	to.Connect = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := new(net.Dialer).DialContext(ctx, network, address)
		opened = append(opened, c)
		return c, err
	}
	runAll(t, Options{To: []Dial{to}, Lines: 10})
	if accepted, _, _, _ := r.counts(); len(opened) != 1 || accepted != 1 {
		t.Errorf("%d connections opened, %d accepted, want one", len(opened), accepted)
	}
}
