//go:build !linux

package splice

import (
	"net"
	"syscall"
)

// Elsewhere than on Linux all bytes go through buffers, and no side has a descriptor that is used.

type rawFlow struct{}

func (*rawFlow) init(*Flow)  {}
func (*rawFlow) letGo(*Flow) {}

func descriptor(net.Conn) syscall.RawConn { return nil }

func (f *Flow) fillRaw()        { panic("splice: no descriptors here") }
func (f *Flow) emptyRaw() error { panic("splice: no descriptors here") }

// WasReset does not know here.
func (*Side) WasReset() bool { return false }

type pipes struct{}

func (*pipes) init()     {}
func (*pipes) trim(bool) {}
