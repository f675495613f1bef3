//go:build linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// Tests of the streams of connection mode. Nearly all end in Stage.FinishConnectionMode, which
// checks that all connections end, nothing is left behind, and the exit code is 0.

// A client sends everything, ends its side, and gets the whole reply.
func TestRepliesArriveWholeAfterHalfClose(t *testing.T) {
	t.Parallel()
	n, size := 100, testrig.VariedSizes
	if testrig.Race {
		n = 30
	}
	unixIn := "unix://" + filepath.Join(t.TempDir(), "in.sock")
	abstractIn := fmt.Sprintf("unix://@linesplit-forward-%d", os.Getpid())
	plainOut, tlsOut := testrig.ServerOptions{}, testrig.ServerOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)}
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client testrig.Client
		args   []string
	}{
		{"plain to plain", plainOut, testrig.Client{}, nil},
		{"TLS to plain", plainOut, testrig.Client{TLS: testrig.ClientTLS()}, testrig.TLSListenerArgs()},
		{"plain to TLS", tlsOut, testrig.Client{}, testrig.TLSTargetArgs()},
		{"TLS to TLS", testrig.ServerOptions{TLS: testrig.ServerTLS(tls.VersionTLS12)},
			testrig.Client{TLS: testrig.ClientTLS()},
			append(testrig.TLSListenerArgs(), testrig.TLSTargetArgs()...)},
		{"Unix to Unix", testrig.ServerOptions{Network: "unix"}, testrig.Client{Network: "unix"},
			[]string{"-listen", unixIn}},
		{"plain to Unix", testrig.ServerOptions{Network: "unix"}, testrig.Client{}, nil},
		{"abstract to abstract", testrig.ServerOptions{Network: "abstract"}, testrig.Client{Network: "unix"},
			[]string{"-listen", abstractIn}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			server := testrig.NewServer(t, test.server)
			s.StartConnectionMode([]testrig.Target{server}, test.args...)
			s.EchoMany(test.client, n, 32, size)
			s.FinishConnectionMode()
			if got := server.Accepted(); got != n {
				t.Errorf("%d connections to the target for %d clients", got, n)
			}
		})
	}
}

// The server has sent everything, ends its side, and reads on.
func TestRequestsArriveWholeAfterTheServerHasEnded(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	got := make(chan []byte, 1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("that is all"))
		testrig.CloseWrite(conn)
		all, _ := io.ReadAll(conn)
		got <- all
	}})
	s.StartConnectionMode([]testrig.Target{server})
	conn := s.DialTCP()
	if reply, err := io.ReadAll(conn); string(reply) != "that is all" || err != nil {
		t.Errorf("got %q, %v", reply, err)
	}
	request := testrig.Payload(1 << 20)
	s.Write(conn, request)
	conn.CloseWrite()
	if !bytes.Equal(<-got, request) {
		t.Error("the request did not arrive whole")
	}
	s.FinishConnectionMode()
}

// Protocols in which the server sends first, and then both sides take turns.
func TestBothSidesTakeTurns(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		conn.Write([]byte("hello\n"))
		testrig.Echo(conn)
	}})
	s.StartConnectionMode([]testrig.Target{server})
	s.ForEach(20, 4, func(int) error {
		conn, err := testrig.Client{}.Dial(t, s.Process.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if err := expect(conn, []byte("hello\n")); err != nil {
			return err
		}
		for size := 1; size < 1000; size += 99 {
			b := testrig.Payload(size)
			if _, err := conn.Write(b); err != nil {
				return err
			}
			if err := expect(conn, b); err != nil {
				return err
			}
		}
		return nil
	})
	s.FinishConnectionMode()
}

// expect reads exactly the bytes in want.
func expect(conn net.Conn, want []byte) error {
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil {
		return err
	}
	if !bytes.Equal(got, want) {
		return fmt.Errorf("read %d bytes that differ from what was sent", len(want))
	}
	return nil
}

// A reply that breaks off must look broken to the client, which would take a clean end for the end
// of the reply.
func TestTargetThatBreaksOffResetsTheClient(t *testing.T) {
	t.Parallel()
	const part = 1 << 20
	// Part of the request stays unread, so that the peer of a Unix socket sees the reset too.
	breakOff := func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 1))
		conn.Write(testrig.Payload(part))
		testrig.ResetConn(conn)
	}
	// An attacker in the network could fake this end of a TLS connection.
	withoutNotify := func(conn net.Conn) {
		io.ReadFull(conn, make([]byte, 3))
		conn.Write(testrig.Payload(part))
		conn.(*tls.Conn).NetConn().Close()
	}
	secure := testrig.ServerTLS(tls.VersionTLS13)
	tests := []struct {
		name   string
		server testrig.ServerOptions
		client testrig.Client
		args   []string
	}{
		{"plain", testrig.ServerOptions{Handler: breakOff}, testrig.Client{}, nil},
		{"Unix", testrig.ServerOptions{Handler: breakOff, Network: "unix"}, testrig.Client{}, nil},
		{"TLS target", testrig.ServerOptions{Handler: breakOff, TLS: secure}, testrig.Client{},
			testrig.TLSTargetArgs()},
		{"TLS client", testrig.ServerOptions{Handler: breakOff}, testrig.Client{TLS: testrig.ClientTLS()},
			testrig.TLSListenerArgs()},
		{"TLS target without close_notify", testrig.ServerOptions{Handler: withoutNotify, TLS: secure},
			testrig.Client{}, testrig.TLSTargetArgs()},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			s.StartConnectionMode([]testrig.Target{testrig.NewServer(t, test.server)}, append(test.args,
				"-access-log", "text")...)
			conn := s.DialAs(test.client)
			s.Write(conn, []byte("get"))
			s.ExpectReset(conn, "the target broke off")
			conn.Close()
			s.WaitForAccessLog("end=target-reset")
			s.FinishConnectionMode()
		})
	}
}

// The target is a process that is killed with data in its socket's buffer.
func TestKilledTargetProcessResetsTheClient(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	child := testrig.StartChild(t, s.Tally)
	s.StartConnectionMode([]testrig.Target{child})
	conn := s.DialTCP()
	s.Write(conn, testrig.Payload(testrig.MaxPayload))
	child.Suspend()
	conn.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	if _, err := io.Copy(conn, endless{}); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("write to a target that hangs: %v, want it to block", err)
	}
	child.Kill()
	s.ExpectReset(conn, "the target's process was killed")
	conn.Close()
	s.FinishConnectionMode()
}

// endless is a reader without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	return copy(b, testrig.Payload(min(len(b), testrig.MaxPayload))), nil
}

// A client that resets has not ended its request: the target must not take what it has read for the
// whole of it.
func TestClientThatResetsResetsTheTarget(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name   string
		client testrig.Client
		server testrig.ServerOptions
		args   []string
	}{
		{"plain", testrig.Client{}, testrig.ServerOptions{}, nil},
		{"TLS client", testrig.Client{TLS: testrig.ClientTLS()}, testrig.ServerOptions{}, testrig.TLSListenerArgs()},
		{"TLS target", testrig.Client{}, testrig.ServerOptions{TLS: testrig.ServerTLS(tls.VersionTLS13)},
			testrig.TLSTargetArgs()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			read, ended := make(chan struct{}), make(chan error, 1)
			test.server.Handler = func(conn net.Conn) {
				if _, err := io.ReadFull(conn, make([]byte, 10_000)); err != nil {
					ended <- err
					return
				}
				close(read)
				_, err := io.Copy(io.Discard, conn)
				ended <- err
			}
			s.StartConnectionMode([]testrig.Target{testrig.NewServer(t, test.server)}, append(test.args,
				"-access-log", "text")...)
			conn := s.DialAs(test.client)
			s.Write(conn, testrig.Payload(10_000))
			<-read
			testrig.ResetConn(conn)
			if err := <-ended; !testrig.IsReset(err) {
				t.Errorf("the target reads %s, want a reset", testrig.DescribeEnd(err))
			}
			s.WaitForAccessLog("end=client-reset")
			s.FinishConnectionMode()
		})
	}
}

// The metrics agree with what the clients have sent and received.
func TestConnectionMetricsBalance(t *testing.T) {
	t.Parallel()
	const n, size = 50, 12_345
	s := testrig.NewStage(t)
	a, b := testrig.NewServer(t, testrig.ServerOptions{}), testrig.NewServer(t, testrig.ServerOptions{Network: "unix"})
	s.StartConnectionMode([]testrig.Target{a, b})
	s.EchoMany(testrig.Client{}, n, 4, testrig.FixedSize(size))
	s.WaitForConnections(0)
	for name, want := range map[string]float64{
		"linesplit_connections_accepted_total":   n,
		"linesplit_target_connections_total":     n,
		"linesplit_target_sent_bytes_total":      n * size,
		"linesplit_target_received_bytes_total":  n * size,
		"linesplit_connect_seconds_count":        n,
		"linesplit_target_up":                    2,
		"linesplit_target_connections":           0,
		"linesplit_connections_refused_total":    0,
		"linesplit_target_dial_errors_total":     0,
		"linesplit_connections_cut_off_total":    0,
		"linesplit_connections_waiting":          0,
		"linesplit_tls_handshake_errors_total":   0,
		"linesplit_target_checks_total":          0,
		"linesplit_received_lines_total":         0, // of the other mode
		"linesplit_target_confirmed_lines_total": 0,
	} {
		s.WaitForExactMetric(want, name)
	}
	s.FinishConnectionMode()
}
