//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// A connection is idle while nothing passes in either direction: a stream in one direction keeps it
// open.
func TestIdleTimeoutCountsBothDirections(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // five times the target's sleeps, which take longer on a busy machine
	for _, test := range []struct {
		name   string
		client testrig.Client
		args   []string
	}{
		{"plain", testrig.Client{}, nil},
		{"TLS", testrig.Client{TLS: testrig.ClientTLS()}, testrig.TLSListenerArgs()},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			const ticks = 8
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
				for range ticks {
					time.Sleep(timeout / 5)
					if _, err := conn.Write([]byte(".")); err != nil {
						return
					}
				}
				testrig.Discard(conn)
			}})
			s.StartConnectionMode([]testrig.Target{server}, append(test.args, "-idle-timeout", timeout.String(),
				"-access-log", "text")...)
			conn := s.DialAs(test.client)
			began := time.Now()
			if got := s.ExpectReset(conn, "the connection is idle"); len(got) != ticks {
				t.Errorf("read %d bytes of a slow stream, want %d", len(got), ticks)
			}
			if took := time.Since(began); took < ticks*timeout/5+timeout/2 {
				t.Errorf("ended after %v", took)
			}
			conn.Close()
			s.WaitForAccessLog("end=idle")
			s.FinishConnectionMode()
		})
	}
}

// One side has ended, and the other one neither sends nor ends.
func TestLingerTimeoutEndsHalfOpenConnections(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	over := make(chan struct{})
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		testrig.Discard(conn)
		<-over
	}})
	s.StartConnectionMode([]testrig.Target{server}, "-linger-timeout", "500ms", "-access-log", "text")
	conn := s.DialTCP()
	s.Write(conn, []byte("hello"))
	conn.CloseWrite()
	s.ExpectClosed(conn, "the linger timeout has passed")
	conn.Close()
	s.WaitForAccessLog("end=linger", "bytes_in=5")
	close(over)
	s.FinishConnectionMode()
}

// `docker stop` while clients are connected: no new ones are accepted, and the old ones finish.
func TestTerminationLetsConnectionsFinish(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.StartConnectionMode([]testrig.Target{server}, "-drain-timeout", "2m")
	conns := make([]*net.TCPConn, 20)
	part := testrig.Payload(100_000)
	for i := range conns {
		conns[i] = s.DialTCP()
		s.Write(conns[i], part)
	}
	s.WaitForConnections(len(conns))
	began := time.Now()
	s.Process.Signal(syscall.SIGTERM)
	listener := testrig.HostPort(s.Process.Listeners[0])
	testrig.WaitFor(t, "linesplit stops listening", func() bool { return !listener.Listening() })
	s.ForEach(len(conns), len(conns), func(i int) error {
		if _, err := conns[i].Write(part); err != nil {
			return err
		}
		conns[i].CloseWrite()
		reply, err := io.ReadAll(conns[i])
		if err == nil && !bytes.Equal(reply, slices.Concat(part, part)) {
			err = fmt.Errorf("got %d bytes back of %d", len(reply), 2*len(part))
		}
		return err
	})
	if code := s.Process.Wait(); code != 0 {
		t.Errorf("exit code %d, want 0", code)
	}
	if took := time.Since(began); took > testrig.Patience {
		t.Errorf("took %v to end", took)
	}
	testrig.ExpectContains(t, s.Process.Stderr(), "drain began", "drain ended", "connections_cut_off=0")
}

// Connections that do not end in time are reset, and counted.
func TestTerminationResetsUnfinishedConnections(t *testing.T) {
	t.Parallel()
	const unfinished, drain = 5, time.Second
	for name, end := range map[string]func(*testrig.Stage){
		"drain timeout": func(*testrig.Stage) {},
		"second signal": func(s *testrig.Stage) { s.StopAtOnce() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			args := []string{"-access-log", "text", "-drain-timeout", drain.String()}
			if name == "second signal" {
				args[3] = "1h"
			}
			s.StartConnectionMode([]testrig.Target{testrig.NewServer(t,
				testrig.ServerOptions{Handler: testrig.Echo})}, args...)
			conns := make([]*net.TCPConn, unfinished)
			for i := range conns {
				conns[i] = s.DialTCP()
				s.Write(conns[i], []byte("hello"))
				if err := expect(conns[i], []byte("hello")); err != nil {
					t.Fatal(err)
				}
			}
			began := time.Now()
			s.Process.Signal(syscall.SIGTERM)
			testrig.WaitFor(t, "the drain begins", func() bool { return s.CountLogLines("drain began") > 0 })
			end(s)
			if code := s.Process.Wait(); code != 1 {
				t.Errorf("exit code %d, want 1", code)
			}
			if took := time.Since(began); took > drain+30*time.Second {
				t.Errorf("took %v to end", took)
			}
			for _, conn := range conns {
				s.ExpectReset(conn, "the drain has ended")
			}
			testrig.ExpectContains(t, s.DrainReport(), fmt.Sprint("connections_cut_off=", unfinished))
			testrig.ExpectContains(t, s.Process.Stderr(), fmt.Sprint(unfinished, " connections"))
			if n := s.CountLogLines("end=shutdown", "dials"); n != unfinished {
				t.Errorf("%d lines of the access log say shutdown, want %d", n, unfinished)
			}
		})
	}
}

// endTest is a connection that ends in some way, and what the access log must say about it.
type endTest struct {
	name    string
	handler testrig.Handler
	do      func(s *testrig.Stage, conn *net.TCPConn) // after the client has sent 5 bytes
	end     string
	in, out int // bytes
}

// The access log records which side ended a connection, and how many bytes it carried.
func TestAccessLogRecordsWhyAConnectionEnded(t *testing.T) {
	t.Parallel()
	hangUp := func(conn net.Conn) { io.ReadFull(conn, make([]byte, 5)); conn.Write([]byte("bye")) }
	for _, test := range []endTest{
		{"client closes", testrig.Discard, func(_ *testrig.Stage, conn *net.TCPConn) {
			conn.Close()
		}, "client-closed", 5, 0},
		{"target closes", hangUp, func(s *testrig.Stage, conn *net.TCPConn) {
			if err := expect(conn, []byte("bye")); err != nil {
				s.Error(err)
			}
			io.ReadAll(conn)
			conn.Close()
		}, "target-closed", 5, 3},
		{"after half-close", testrig.EchoAtEnd, func(_ *testrig.Stage, conn *net.TCPConn) {
			conn.CloseWrite()
			io.ReadAll(conn)
		}, "client-closed", 5, 5},
	} {
		for _, format := range []string{"text", "json"} {
			t.Run(test.name+"/"+format, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				server := testrig.NewServer(t, testrig.ServerOptions{Handler: test.handler})
				s.StartConnectionMode([]testrig.Target{server}, "-access-log", format)
				conn := s.DialTCP()
				s.Write(conn, []byte("hello"))
				s.WaitForMetric(5, "linesplit_target_sent_bytes_total")
				test.do(s, conn)
				s.WaitForAccessLog(test.line(format, conn.LocalAddr(), s.Process.Listeners[0], server.Target())...)
				if n := s.CountLogLines("dials"); n != 1 {
					t.Errorf("%d lines for one connection", n)
				}
				s.FinishConnectionMode()
			})
		}
	}
}

// line returns what the line of the access log must contain.
func (test endTest) line(format string, client net.Addr, listener, target string) []string {
	if format == "json" {
		return []string{`{"time":"2`, fmt.Sprintf(`"client":%q`, client), `"listener":"`, listener,
			fmt.Sprintf(`"target":%q`, target), fmt.Sprintf(`"bytes_in":%d`, test.in),
			fmt.Sprintf(`"bytes_out":%d`, test.out), `"seconds":0.`, `"dials":1`, fmt.Sprintf(`"end":%q}`, test.end)}
	}
	return []string{"client=" + client.String(), "listener=", listener, "target=" + target,
		fmt.Sprint("bytes_in=", test.in), fmt.Sprint("bytes_out=", test.out), "seconds=0.", "dials=1",
		"end=" + test.end}
}

func TestAccessLogIsOffByDefault(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewServer(t, testrig.ServerOptions{})})
	s.ExpectServed(testrig.Client{})
	s.FinishConnectionMode()
	if n := s.CountLogLines("dials"); n != 0 {
		t.Errorf("%d lines of access log, which is off", n)
	}
}

// A target that does not listen costs a second dial, which the access log counts.
func TestAccessLogCountsDials(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.StartConnectionMode([]testrig.Target{testrig.FreeHostPort(t), server}, "-access-log", "text")
	s.ExpectServed(testrig.Client{})
	s.ExpectServed(testrig.Client{})
	s.WaitForAccessLog("dials=2", "target="+server.Target(), "end=client-closed")
	s.FinishConnectionMode()
}
