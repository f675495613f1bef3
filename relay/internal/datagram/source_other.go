//go:build !linux

package datagram

import "net"

// controlSize is 0: no control messages are asked for here.
const controlSize = 0

// tellDestination does nothing here: the routing table chooses the address that replies come from.
func tellDestination(net.PacketConn) error { return nil }

// replySource returns nil: see tellDestination.
func replySource([]byte) []byte { return nil }
