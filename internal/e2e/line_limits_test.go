//go:build linux

package e2e

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// readiness returns what /readyz says.
func readiness(t *testing.T, p *testrig.Process) (status int, text string) {
	t.Helper()
	client := http.Client{Timeout: testrig.Patience, Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Get("http://" + p.Admin + "/readyz")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// Ten senders that say nothing used to keep out all others at -max-connections 10, and /readyz said
// that all was well.
func TestIdleSendersAtTheLimitMakeRoom(t *testing.T) {
	t.Parallel()
	const limit = 10
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, "-max-connections", "10", "-idle-timeout", "3s")
	if status, text := readiness(t, s.Process); status != http.StatusOK {
		t.Errorf("before: %d %s", status, text)
	}
	idle := s.DialMany(limit)
	s.WaitForMetric(1, "linesplit_accepting_paused")
	if status, text := readiness(t, s.Process); status != http.StatusServiceUnavailable || !strings.Contains(text, "10 senders") {
		t.Errorf("at the limit: %d %s", status, text)
	}
	s.StartSenders(2, testrig.SenderOptions{Lines: 1_000})
	s.WaitForSenders()
	testrig.WaitFor(t, "all idle senders are ended", func() bool {
		m := s.Process.Metrics()
		return m.Sum("linesplit_connections_timed_out_total", testrig.Label("timeout", "idle")) == limit &&
			m.Sum("linesplit_accepting_paused") == 0
	})
	if status, text := readiness(t, s.Process); status != http.StatusOK {
		t.Errorf("after: %d %s", status, text)
	}
	testrig.ExpectContains(t, s.Process.Stderr(), "connection limit reached")
	for _, c := range idle {
		c.SetReadDeadline(time.Now().Add(testrig.Patience))
		if _, err := c.Read(make([]byte, 1)); err != io.EOF {
			t.Errorf("an idle sender reads %v, want the end of the stream", err)
		}
	}
	s.FinishLineMode(testrig.NoDuplicates)
}

// A sender that trickles a line is never idle.
func TestSendersThatTrickleALineAreEnded(t *testing.T) {
	t.Parallel()
	for name, client := range map[string]testrig.Client{"plain": {}, "TLS": {TLS: testrig.ClientTLS()}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			args := []string{"-line-timeout", "1s"}
			if client.TLS != nil {
				args = append(args, testrig.TLSListenerArgs()...)
			}
			s.StartLineMode([]testrig.Target{sink}, args...)
			s.StartSenders(1, testrig.SenderOptions{Rate: 2_000, TLS: client.TLS})
			conn := s.DialAs(client)
			testrig.WaitFor(t, "the trickle ends", func() bool {
				_, err := conn.Write([]byte("x"))
				return err != nil
			})
			s.WaitForMetric(1, "linesplit_connections_timed_out_total", testrig.Label("timeout", "line"))
			s.WaitForMetric(1, "linesplit_dropped_lines_total", testrig.Label("reason", "torn"))
			conn.Close()
			s.StopSenders()
			s.WaitForAllLines()
			s.Terminate(0)
			testrig.ExpectContains(t, s.Process.Stderr(), "a line took longer than the line timeout")
		})
	}
}

func TestSendersOverTheLimitPerClientAreReset(t *testing.T) {
	t.Parallel()
	const limit = 3
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			args := []string{"-max-connections-per-client", "3"}
			one := testrig.Client{From: testrig.ClientAddress(1)}
			if secure {
				args = append(args, testrig.TLSListenerArgs()...)
				one.TLS = testrig.ClientTLS()
			}
			s.StartLineMode([]testrig.Target{sink}, args...)
			var conns []net.Conn
			for range limit {
				conns = append(conns, s.DialAs(one))
			}
			s.WaitForMetric(limit, "linesplit_connections")
			for range 4 {
				expectReset(s, one)
			}
			other := s.DialAs(testrig.Client{From: testrig.ClientAddress(2), TLS: one.TLS})
			s.Write(other, s.NumberedLines(10, 100))
			s.WaitForMetric(4, "linesplit_connections_refused_total", testrig.Label("reason", "client-limit"))
			conns[0].Close()
			testrig.WaitFor(t, "a place is free again", func() bool {
				return s.Process.Metrics().Sum("linesplit_connections") == limit
			})
			conns[0] = s.DialAs(one)
			s.Write(conns[0], s.NumberedLines(10, 100))
			for _, c := range append(conns, other) {
				c.Close()
			}
			s.FinishLineMode(testrig.NoDuplicates)
			testrig.ExpectContains(t, s.Process.Stderr(), "sender refused", "client-limit", testrig.ClientAddress(1))
		})
	}
}

func TestSendersOverTheRatePerClientAreReset(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, "-rate-per-client", "1/m")
	one := testrig.Client{From: testrig.ClientAddress(1)}
	s.DialAs(one).Close()
	expectReset(s, one)
	s.WaitForMetric(1, "linesplit_connections_refused_total", testrig.Label("reason", "rate"))
	other := s.DialAs(testrig.Client{From: testrig.ClientAddress(2)})
	s.Write(other, s.NumberedLines(10, 100))
	other.Close()
	s.FinishLineMode(testrig.NoDuplicates)
}

// expectReset checks that linesplit resets a client's new connection, before or after its handshake
// has begun.
func expectReset(s *testrig.Stage, c testrig.Client) {
	s.Helper()
	conn, err := c.Dial(s.T, s.Process.Listeners[0])
	if err == nil {
		defer conn.Close()
		_, err = conn.Read(make([]byte, 1))
	}
	if !errors.Is(err, syscall.ECONNRESET) && !errors.Is(err, syscall.EPIPE) {
		s.Errorf("the client got %v, want a reset", err)
	}
}
