//go:build !unix

package sink

import (
	"errors"
	"net"
	"syscall"
)

func listenerOptions(Options) func(network, address string, c syscall.RawConn) error { return nil }

func setReceiveBuffer(net.Conn, int) error { return errors.ErrUnsupported }

// CloseListener closes ln.
func CloseListener(ln net.Listener) { ln.Close() }

func setBacklog(net.Listener, int) error { return errors.ErrUnsupported }
