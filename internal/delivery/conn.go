package delivery

import "linesplit/target"

// Conn is a connection to a target as a machine uses it; [target.Conn] documents each method. The
// driver writes to it.
type Conn interface {
	Progress() target.Progress
	CloseWrite() error
	Abort()
	Close()
}
