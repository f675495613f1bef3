//go:build linux

package procstat

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"os"
	"strconv"
	"strings"
)

// listening is the state of a listening socket in /proc/net/tcp. Its queues count connections.
const listening = "0A"

// Unread returns the bytes that clients on this host have written to connections to an IPv4 address
// and that its process has not read. They are in the kernel's buffers of either end. The end of a
// connection counts as a byte. Bytes that move from one end to the other meanwhile may count twice
// or not at all, since the kernel shows one socket after the other.
func Unread(addr string) (bytes int64, err error) {
	want, err := netip.ParseAddrPort(addr)
	if err != nil {
		return 0, err
	}
	ip := want.Addr().As4()
	server := fmt.Sprintf("%08X:%04X", binary.NativeEndian.Uint32(ip[:]), want.Port())
	text, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Fields(line) // number, local address, remote address, state, queues of both directions, ...
		if len(f) < 5 || f[3] == listening || f[1] != server && f[2] != server {
			continue
		}
		sent, received, _ := strings.Cut(f[4], ":")
		queue := sent
		if f[1] == server {
			queue = received
		}
		n, err := strconv.ParseInt(queue, 16, 64)
		if err != nil {
			return 0, fmt.Errorf("unexpected /proc/net/tcp: %s", line)
		}
		bytes += n
	}
	return bytes, nil
}
