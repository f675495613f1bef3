//go:build linux

package e2e

import (
	"net"
	"testing"

	"linesplit/internal/testrig"
)

// A load balancer that tries a tls:// port 20 times without a byte counted as 20 handshake errors
// and, in connection mode, refused connections, which set off two alerts.
func TestPortProbesAreNoErrors(t *testing.T) {
	t.Parallel()
	const probes = 20
	for name, args := range map[string][]string{
		"line mode, TLS":              append(testrig.TLSListenerArgs(), "-mode", "line"),
		"connection mode, TLS":        append(testrig.TLSListenerArgs(), "-mode", "connection", "-access-log", "text"),
		"connection mode, PROXY":      {"-mode", "connection", "-proxy-protocol-from", "127.0.0.1"},
		"line mode, PROXY before TLS": append(testrig.TLSListenerArgs(), "-proxy-protocol-from", "127.0.0.1"),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: testrig.Echo})
			s.Process = s.StartLinesplit([]testrig.Target{server}, args...)
			for i := range probes {
				conn, err := net.Dial("tcp", s.Process.Listeners[0])
				if err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					conn.(*net.TCPConn).SetLinger(0) // ends with a reset, as some probes do
				}
				conn.Close()
			}
			s.WaitForMetric(probes, "linesplit_probes_total")
			s.WaitForExactMetric(0, "linesplit_tls_handshake_errors_total")
			s.WaitForExactMetric(0, "linesplit_connections_refused_total")
		})
	}
}
