//go:build !linux

package datagram

import "net"

// controlSize is 0, since no control messages are requested on this system.
const controlSize = 0

// requestDestination does nothing on this system: the routing table chooses the source address of
// replies.
func requestDestination(net.PacketConn) error { return nil }

// replySource returns nil; see requestDestination.
func replySource([]byte) []byte { return nil }
