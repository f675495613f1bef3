//go:build !linux

package splice

import (
	"net"
	"syscall"
)

// On systems other than Linux all bytes go through buffers, and no descriptor is used.

type rawFlow struct{}

func (*rawFlow) init(*Flow)    {}
func (*rawFlow) release(*Flow) {}

func descriptor(net.Conn) syscall.RawConn { return nil }

func (f *Flow) fillRaw()        { panic("splice: no descriptors here") }
func (f *Flow) flushRaw() error { panic("splice: no descriptors here") }

// WasReset returns false: resets are not detected on this system.
func (*Side) WasReset() bool { return false }

// sendQueue returns 0: send queues are not counted on this system.
func (*Side) sendQueue() (n int64, broken bool) { return 0, false }

// awaitRoom returns true: it does not wait on this system.
func (*Side) awaitRoom() bool { return true }

type pipes struct{}

func (*pipes) init()     {}
func (*pipes) trim(bool) {}
