package splitter

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/listen"
)

// Lines that had come behind urgent data waited until the sender wrote more: a read stops short of
// such data, and the loop took that for an empty socket.
func TestUrgentDataHoldsUpNoLine(t *testing.T) {
	spec, err := listen.Parse("tcp://127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln, err := listen.Open(t.Context(), spec, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
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
	r := newRig(t, ln, plenty, Options{Loops: *loopsFlag})
	r.wants("before\n!behind\n")
}
