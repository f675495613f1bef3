//go:build linux

package e2e

import (
	"net"
	"os/exec"
	"strings"
	"testing"

	"linesplit/internal/testrig"
)

// pythonSender writes lines and ends in order.
const pythonSender = `
import socket, ssl, sys
host, port = sys.argv[1], int(sys.argv[2])
context = ssl._create_unverified_context()
context.maximum_version = getattr(ssl.TLSVersion, sys.argv[3])
s = context.wrap_socket(socket.create_connection((host, port)), suppress_ragged_eofs=False)
s.sendall(b"one\ntwo")
s.unwrap()
print("ended")
`

// A Python sender that ended its TLS in order raised UNEXPECTED_EOF, although all had arrived.
func TestPythonEndsTLSWithoutAnError(t *testing.T) {
	t.Parallel()
	python, err := exec.LookPath("python3")
	if err != nil {
		t.Skip("no python3")
	}
	for _, version := range []string{"TLSv1_2", "TLSv1_3"} {
		t.Run(version, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewForeignStage(t)
			sink := s.StartSink(testrig.SinkOptions{})
			s.StartLineMode([]testrig.Target{sink}, testrig.TLSListenerArgs()...)
			host, port, err := net.SplitHostPort(s.Process.Listeners[0])
			if err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), python, "-c", pythonSender, host, port, version)
			out, err := cmd.CombinedOutput()
			if strings.Contains(string(out), "No module named") {
				t.Skip("a Python without ssl")
			}
			if err != nil || strings.TrimSpace(string(out)) != "ended" {
				t.Errorf("the sender: %v\n%s", err, out)
			}
			s.OtherLines = 2
			testrig.WaitFor(t, "both lines", func() bool {
				raw := s.Tally.Foreign()
				return raw["one"] == 1 && raw["two"] == 1
			})
		})
	}
}
