//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// The claims about datagrams. They may be lost where buffers are full, so tests have few of them under way at once.

// udpIn is a listener for them.
var udpIn = []string{"-listen", "udp://127.0.0.1:0"}

// packets opens a socket whose datagrams go to the first listener.
func packets(s *testrig.Stage, from string) net.Conn {
	s.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(from)}}
	conn, err := d.DialContext(s.Context(), "udp", s.Process.Listeners[0])
	if err != nil {
		s.Fatal(err)
	}
	s.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(testrig.Patience))
	return conn
}

// echoed sends a datagram and waits for it to come back.
func echoed(conn net.Conn, packet []byte) error {
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	got := make([]byte, 64<<10)
	n, err := conn.Read(got)
	if err == nil && !bytes.Equal(got[:n], packet) {
		err = fmt.Errorf("sent %d bytes and got %d back, which differ", len(packet), n)
	}
	return err
}

// Each client has a session of its own, its replies come to it alone, and silent ones are forgotten.
func TestDatagramsOfManyClientsComeBack(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const clients, each = 500, 5
	s := testrig.NewStage(t)
	a, b := testrig.NewPacketEcho(t), testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{a, b}, append(udpIn, "-udp-idle-timeout", "5s", "-access-log", "text")...)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = packets(s, "127.0.0.1")
	}
	s.ForEach(clients, 16, func(i int) error {
		for range each {
			if err := echoed(conns[i], testrig.Payload(1+i*40)); err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
		}
		return nil
	})
	if got := a.Packets() + b.Packets(); got != clients*each {
		t.Errorf("%d datagrams came to the targets, want %d", got, clients*each)
	}
	if a.Peers()+b.Peers() != clients || a.Peers() < clients/3 || b.Peers() < clients/3 {
		t.Errorf("%d and %d sessions at the targets, want half of %d each", a.Peers(), b.Peers(), clients)
	}
	s.WaitForMetric(clients, "linesplit_connections_accepted_total")
	s.WaitForConnections(0) // all have been silent for long
	testrig.WaitFor(t, "a line of access log for each session", func() bool { return s.CountLogLines("end=idle", "dials") == clients })
	if err := echoed(conns[0], []byte("again")); err != nil {
		t.Errorf("a client that was forgotten comes again: %v", err)
	}
	s.FinishConnectionMode()
}

// Datagrams of all sizes pass whole, and empty ones too.
func TestDatagramsPassWhole(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewPacketEcho(t)}, append(udpIn, "-udp-idle-timeout", "3s")...)
	conn := packets(s, "127.0.0.1")
	for _, size := range []int{1, 0, 1472, 1473, 9_000, 65_507} {
		if err := echoed(conn, testrig.Payload(size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	s.FinishConnectionMode()
}

// A flood from many addresses takes no more than there is for it, and those who are in are served.
func TestDatagramSessionsAreBounded(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const limit, flood = 20, 100
	s := testrig.NewStage(t)
	echo := testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{echo}, append(udpIn, "-udp-sessions", fmt.Sprint(limit), "-udp-idle-timeout", "10s")...)
	var in []net.Conn
	for range limit {
		conn := packets(s, "127.0.0.1")
		if err := echoed(conn, []byte("first")); err != nil {
			t.Fatal(err)
		}
		in = append(in, conn)
	}
	for range flood {
		s.Write(packets(s, "127.0.0.1"), []byte("me too"))
	}
	s.WaitForRefusals("limit", flood)
	s.ForEach(len(in), 4, func(i int) error { return echoed(in[i], []byte("second")) })
	if got := echo.Peers(); got != limit {
		t.Errorf("%d sessions at the target, want %d", got, limit)
	}
	s.FinishConnectionMode()
}

// Access lists hold for datagrams too.
func TestDeniedDatagramsAreDropped(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	echo := testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{echo}, append(udpIn, "-deny", "127.0.1.0/24", "-udp-idle-timeout", "1s")...)
	for range 3 {
		s.Write(packets(s, testrig.ClientAddress(1)), []byte("let me in"))
	}
	s.WaitForRefusals("denied", 3)
	if err := echoed(packets(s, "127.0.0.1"), []byte("hello")); err != nil {
		t.Error(err)
	}
	if echo.Packets() != 1 {
		t.Errorf("%d datagrams came to the target, want 1", echo.Packets())
	}
	s.FinishConnectionMode()
}

// Nobody says goodbye with datagrams: SIGTERM does not wait for clients that are merely there.
func TestTerminationWithDatagramSessions(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewPacketEcho(t)}, append(udpIn, "-drain-timeout", "1m")...)
	if err := echoed(packets(s, "127.0.0.1"), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Terminate(0)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v to end", took)
	}
}

// Syslog over UDP in line mode: each datagram is lines, with or without a newline at the end.
func TestDatagramsAreLines(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, append(udpIn, "-deny", "127.0.1.0/24")...)
	var senders sync.WaitGroup
	var conns []net.Conn
	for range 4 {
		conns = append(conns, packets(s, "127.0.0.1"))
	}
	s.Write(packets(s, testrig.ClientAddress(1)), []byte("{\"denied\":1}\n"))
	for round := range 10 {
		for _, conn := range conns {
			packet := s.NumberedLines(1+round%3, 200) // one to three lines
			if round%2 == 0 {
				packet = bytes.TrimSuffix(packet, []byte("\n"))
			}
			senders.Go(func() { s.Write(conn, packet) })
		}
		senders.Wait()
		s.WaitForAllLines()
	}
	conns[0].Write(nil) // nothing at all
	s.Write(conns[0], s.NumberedLines(1, 60_000))
	s.WaitForRefusals("denied", 1)
	s.WaitForAllLines()
	s.CheckLeaks()
	m := s.WaitForLedger()
	last := s.NumberedLines(5, 200)
	s.Write(conns[1], bytes.TrimSuffix(last, []byte("\n")))
	s.Terminate(0) // what lies in the socket is read first
	s.CheckDelivery(m, testrig.NoDuplicates)
	if strings.Contains(s.Process.Stderr(), "panic") {
		t.Error(s.Process.LastLines(50))
	}
}
