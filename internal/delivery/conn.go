package delivery

import (
	"linesplit/linebuf"
	"linesplit/target"
)

// Conn is a connection to a target as a machine uses it; [target.Conn] documents each method. The
// driver writes to it.
type Conn interface {
	Progress() target.Progress
	CloseWrite() error
	Abort()
	Close()
}

// Batcher is a Conn that sends lines in batches, which it repeats unchanged if it has to.
type Batcher interface {
	Conn
	// Announce tells which lines are written next, before their first byte: the last size bytes of
	// b. It gives b the marks that it lacks. A b that a connection has sent before has the mark of
	// its batch; more then tells that the next lines belong to the same one.
	Announce(b *linebuf.Buffer, size int, more bool)
}
