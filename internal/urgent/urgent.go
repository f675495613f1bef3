// Package urgent keeps urgent data (send(2) with MSG_OOB) where its sender has written it, in the
// stream. Otherwise the kernel takes one byte, the last of each such write, out of the stream: a
// lost newline glues two lines.
package urgent

import "syscall"

// Inline keeps urgent data in the stream of a socket. Connections that a TCP listener accepts from
// then on inherit that; those of a Unix listener do not.
func Inline(c syscall.RawConn) error {
	var err error
	if failed := c.Control(func(fd uintptr) { err = inline(fd) }); failed != nil {
		return failed
	}
	return err
}
