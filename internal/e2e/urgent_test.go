//go:build linux

package e2e

import (
	"errors"
	"io"
	"net"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/testrig"
)

// sendUrgent writes three lines, the second as urgent data, and ends the stream.
func sendUrgent(conn net.Conn) error {
	rc, err := conn.(syscall.Conn).SyscallConn()
	if err != nil {
		return err
	}
	_, err = io.WriteString(conn, "first\n")
	failed := rc.Write(func(fd uintptr) bool {
		if err == nil {
			err = unix.Sendto(int(fd), []byte("second\n"), unix.MSG_OOB, nil)
		}
		return true
	})
	if err == nil {
		_, err = io.WriteString(conn, "third\n")
	}
	testrig.CloseWrite(conn)
	return errors.Join(failed, err)
}

const urgentLines = "first\nsecond\nthird\n"

// The kernel takes the last byte of urgent data out of the stream, unless it is told otherwise. It
// was a newline here, and two lines arrived as one.
func TestUrgentDataStaysInTheStream(t *testing.T) {
	t.Parallel()
	for _, loops := range []string{"auto", "0"} {
		for _, network := range []string{"tcp", "unix"} {
			t.Run(network+" in lines with -loops "+loops, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				got := make(chan string, 1)
				server := testrig.NewServer(t, testrig.ServerOptions{Handler: func(conn net.Conn) {
					all, _ := io.ReadAll(conn)
					got <- string(all)
				}})
				s.StartLineMode([]testrig.Target{server},
					append(urgentListener(t, network), "-loops", loops, "-connections", "1")...)
				exchangeUrgent(t, network, s.Process.Listeners[0], "")
				s.WaitForMetric(3, "linesplit_received_lines_total")
				if code := s.Process.Terminate(); code != 0 {
					t.Errorf("exit code %d", code)
				}
				if lines := <-got; lines != urgentLines {
					t.Errorf("got %q, want %q", lines, urgentLines)
				}
			})
		}
	}
}

// The same both ways, over each way to a target: a socket of a loop, or a dial in a goroutine.
func TestUrgentDataIsForwarded(t *testing.T) {
	t.Parallel()
	for _, loops := range []string{"auto", "0"} {
		for name, network := range map[string]string{"tcp": "tcp", "unix": "unix", "by name": "tcp"} {
			t.Run(name+" with -loops "+loops, func(t *testing.T) {
				t.Parallel()
				s := testrig.NewStage(t)
				server := testrig.NewServer(t, testrig.ServerOptions{Network: network, Handler: func(conn net.Conn) {
					if all, err := io.ReadAll(conn); string(all) != urgentLines || err != nil {
						t.Errorf("the target got %q, %v, want %q", all, err, urgentLines)
					}
					if err := sendUrgent(conn); err != nil {
						t.Error(err)
					}
				}})
				var target testrig.Target = server
				if name == "by name" {
					target = testrig.HostPort(strings.Replace(server.Addr(), "127.0.0.1:", "localhost:", 1))
				}
				s.StartConnectionMode([]testrig.Target{target}, append(urgentListener(t, network), "-loops", loops)...)
				exchangeUrgent(t, network, s.Process.Listeners[0], urgentLines)
				s.FinishConnectionMode()
			})
		}
	}
}

// exchangeUrgent sends to linesplit, and wants that reply.
func exchangeUrgent(t *testing.T, network, address, reply string) {
	t.Helper()
	conn, err := net.Dial(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := sendUrgent(conn); err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(conn); string(got) != reply || err != nil {
		t.Errorf("the client got %q, %v, want %q", got, err, reply)
	}
}

func urgentListener(t *testing.T, network string) []string {
	if network == "unix" {
		return []string{"-listen", "unix://" + filepath.Join(t.TempDir(), "in.sock")}
	}
	return []string{"-listen", "tcp://127.0.0.1:0"}
}
