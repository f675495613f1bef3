//go:build linux

package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// Clients of a full target wait in a queue, and are served first in, first out.
func TestClientsQueueInOrder(t *testing.T) {
	t.Parallel()
	const clients = 8
	s := testrig.NewStage(t)
	order := make(chan byte, clients+1)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
		name := make([]byte, 1)
		if _, err := io.ReadFull(conn, name); err == nil {
			order <- name[0]
			testrig.EchoAtEnd(conn)
		}
	}})
	s.StartConnectionMode([]testrig.Target{testrig.WithOptions(server, "max-connections=1")}, "-queue-timeout", "30s")
	holder := s.DialTCP()
	s.Write(holder, []byte("-"))
	if <-order != '-' {
		t.Fatal("the first client was not served first")
	}
	var conns []*net.TCPConn
	for i := range clients {
		conn := s.DialTCP()
		s.Write(conn, []byte{byte('a' + i)})
		conns = append(conns, conn)
		s.WaitForQueue(i + 1)
	}
	if got := server.Accepted(); got != 1 {
		t.Errorf("%d connections to a target that may have 1", got)
	}
	holder.Close()
	var got []byte
	for _, conn := range conns { // each one ends after it was served
		got = append(got, <-order)
		conn.Close()
	}
	if want := "abcdefgh"; string(got) != want {
		t.Errorf("served in the order %s, want %s", got, want)
	}
	s.WaitForQueue(0)
	s.FinishConnectionMode()
}

// A client in the queue waits for -queue-timeout at most, and then leaves the queue.
func TestQueueTimeoutEndsTheWait(t *testing.T) {
	t.Parallel()
	const timeout = 500 * time.Millisecond
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.StartConnectionMode([]testrig.Target{testrig.WithOptions(server, "max-connections=1")}, "-queue-timeout",
		timeout.String(), "-access-log", "text")
	holder := s.DialTCP()
	s.Write(holder, []byte("x"))
	if err := expect(holder, []byte("x")); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	s.ForEach(5, 5, func(int) error {
		conn, err := testrig.Client{}.Dial(t, s.Process.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if b, err := io.ReadAll(conn); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), testrig.DescribeEnd(err))
		}
		return nil
	})
	if took := time.Since(began); took < timeout {
		t.Errorf("five clients waited for %v, want at least %v", took, timeout)
	}
	s.WaitForRefusals("queue-timeout", 5)
	s.WaitForAccessLog("end=queue-timeout")
	s.WaitForQueue(0)
	holder.Close()
	s.WaitForConnections(0)
	s.ExpectServed(testrig.Client{})
	s.FinishConnectionMode()
}

// limitTest is a test of a limit for clients.
type limitTest struct{ *testrig.Stage }

// Clients that differ by their addresses.
func oneClient() testrig.Client   { return testrig.Client{From: testrig.ClientAddress(1)} }
func otherClient() testrig.Client { return testrig.Client{From: testrig.ClientAddress(2)} }

func newLimitTest(t *testing.T, args ...string) limitTest {
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.StartConnectionMode([]testrig.Target{server}, append(args, "-access-log", "text")...)
	return limitTest{s}
}

// hold opens n connections that must be served, and keeps them open.
func (s limitTest) hold(c testrig.Client, n int) (conns []net.Conn) {
	s.Helper()
	for range n {
		conn := s.DialAs(c)
		s.Write(conn, []byte("x"))
		if err := expect(conn, []byte("x")); err != nil {
			s.Fatalf("a client within the limit is not served: %v", err)
		}
		conns = append(conns, conn)
	}
	return conns
}

// finish closes all connections, and checks that a client is served again.
func (s limitTest) finish(conns []net.Conn) {
	s.Helper()
	for _, conn := range conns {
		conn.Close()
	}
	s.WaitForConnections(0)
	s.ExpectServed(oneClient())
	s.FinishConnectionMode()
}

func TestClientsOverTheLimitAreRefused(t *testing.T) {
	t.Parallel()
	s := newLimitTest(t, "-max-connections", "5")
	conns := append(s.hold(oneClient(), 3), s.hold(otherClient(), 2)...)
	for range 4 {
		s.ExpectRefused(testrig.Client{From: testrig.ClientAddress(3)}, "the limit is reached")
	}
	s.WaitForRefusals("limit", 4)
	if status, text := readiness(t, s.Process); status != http.StatusServiceUnavailable {
		t.Errorf("at the limit /readyz says %d %s", status, text)
	}
	s.WaitForAccessLog("end=limit", "client="+testrig.ClientAddress(3))
	s.finish(conns)
}

func TestConnectionsOverTheLimitPerClientAreRefused(t *testing.T) {
	t.Parallel()
	const limit = 5
	s := newLimitTest(t, "-max-connections-per-client", fmt.Sprint(limit))
	conns := s.hold(oneClient(), limit)
	for range 4 {
		s.ExpectRefused(oneClient(), "the client's limit is reached")
	}
	conns = append(conns, s.hold(otherClient(), limit)...)
	s.WaitForRefusals("client-limit", 4)
	s.WaitForAccessLog("end=client-limit", "client="+testrig.ClientAddress(1))
	s.finish(conns)
}

func TestConnectionsOverTheRatePerClientAreRefused(t *testing.T) {
	t.Parallel()
	s := newLimitTest(t, "-rate-per-client", "2/s")
	one, listener := oneClient(), s.Process.Listeners[0]
	served := 0
	began := time.Now()
	for range 50 {
		if err := one.Echo(t, listener, []byte("hello")); err == nil {
			served++
		}
	}
	allowed := 2*time.Since(began).Seconds() + 10 // the bucket holds fewer than 10 at first
	if served == 0 || float64(served) > allowed {
		t.Errorf("%d of 50 connections were served, want some and at most %.0f", served, allowed)
	}
	s.ExpectServed(otherClient()) // which has a bucket of its own
	s.WaitForRefusals("rate", 50-served)
	s.WaitForAccessLog("end=rate", "client="+testrig.ClientAddress(1))
	testrig.WaitFor(t, "the client is served again", func() bool {
		return one.Echo(t, listener, []byte("hello")) == nil
	})
	s.FinishConnectionMode()
}

// 4,000 clients that send something once an hour.
func TestIdleConnectionsTakeLittleMemory(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const pairs, maxBytesPerPair = 4_000, 12 << 10 // a pair: the connections to a client and to a target
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
	s.StartConnectionMode([]testrig.Target{server})
	before := s.Process.Memory("VmRSS")
	conns := make([]*net.TCPConn, pairs)
	for i := range conns {
		conns[i] = s.DialTCP()
		s.Write(conns[i], []byte("hello"))
	}
	s.WaitForConnections(pairs)
	s.WaitForMetric(5*pairs, "linesplit_target_received_bytes_total")
	waitUntilSettled(t, "the memory", func() int { return int(s.Process.Memory("VmRSS") >> 20) })
	open := testrig.OpenDescriptors(s.Process.PID())
	t.Logf("%d idle pairs: %d bytes and %.2f descriptors each", pairs, (s.Process.Memory("VmRSS")-before)/pairs,
		float64(open)/pairs)
	s.CheckMemory(pairs*maxBytesPerPair, s.Process.Memory("VmRSS")-before, "memory of 4,000 idle pairs")
	if open > 2*pairs+200 {
		t.Errorf("%d descriptors for %d idle pairs: want two each", open, pairs)
	}
	for _, i := range []int{0, pairs / 2, pairs - 1} { // they still work
		s.Write(conns[i], []byte("again"))
		if err := expect(conns[i], []byte("helloagain")); err != nil {
			t.Error(err)
		}
	}
	for _, conn := range conns {
		conn.Close()
	}
	s.FinishConnectionMode()
}

// waitUntilSettled waits until a number has not changed for 300 ms.
func waitUntilSettled(t *testing.T, what string, number func() int) {
	t.Helper()
	last, since := -1, time.Now()
	testrig.WaitFor(t, what+" settles", func() bool {
		if now := number(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

// Clients that connect and never complete their handshake or PROXY header do not keep other clients
// out, and are disconnected.
func TestSlowLorisesAreDisconnected(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	const lorises = 300
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	args := append(testrig.TLSListenerArgs(), "-listen", "tcp://127.0.0.1:0", "-proxy-protocol-from", "127.0.1.0/24")
	s.StartConnectionMode([]testrig.Target{server}, args...)
	before := s.Process.Memory("VmRSS")
	var slow []net.Conn
	for range lorises {
		silent, err := testrig.Client{}.Dial(t, s.Process.Listeners[0]) // never begins the TLS handshake
		if err != nil {
			t.Fatal(err)
		}
		half, err := testrig.Client{From: testrig.ClientAddress(1)}.Dial(t, s.Process.Listeners[1])
		if err != nil {
			t.Fatal(err)
		}
		s.Write(half, []byte("PROXY TCP4 192.")) // half a PROXY header
		slow = append(slow, silent, half)
	}
	good := testrig.Client{TLS: testrig.ClientTLS()}
	for range 20 {
		s.ExpectServed(good)
	}
	s.CheckMemory(lorises*2*(32<<10), s.Process.Memory("VmRSS")-before, "memory of slow clients")
	s.ForEach(len(slow), len(slow), func(i int) error {
		defer slow[i].Close()
		if b, err := io.ReadAll(slow[i]); len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("read %d bytes and %s", len(b), testrig.DescribeEnd(err))
		}
		return nil
	})
	s.WaitForRefusals("proxy-protocol", lorises)
	if got := server.Accepted(); got != 20 {
		t.Errorf("%d connections to the target, want those of the 20 good clients", got)
	}
	s.FinishConnectionMode()
}
