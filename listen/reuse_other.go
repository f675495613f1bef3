//go:build !linux

package listen

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// Other systems share ports too, but none of them hands over what is on its way.
func sharePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("-reuse-port works on Linux only")
}

func tryPort(context.Context, string) error { return nil }

func stepAside(*net.TCPListener) error { return nil }

func stepForward(*net.TCPListener) error { return nil }
