//go:build linux

package e2e

import (
	"net"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// A burst of datagrams at a process that cannot run overflows the socket's buffer. What the kernel
// drops then is counted: sent = received + dropped.
func TestDatagramsThatTheKernelDropsAreCounted(t *testing.T) {
	t.Parallel()
	const sent, size = 20_000, 1000
	for mode, received := range map[string]string{
		"line": "linesplit_received_lines_total", "connection": "linesplit_target_sent_bytes_total",
	} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			target := testrig.Target(s.StartSink(testrig.SinkOptions{}))
			each := 1.0 // of received, for a datagram
			if mode == "connection" {
				pc, err := net.ListenPacket("udp", "127.0.0.1:0")
				if err != nil {
					t.Fatal(err)
				}
				defer pc.Close()
				target, each = testrig.TargetFlag("udp://"+pc.LocalAddr().String()), size
			}
			s.Process = s.StartLinesplit([]testrig.Target{target}, "-mode", mode, "-listen", "udp://127.0.0.1:0")
			conn, err := net.Dial("udp", s.Process.Listeners[0])
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			s.Process.Signal(syscall.SIGSTOP)
			for range sent {
				if _, err := conn.Write(make([]byte, size)); err != nil {
					t.Fatal(err)
				}
			}
			s.Process.Signal(syscall.SIGCONT)
			var read, dropped float64
			testrig.WaitFor(t, "each datagram is received or dropped", func() bool {
				m := s.Process.Metrics()
				read = m.Sum(received) / each
				dropped = m.Sum("linesplit_udp_dropped_datagrams_total") + m.Sum("linesplit_udp_lost_datagrams_total")
				return read+dropped >= sent
			})
			if dropped == 0 || read+dropped != sent {
				t.Errorf("%v received and %v dropped of %d", read, dropped, sent)
			}
			t.Logf("%v received and %v dropped of %d", read, dropped, sent)
			s.Process.Terminate()
			if s.CountLogLines("the kernel has dropped datagrams", "total=") == 0 {
				t.Errorf("no word in the log:\n%s", s.Process.LastLines(20))
			}
			if s.CountLogLines("level=WARN", "drain ended", "dropped_datagrams=") == 0 {
				t.Errorf("the last account does not name them:\n%s", s.Process.LastLines(5))
			}
		})
	}
}

// The same for a burst of replies: what the kernel drops at a session's socket is counted when the
// session ends.
func TestRepliesThatTheKernelDropsAreCounted(t *testing.T) {
	t.Parallel()
	const sent, size = 5_000, 1000
	s := testrig.NewStage(t)
	target, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer target.Close()
	s.Process = s.StartLinesplit([]testrig.Target{testrig.TargetFlag("udp://" + target.LocalAddr().String())},
		"-mode", "connection", "-listen", "udp://127.0.0.1:0", "-udp-idle-timeout", "1s")
	client, err := net.Dial("udp", s.Process.Listeners[0])
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if _, err := client.Write([]byte("question")); err != nil {
		t.Fatal(err)
	}
	if err := target.SetReadDeadline(time.Now().Add(testrig.Patience)); err != nil {
		t.Fatal(err)
	}
	_, session, err := target.ReadFrom(make([]byte, size))
	if err != nil {
		t.Fatal(err)
	}
	s.Process.Signal(syscall.SIGSTOP)
	for range sent {
		if _, err := target.WriteTo(make([]byte, size), session); err != nil {
			t.Fatal(err)
		}
	}
	s.Process.Signal(syscall.SIGCONT)
	var passed, lost float64
	testrig.WaitFor(t, "each reply is passed on or counted as lost", func() bool {
		m := s.Process.Metrics()
		passed = m.Sum("linesplit_target_received_bytes_total") / size
		lost = m.Sum("linesplit_udp_lost_datagrams_total")
		return passed+lost >= sent
	})
	t.Logf("%v passed on and %v lost of %d", passed, lost, sent)
	if lost == 0 || passed+lost != sent {
		t.Errorf("%v passed on and %v lost of %d", passed, lost, sent)
	}
	s.Process.Terminate()
}
