//go:build !unix

package clienthello

import "net"

// await does nothing: on this system it cannot peek at a socket.
func await(net.Conn, func([]byte) error) (size int, ok bool, err error) { return 0, false, nil }

// Lost returns nil: on this system it cannot tell.
func Lost(net.Conn) error { return nil }
