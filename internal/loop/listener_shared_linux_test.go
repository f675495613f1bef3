package loop

import (
	"net"
	"net/netip"
	"testing"
)

// handing is an Acceptor that hands over what it accepts.
type handing struct {
	ln       Listener
	accepted chan int
}

func (h *handing) Accepted(fd int, _ netip.AddrPort) { h.accepted <- fd }
func (h *handing) AcceptFailed(error)                {}

// A listener that was closed stayed registered with its loop, if its socket had another descriptor:
// the kernel woke that loop for a new connection, which it did not accept.
func TestClosedListenerIsNotWoken(t *testing.T) {
	g := start(t, 2)
	socket, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := socket.Addr().String()
	fd, err := Detach(socket.(*net.TCPListener))
	must(t, err)
	defer Close(fd)
	var both [2]*handing
	for i, l := range g.Loops() {
		both[i] = &handing{accepted: make(chan int, 1)}
		dup, err := Duplicate(fd)
		must(t, err)
		on(t, l, func() { err = l.Listen(&both[i].ln, dup, both[i]) })
		must(t, err)
	}
	gone, stays := g.Loops()[1], g.Loops()[0]
	on(t, gone, func() { both[1].ln.Close() })
	for range 50 {
		c, err := net.Dial("tcp", address)
		must(t, err)
		Close(<-both[0].accepted)
		c.Close()
	}
	on(t, stays, func() { both[0].ln.Close() })
}
