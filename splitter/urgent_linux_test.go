package splitter

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"
)

// Lines that had come behind urgent data waited until the sender wrote more: a read stops short of
// such data, and the loop took that for an empty socket. The urgent byte is no part of the stream.
func TestUrgentDataHoldsUpNoLine(t *testing.T) {
	ln := listenTCP(t)
	c := dial(t, ln.Addr())
	write(t, c, "before\n")
	rc, err := c.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	rc.Control(func(fd uintptr) { err = unix.Sendto(int(fd), []byte{'!'}, unix.MSG_OOB, nil) })
	if err != nil {
		t.Fatal(err)
	}
	write(t, c, "behind\n")
	r := newRig(t, ln, plenty, Options{})
	r.wants("before\nbehind\n")
}
