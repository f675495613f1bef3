package relay

import (
	"bytes"
	"log/slog"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/relay/internal/traffic"
)

// Clients that a limit refused stood in the access log alone, if there was one.
func TestRefusedClientsAreLoggedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		r.Tune(Tuning{MaxConnections: 1, MaxConnectionsPerClient: 1})
		a, b := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("192.0.2.2")
		if why := r.clients.Admit(a); why != traffic.NotEnded {
			t.Fatalf("the first client is refused: %v", why)
		}
		for range 1000 {
			if why := r.clients.Admit(b); why != traffic.EndLimit {
				t.Fatalf("another client: %v, want %v", why, traffic.EndLimit)
			}
		}
		r.FlushLog()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 2 || !strings.Contains(lines[1], `msg="client refused" reason=limit client=192.0.2.2 count=999`) {
			t.Errorf("want a line at once and one for 999:\n%s", &log)
		}
	})
}

// With the only target flapping, each change made a line of log.
func TestUnreachableTargetsAreLoggedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		r := New(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		for range 500 {
			r.backends.Streams.SetUnreachable(true)
			r.backends.Streams.SetUnreachable(false)
			time.Sleep(time.Millisecond)
		}
		r.FlushLog()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if len(lines) != 3 || !strings.Contains(lines[2], `"a target can be reached again" count=998`) {
			t.Errorf("%d lines, want both messages at once and the last in sum:\n%s", len(lines), &log)
		}
	})
}
