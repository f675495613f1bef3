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

// Tests of datagrams, in both modes. Full buffers lose datagrams, so tests have few in flight at
// the same time.

// udpArgs make linesplit listen for datagrams.
var udpArgs = []string{"-listen", "udp://127.0.0.1:0"}

// dialUDP opens a socket at an address of this machine whose datagrams go to the first listener.
func dialUDP(s *testrig.Stage, from string) net.Conn {
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

// echoPacket sends a datagram and waits until it comes back.
func echoPacket(conn net.Conn, packet []byte) error {
	if _, err := conn.Write(packet); err != nil {
		return err
	}
	got := make([]byte, 64<<10)
	n, err := conn.Read(got)
	if err == nil && !bytes.Equal(got[:n], packet) {
		err = fmt.Errorf("sent %d bytes and got %d other bytes back", len(packet), n)
	}
	return err
}

// Each client has a session of its own, gets its own replies only, and is forgotten when it is
// idle.
func TestDatagramsOfManyClientsComeBack(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const clients, each = 500, 5
	s := testrig.NewStage(t)
	a, b := testrig.NewPacketEcho(t), testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{a, b}, append(udpArgs, "-udp-idle-timeout", "5s", "-access-log", "text")...)
	conns := make([]net.Conn, clients)
	for i := range conns {
		conns[i] = dialUDP(s, "127.0.0.1")
	}
	s.ForEach(clients, 16, func(i int) error {
		for range each {
			if err := echoPacket(conns[i], testrig.Payload(1+i*40)); err != nil {
				return fmt.Errorf("client %d: %w", i, err)
			}
		}
		return nil
	})
	if got := a.Packets() + b.Packets(); got != clients*each {
		t.Errorf("%d datagrams reached the targets, want %d", got, clients*each)
	}
	if a.Peers()+b.Peers() != clients || a.Peers() < clients/3 || b.Peers() < clients/3 {
		t.Errorf("%d and %d sessions at the targets, want half of %d each", a.Peers(), b.Peers(), clients)
	}
	s.WaitForMetric(clients, "linesplit_connections_accepted_total")
	s.WaitForConnections(0) // all sessions are idle for long enough
	testrig.WaitFor(t, "the access log has a line for each session", func() bool {
		return s.CountLogLines("end=idle", "dials") == clients
	})
	if err := echoPacket(conns[0], []byte("again")); err != nil {
		t.Errorf("a client sends again after its session has ended: %v", err)
	}
	s.FinishConnectionMode()
}

// Datagrams of all sizes pass whole, empty ones included.
func TestDatagramsPassWhole(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewPacketEcho(t)}, append(udpArgs, "-udp-idle-timeout", "3s")...)
	conn := dialUDP(s, "127.0.0.1")
	for _, size := range []int{1, 0, 1472, 1473, 9_000, 65_507} {
		if err := echoPacket(conn, testrig.Payload(size)); err != nil {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	s.FinishConnectionMode()
}

// A flood from many addresses is refused beyond the limit, and clients with a session are served.
func TestDatagramSessionsAreLimited(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const limit, flood = 20, 100
	s := testrig.NewStage(t)
	echo := testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{echo}, append(udpArgs, "-udp-sessions", fmt.Sprint(limit),
		"-udp-idle-timeout", "10s")...)
	var admitted []net.Conn
	for range limit {
		conn := dialUDP(s, "127.0.0.1")
		if err := echoPacket(conn, []byte("first")); err != nil {
			t.Fatal(err)
		}
		admitted = append(admitted, conn)
	}
	for range flood {
		s.Write(dialUDP(s, "127.0.0.1"), []byte("me too"))
	}
	s.WaitForRefusals("limit", flood)
	s.ForEach(len(admitted), 4, func(i int) error { return echoPacket(admitted[i], []byte("second")) })
	if got := echo.Peers(); got != limit {
		t.Errorf("%d sessions at the target, want %d", got, limit)
	}
	s.FinishConnectionMode()
}

// Access lists apply to datagrams too.
func TestDeniedDatagramsAreDropped(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	echo := testrig.NewPacketEcho(t)
	s.StartConnectionMode([]testrig.Target{echo}, append(udpArgs, "-deny", "127.0.1.0/24", "-udp-idle-timeout",
		"1s")...)
	for range 3 {
		s.Write(dialUDP(s, testrig.ClientAddress(1)), []byte("let me in"))
	}
	s.WaitForRefusals("denied", 3)
	if err := echoPacket(dialUDP(s, "127.0.0.1"), []byte("hello")); err != nil {
		t.Error(err)
	}
	if echo.Packets() != 1 {
		t.Errorf("%d datagrams reached the target, want 1", echo.Packets())
	}
	s.FinishConnectionMode()
}

// Datagram clients do not end their sessions, so SIGTERM does not wait for idle ones.
func TestTerminationDoesNotWaitForIdleDatagramSessions(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewPacketEcho(t)}, append(udpArgs, "-drain-timeout", "1m")...)
	if err := echoPacket(dialUDP(s, "127.0.0.1"), []byte("hello")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.Terminate(0)
	if took := time.Since(began); took > 30*time.Second {
		t.Errorf("took %v to end", took)
	}
}

// Syslog over UDP, in line mode: a datagram holds one or more lines, and its last newline may be
// missing.
func TestDatagramsAreLines(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, append(udpArgs, "-deny", "127.0.1.0/24")...)
	var senders sync.WaitGroup
	var conns []net.Conn
	for range 4 {
		conns = append(conns, dialUDP(s, "127.0.0.1"))
	}
	s.Write(dialUDP(s, testrig.ClientAddress(1)), []byte("{\"denied\":1}\n"))
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
	conns[0].Write(nil) // an empty datagram
	s.Write(conns[0], s.NumberedLines(1, 60_000))
	s.WaitForRefusals("denied", 1)
	s.WaitForAllLines()
	s.CheckLeaks()
	m := s.WaitForLedger()
	last := s.NumberedLines(5, 200)
	s.Write(conns[1], bytes.TrimSuffix(last, []byte("\n")))
	s.Terminate(0) // datagrams in the socket's buffer are read first
	s.CheckDelivery(m, testrig.NoDuplicates)
	if strings.Contains(s.Process.Stderr(), "panic") {
		t.Error(s.Process.LastLines(50))
	}
}

// A udp:// listener is no sender. Each once took a place under -max-connections for ever: with a
// limit of 1, one of three listeners worked.
func TestDatagramListenersTakeNoPlaces(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, append(udpArgs, "-listen", "udp://127.0.0.1:0", "-listen",
		"tcp://127.0.0.1:0", "-max-connections", "1")...)
	s.WaitForConnections(0)
	for i, network := range []string{"udp", "udp", "tcp"} {
		conn, err := net.Dial(network, s.Process.Listeners[i])
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		s.Write(conn, s.NumberedLines(3, 200))
		s.WaitForAllLines()
	}
	s.WaitForConnections(1)
	s.WaitForMetric(1, "linesplit_connections_accepted_total")
}
