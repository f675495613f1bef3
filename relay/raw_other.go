//go:build !linux

package relay

import (
	"net"
	"syscall"
)

// Elsewhere than on Linux all bytes go through buffers, and no side has a descriptor that is used.

type rawFlow struct{}

func (*rawFlow) init(*flow)  {}
func (*rawFlow) letGo(*flow) {}

func descriptor(net.Conn) syscall.RawConn { return nil }

func (f *flow) fillRaw()        { panic("relay: no descriptors here") }
func (f *flow) emptyRaw() error { panic("relay: no descriptors here") }

// gone does not know here.
func gone(net.Conn) bool { return false }

type pipes struct{}

func (*pipes) init()     {}
func (*pipes) trim(bool) {}
