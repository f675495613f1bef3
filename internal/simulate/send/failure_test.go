package send

import (
	"context"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate/record"
	"linesplit/internal/testcert"
)

func TestPeersThatFail(t *testing.T) {
	const soon = 50 * time.Millisecond // for limits that are to be exceeded
	for _, tt := range []struct {
		name    string
		kind    Kind
		serve   func(*receiver, net.Conn)
		o       Options
		reasons string // with which clients may fail
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
			o: Options{Length: record.Length{Min: 12 << 20, Max: 12 << 20}, Grace: soon}}, // more than kernels buffer
		{name: "never answers", kind: Request, serve: silent, reasons: "no_answer", o: Options{Timeout: soon}},
		{name: "answers half", kind: Request, serve: answerHalf, reasons: "no_answer", o: Options{Timeout: soon}},
		{name: "answers without end", kind: Request, serve: answerEndlessly, reasons: "no_answer",
			o: Options{Timeout: soon}},
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
				return tt.reasons == "stalled" && r.started.Load() == 2
			})
			r.stop()
			if s.Failed() == 0 || len(s.Clients[tt.kind].Lost) != 0 {
				t.Errorf("no failure, or replaced connections: %s", text(s))
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
				t.Errorf("%d torn lines at the end of connections that were closed cleanly", torn)
			}
		})
	}
}

// A client that reconnects continues where it was: only lines in doubt are missing, and none
// after a clean end.
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
		{name: "reset requests", kind: Request, serve: resetUnanswered, lines: 5, lost: "reset", whole: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := receive(t, "tcp", nil, tt.serve)
			s := runAll(t, Options{To: []Dial{r.dial()}, Mix: Mix{{tt.kind, 1}}, Lines: tt.lines, Reconnect: true,
				Rate: map[Kind]float64{Stream: 5000}[tt.kind], Pause: 100 * time.Microsecond,
				Length: record.Length{Min: 100, Max: 100}})
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

// A client reconnects to a receiver that is away for a while. If the receiver stays away, the
// client fails at the end of the run.
func TestReconnectToAReceiverThatIsAway(t *testing.T) {
	r := receive(t, "tcp", nil, closeAfter(1))
	var gone bool
	var lost uint64 // count at the second call
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

// Lines that a stalled peer had not acknowledged when the run ended are in doubt.
func TestInDoubt(t *testing.T) {
	r := receive(t, "tcp", nil, silent)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o := Options{To: []Dial{r.dial()}, Length: record.Length{Min: 8000, Max: 8000}, Interval: 10 * time.Millisecond,
		Grace: 50 * time.Millisecond}
	var before uint64
	stalled := 0 // consecutive calls without progress
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
	stopped := receive(t, "tcp", nil, readAll)
	stopped.stop()
	certs := testcert.New(t, t.TempDir())
	plain := r.dial()
	plain.TLS = certs.ClientTLS() // of a receiver that does not speak TLS
	for name, d := range map[string]Dial{
		"refused":   stopped.dial(),
		"no socket": {Network: "unix", Address: filepath.Join(t.TempDir(), "none")},
		"no TLS":    plain,
	} {
		t.Run(name, func(t *testing.T) {
			within(t, patience, func() {
				s, err := Run(t.Context(), Options{To: []Dial{r.dial(), d}, Reconnect: true,
					DialTimeout: 100 * time.Millisecond}, nil)
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
