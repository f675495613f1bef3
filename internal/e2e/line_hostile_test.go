//go:build linux

package e2e

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// half connects a sender that writes the beginning of a line.
func half(s *testrig.Stage, client testrig.Client, size int) net.Conn {
	s.Helper()
	conn := s.DialAs(client)
	conn.SetDeadline(time.Time{})
	s.Write(conn, bytes.Repeat([]byte("x"), size))
	return conn
}

// untilMemoryRests waits until linesplit has read what it is going to read.
func untilMemoryRests(s *testrig.Stage) {
	s.Helper()
	last, since := -1.0, time.Now()
	testrig.WaitFor(s.T, "the memory for lines stands still", func() bool {
		now := s.Process.Metrics().Sum("linesplit_memory_bytes")
		if now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

// untilLines waits until n lines have reached the targets.
func untilLines(s *testrig.Stage, n int) {
	s.Helper()
	testrig.WaitFor(s.T, fmt.Sprintf("%d lines arrive", n), func() bool { return s.Tally.Lines() >= n })
}

// Thousands of senders that each held the beginning of a line took all of the memory, since less
// was charged for these lines than their buffers held: nothing was read any more until they left.
func TestIdleSendersDoNotStopOthers(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		memory, senders, size int
		listen                []string
		network               string
		tls                   *tls.Config
		perConn               int64 // resident bytes for each connection, besides twice the memory
	}{
		"plain": {64 << 20, 2060, 12_400, []string{"-listen", "tcp://127.0.0.1:0"}, "tcp", nil, 8 << 10},
		"unix":  {16 << 20, 600, 12_400, []string{"-listen", "unix://" + filepath.Join(dir, "s")}, "unix", nil, 8 << 10},
		"TLS":   {8 << 20, 700, 8_100, testrig.TLSListenerArgs(), "tcp", testrig.ClientTLS(), 64 << 10},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			s.StartLineMode([]testrig.Target{sink}, append(tc.listen, "-memory", fmt.Sprint(tc.memory), "-max-line", "64KiB")...)
			for range tc.senders {
				half(s, testrig.Client{Network: tc.network, TLS: tc.tls}, tc.size)
			}
			untilMemoryRests(s)
			s.StartSenders(2, testrig.SenderOptions{Lines: 2_000, Network: tc.network, TLS: tc.tls})
			untilLines(s, 4_000)
			s.WaitForSenders()
			limit := 2*int64(tc.memory) + int64(tc.senders)*tc.perConn + 32<<20 // the program itself
			s.CheckMemory(limit, s.Process.Memory("VmHWM"), "peak memory")
		})
	}
}

// The short lines of thousands of idle senders made linesplit drop the long lines of a busy one:
// the longest line went first, however much its sender was writing. A byte now and then makes no
// sender busy.
func TestIdleLinesGoBeforeThoseOfABusySender(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	for name, tc := range map[string]struct {
		idle    int
		memory  string
		trickle bool
		client  testrig.Client
		listen  []string
	}{
		"plain":   {4_090, "64MiB", false, testrig.Client{}, nil},
		"trickle": {1_000, "16MiB", true, testrig.Client{}, nil},
		"TLS":     {512, "8MiB", false, testrig.Client{TLS: testrig.ClientTLS()}, testrig.TLSListenerArgs()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			s.StartLineMode([]testrig.Target{sink}, append(tc.listen, "-memory", tc.memory)...)
			var conns []net.Conn
			for range tc.idle {
				conns = append(conns, half(s, tc.client, 8_100))
			}
			untilMemoryRests(s)
			if tc.trickle {
				defer trickle(conns)()
			}
			s.StartSenders(1, testrig.SenderOptions{Lines: 50, Size: 400_000, TLS: tc.client.TLS})
			untilLines(s, 50)
			s.WaitForSenders()
		})
	}
}

// trickle writes a byte to each of conns, and again, until stop is called.
func trickle(conns []net.Conn) (stop func()) {
	done := make(chan struct{})
	var writing sync.WaitGroup
	writing.Go(func() {
		for {
			for _, c := range conns {
				select {
				case <-done:
					return
				default:
					c.Write([]byte("x"))
				}
			}
		}
	})
	return func() { close(done); writing.Wait() }
}

// Senders over TLS that ask for key updates and do not read the answers blocked linesplit in a
// write within its read. Their unfinished lines were counted as dropped, and stayed.
func TestTLSSendersThatDoNotReadDoNotStopOthers(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, append(testrig.TLSListenerArgs(), "-memory", "1MiB", "-max-line", "256KiB")...)
	const senders = 5
	for range senders { // one after the other, so that none is asked to drop its line before it is blocked
		k, err := testrig.NewKeyUpdater(s.Process.Listeners[0], testrig.ClientTLS())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { k.Conn.Close() })
		if err := k.Write(bytes.Repeat([]byte("x"), 140<<10)); err != nil {
			t.Fatal(err)
		}
		go k.Flood()
		untilStuck(t, k)
	}
	s.StartSenders(2, testrig.SenderOptions{Lines: 2_000, TLS: testrig.ClientTLS()})
	untilLines(s, 4_000)
	s.WaitForSenders()
	s.WaitForMetric(1, "linesplit_dropped_lines_total")
}

// untilStuck waits until linesplit reads no more of k, or has closed it.
func untilStuck(t *testing.T, k *testrig.KeyUpdater) {
	last, since := int64(-1), time.Now()
	testrig.WaitFor(t, "linesplit reads no more", func() bool {
		if now := k.Written(); now != last {
			last, since = now, time.Now()
		}
		return time.Since(since) > 400*time.Millisecond
	})
}
