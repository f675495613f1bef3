//go:build !linux

package target

import (
	"net"
	"syscall"
)

func newPeerQuery(net.Conn, syscall.RawConn) peerQuery { return nil }
