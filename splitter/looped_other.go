//go:build !linux

package splitter

import (
	"net"

	"linesplit/linebuf"
)

// looped is not available here: goroutines read all connections.
type looped struct{ unsent *linebuf.Buffer }

func (*serving) startOnLoop(net.Conn) bool { return false }

func (*looped) completes(*conn) bool { return false }

func onLoop(net.Conn) *looped { return nil }
