//go:build linux

package e2e

import (
	"crypto/tls"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/internal/testrig"
)

// slowReader reads a connection to its end, 64 KiB every millisecond at most, and counts the bytes.
func slowReader(got *atomic.Int64) testrig.Handler {
	return func(conn net.Conn) {
		for b := make([]byte, 64<<10); ; time.Sleep(time.Millisecond) {
			n, err := conn.Read(b)
			got.Add(int64(n))
			if err != nil {
				return
			}
		}
	}
}

// Clients that leave out close_notify are many. One sent 8 MiB to a target that read slowly: 4.5 MB
// arrived, and the access log had 8,388,608 bytes.
func TestEndWithoutCloseNotifyLosesNothing(t *testing.T) {
	t.Parallel()
	const size = 8 << 20
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		t.Run(tls.VersionName(version), func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			var got atomic.Int64
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: slowReader(&got)})
			s.StartConnectionMode([]testrig.Target{server}, append(testrig.TLSListenerArgs(), "-access-log", "text")...)
			config := testrig.ClientTLS()
			config.MaxVersion = version
			conn := s.DialAs(testrig.Client{TLS: config})
			s.Write(conn, make([]byte, size))
			conn.(*tls.Conn).NetConn().(*net.TCPConn).CloseWrite()
			s.WaitForAccessLog("end=client-reset", fmt.Sprint("bytes_in=", size))
			testrig.WaitFor(t, "all bytes have been read", func() bool { return got.Load() == size })
			s.FinishConnectionMode()
		})
	}
}
