//go:build !unix

package sink

import "net"

// waitUnread returns at once, because this system does not tell what is unread.
func waitUnread(net.Conn) error { return nil }
