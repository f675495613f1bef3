//go:build !linux

package listen

import (
	"context"
	"errors"
	"net"
	"syscall"
)

// sharePort returns an error. Other systems share ports, too, but cannot hand over connections on
// their way.
func sharePort(_, _ string, _ syscall.RawConn) error {
	return errors.New("-reuse-port works on Linux only")
}

func tryPort(context.Context, string, string) error { return nil }

func stepAside(*net.TCPListener) error { return nil }

func undoStepAside(*net.TCPListener) error { return nil }

func stepAsideFD(int) error { return nil }
