package listen

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"syscall"
)

// receiveBuffer is the size of a UDP socket's buffer in bytes, which holds datagrams while its
// reader is busy. The kernel may give less (Linux: net.core.rmem_max); see Datagrams.
const receiveBuffer = 4 << 20

// OpenPacket opens the udp:// listener for s, for datagrams. guard admits them by the address of
// their sender; the others are dropped and counted. A nil guard admits all. There are no PROXY
// protocol headers. ctx limits the opening only.
//
// Besides the methods of net.PacketConn, the result has SyscallConn and those of *net.UDPConn that
// end in UDPAddrPort. The caller closes it.
func OpenPacket(ctx context.Context, s Spec, guard *Guard) (net.PacketConn, error) {
	if !s.UDP() {
		return nil, fmt.Errorf("listen on %s: not a udp:// address", s)
	}
	socket, err := openUDP(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return guardPackets(newDatagramCounter(socket, receiveBuffer), guard), nil
}

func guardPackets(counter *datagramCounter, guard *Guard) net.PacketConn {
	if guard == nil { // a guard that admits all may be changed later
		return counter.socket
	}
	return &guardedPackets{packets: counter.socket, counter: counter, guard: guard}
}

func openUDP(ctx context.Context, s Spec) (*net.UDPConn, error) {
	var lc net.ListenConfig
	if s.reuse {
		lc.Control = sharePort
	}
	pc, err := lc.ListenPacket(ctx, s.network(schemeUDP), s.address)
	if err != nil {
		return nil, explain(err)
	}
	socket := pc.(*net.UDPConn)
	if err := setReceiveBuffer(socket, receiveBuffer); err != nil {
		socket.Close()
		return nil, fmt.Errorf("set the receive buffer to %d bytes: %w", receiveBuffer, err)
	}
	return socket, nil
}

// packets is a *net.UDPConn without the methods that are not needed, which guardedPackets would
// have to implement, too.
type packets interface {
	net.PacketConn
	syscall.Conn
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// guardedPackets drops datagrams that guard does not admit.
type guardedPackets struct {
	packets
	counter *datagramCounter
	guard   *Guard
	passed  atomic.Bool // see PassedOn
}

// PassedOn reports whether another listener reads the datagrams from now on. What is left to do
// here is to send replies.
func (c *guardedPackets) PassedOn() bool { return c.passed.Load() }

func (c *guardedPackets) passOn() {
	c.passed.Store(true)
	c.counter.stop()
}

// Close closes the socket.
func (c *guardedPackets) Close() error { return c.counter.close() }

func (c *guardedPackets) datagrams() DatagramCounts { return c.counter.datagrams() }

// ReadFrom returns the next admitted datagram.
func (c *guardedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort returns the next admitted datagram.
func (c *guardedPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.packets.ReadFromUDPAddrPort(b)
		if err != nil || c.guard.admits(from) {
			return n, from, err
		}
	}
}

// ReadMsgUDPAddrPort returns the next admitted datagram.
func (c *guardedPackets) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error) {
	for {
		n, oobn, flags, from, err = c.packets.ReadMsgUDPAddrPort(b, oob)
		if err != nil || c.guard.admits(from) {
			return n, oobn, flags, from, err
		}
	}
}
