package listen

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"syscall"
)

// receiveBuffer is what a UDP socket asks for, in bytes, so that it holds what comes while nobody has time to read. The
// kernel gives no more than it allows (Linux: net.core.rmem_max).
const receiveBuffer = 4 << 20

// OpenPacket opens the udp:// listener that s names, for datagrams as they are. guard says from whom they are taken, by
// their sender's address; the others are dropped and counted. nil is everybody. PROXY protocol headers do not exist
// here. ctx bounds the opening only.
//
// What it returns has, besides the methods of net.PacketConn, those of *net.UDPConn that end in UDPAddrPort, and
// SyscallConn. The caller closes it.
func OpenPacket(ctx context.Context, s Spec, guard *Guard) (net.PacketConn, error) {
	if !s.UDP() {
		return nil, fmt.Errorf("listen on %s: it takes no datagrams", s)
	}
	socket, err := openUDP(ctx, s)
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return guarded(socket, guard), nil
}

func guarded(socket *net.UDPConn, guard *Guard) net.PacketConn {
	if guard == nil { // one that restricts nobody now may do so later
		return socket
	}
	return &guardedPackets{packets: socket, guard: guard}
}

func openUDP(ctx context.Context, s Spec) (*net.UDPConn, error) {
	var lc net.ListenConfig
	if s.reuse {
		lc.Control = sharePort
	}
	pc, err := lc.ListenPacket(ctx, "udp", s.address)
	if err != nil {
		return nil, plainer(err)
	}
	socket := pc.(*net.UDPConn)
	if err := socket.SetReadBuffer(receiveBuffer); err != nil {
		socket.Close()
		return nil, fmt.Errorf("set the receive buffer to %d bytes: %w", receiveBuffer, err)
	}
	return socket, nil
}

// packets is a *net.UDPConn without those of its methods that nobody needs, and that guardedPackets would have to see to.
type packets interface {
	net.PacketConn
	syscall.Conn
	ReadFromUDPAddrPort(b []byte) (n int, from netip.AddrPort, err error)
	ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error)
	WriteToUDPAddrPort(b []byte, to netip.AddrPort) (int, error)
	WriteMsgUDPAddrPort(b, oob []byte, to netip.AddrPort) (n, oobn int, err error)
}

// guardedPackets drops what guard does not admit.
type guardedPackets struct {
	packets
	guard *Guard
}

// ReadFrom returns the next datagram that is admitted.
func (c *guardedPackets) ReadFrom(b []byte) (int, net.Addr, error) {
	n, from, err := c.ReadFromUDPAddrPort(b)
	if err != nil {
		return n, nil, err
	}
	return n, net.UDPAddrFromAddrPort(from), nil
}

// ReadFromUDPAddrPort returns the next datagram that is admitted.
func (c *guardedPackets) ReadFromUDPAddrPort(b []byte) (int, netip.AddrPort, error) {
	for {
		n, from, err := c.packets.ReadFromUDPAddrPort(b)
		if err != nil || c.guard.admits(from) {
			return n, from, err
		}
	}
}

// ReadMsgUDPAddrPort returns the next datagram that is admitted.
func (c *guardedPackets) ReadMsgUDPAddrPort(b, oob []byte) (n, oobn, flags int, from netip.AddrPort, err error) {
	for {
		n, oobn, flags, from, err = c.packets.ReadMsgUDPAddrPort(b, oob)
		if err != nil || c.guard.admits(from) {
			return n, oobn, flags, from, err
		}
	}
}
