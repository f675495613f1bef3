//go:build linux

package e2e

import (
	"crypto/tls"
	"net"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// unfinishedHello returns a ClientHello of a size, less its last byte, in full records.
func unfinishedHello(size int) (b []byte) {
	const fullRecord = 16 << 10
	message := append([]byte{1, byte(size >> 16), byte(size >> 8), byte(size)}, make([]byte, size-1)...)
	for len(message) > 0 {
		n := min(len(message), fullRecord)
		b = append(b, 22, 3, 1, byte(n>>8), byte(n))
		b = append(b, message[:n]...)
		message = message[n:]
	}
	return b
}

// floodHandshakes opens connections that begin with the given bytes, and lets them stand. Refused
// ones do not count as failures.
func floodHandshakes(s *testrig.Stage, n int, begin []byte) {
	s.Helper()
	s.ForEach(n, 32, func(int) error {
		conn, err := net.Dial("tcp", s.Process.Listeners[0])
		if err != nil {
			return err
		}
		s.Cleanup(func() { conn.Close() })
		conn.SetWriteDeadline(time.Now().Add(testrig.Patience))
		conn.Write(begin)
		return nil
	})
}

// Connections with an unfinished ClientHello of 65 KB took 134 KiB each, outside -memory and
// without a bound: 5,107 of them ended a process in a container of 512 MiB, in either mode.
func TestUnfinishedHandshakesDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	const (
		flood = 1500
		each  = 24 << 10 // bytes; most is the kernel's and the connection's own
	)
	for name, size := range map[string]int{"too large": 65_000, "as large as may be": 16_000} {
		for _, mode := range []string{"line", "connection"} {
			t.Run(mode+" mode, "+name, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
				args := append(testrig.TLSListenerArgs(), "-mode", mode)
				s.Process = s.StartLinesplit([]testrig.Target{server}, args...)
				before := s.Process.Memory("VmHWM")
				floodHandshakes(s, flood, unfinishedHello(size))
				client, err := testrig.Client{TLS: testrig.ClientTLS()}.Dial(t, s.Process.Listeners[0])
				if err != nil {
					t.Fatalf("an honest client beside %d others: %v", flood, err)
				}
				client.Close()
				s.WaitForMetric(flood, "linesplit_connections_accepted_total")
				if grown := s.Process.Memory("VmHWM") - before; grown > flood*each && !testrig.Race {
					t.Errorf("%d connections took %d KiB each, want at most %d", flood, grown/flood>>10, each>>10)
				}
			})
		}
	}
}

// The same in a container of 512 MiB, the size that the documents name.
func TestUnfinishedHandshakesDoNotKillTheContainer(t *testing.T) {
	t.Parallel()
	if testrig.Race {
		t.Skip("the race detector takes memory of its own")
	}
	const flood, limit = 5107, 512 << 20
	for _, mode := range []string{"line", "connection"} {
		t.Run(mode, func(t *testing.T) {
			s := testrig.NewStage(t)
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
			o := testrig.NewProcessOptions([]testrig.Target{server}, append(testrig.TLSListenerArgs(), "-mode", mode)...)
			o.Cgroup = testrig.NewCgroup(t, limit)
			s.Process = testrig.StartProcess(t, o)
			floodHandshakes(s, flood, unfinishedHello(65_000))
			conn, err := testrig.Client{TLS: testrig.ClientTLS()}.Dial(t, s.Process.Listeners[0])
			if err != nil {
				t.Fatalf("an honest client beside %d others: %v\n%s", flood, err, s.Process.LastLines(5))
			}
			conn.Close()
			peak := o.Cgroup.Peak(t)
			t.Logf("peak: %d MiB", peak>>20)
			if peak > limit/4 {
				t.Errorf("the container had %d MiB in use, want less than %d", peak>>20, limit/4>>20)
			}
		})
	}
}

// Clients that say their ClientHello and nothing more take places until others wait for them.
func TestStuckHandshakesMakeRoomForOthers(t *testing.T) {
	t.Parallel()
	const flood = 600 // there are fewer places than that in 64 MiB
	s := testrig.NewStage(t)
	sink := s.StartSink(testrig.SinkOptions{})
	s.StartLineMode([]testrig.Target{sink}, append(testrig.TLSListenerArgs(), "-memory", "64MiB")...)
	floodHandshakes(s, flood, helloOf(t, testrig.ClientTLS()))
	// A client that the machine lets wait too long passes for a stuck one, and dials again.
	testrig.WaitFor(t, "an honest client gets through, and no client waits for a place", func() bool {
		conn, err := testrig.Dial("tcp", s.Process.Listeners[0], testrig.ClientTLS())
		if err != nil {
			return false
		}
		conn.Close()
		return s.Process.Metrics().Sum("linesplit_tls_handshakes_waiting") == 0
	})
	s.StartSenders(2, testrig.SenderOptions{TLS: testrig.ClientTLS(), Lines: 100})
	s.WaitForSenders()
	s.WaitForMetric(1, "linesplit_tls_handshakes_displaced_total")
	s.WaitForAllLines()
	s.Process.Terminate()
}

// helloOf returns the first bytes that a TLS client sends.
func helloOf(t *testing.T, config *tls.Config) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	go tls.Client(far, config).Handshake()
	b := make([]byte, 16<<10)
	n, err := near.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return b[:n]
}
