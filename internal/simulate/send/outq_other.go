//go:build !linux

package send

import "net"

// unacknowledged is not available on this system.
func unacknowledged(net.Conn) (n int, known bool) { return 0, false }
