package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is room for one control message that tells a datagram's destination.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo)

// tellDestination has the kernel tell the address that each datagram was sent to, if the socket has more than one. Without it, a reply
// would leave from the address that the routing table prefers, and a client that knows us by another one would not take it.
func tellDestination(pc net.PacketConn) error {
	local, ok := pc.LocalAddr().(*net.UDPAddr)
	sc, hasFD := pc.(syscall.Conn)
	if !ok || !hasFD || !local.IP.IsUnspecified() {
		return nil
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return err
	}
	var optErr error
	if err := rc.Control(func(fd uintptr) { optErr = receivePacketInfo(int(fd)) }); err != nil {
		return err
	}
	if optErr != nil {
		return fmt.Errorf("ask for datagrams' destinations: %w", optErr)
	}
	return nil
}

// receivePacketInfo: an IPv6 socket tells the destination of what came by IPv4 as an IPv6 address, too.
func receivePacketInfo(fd int) error {
	domain, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if err != nil {
		return err
	}
	if domain == unix.AF_INET6 {
		return unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	return unix.SetsockoptInt(fd, unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
}

// replySource returns the control message that makes a datagram leave from where another one, whose control message oob is, has
// arrived; nil if that is not known, or no address of one machine. The way out is left to the routing table.
func replySource(oob []byte) []byte {
	if len(oob) == 0 {
		return nil
	}
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.IPPROTO_IP && m.Header.Type == unix.IP_PKTINFO && len(m.Data) >= unix.SizeofInet4Pktinfo:
			info := (*unix.Inet4Pktinfo)(unsafe.Pointer(&m.Data[0]))
			return unix.PktInfo4(&unix.Inet4Pktinfo{Spec_dst: info.Spec_dst})
		case m.Header.Level == unix.IPPROTO_IPV6 && m.Header.Type == unix.IPV6_PKTINFO && len(m.Data) >= unix.SizeofInet6Pktinfo:
			info := (*unix.Inet6Pktinfo)(unsafe.Pointer(&m.Data[0]))
			if netip.AddrFrom16(info.Addr).Unmap().IsMulticast() {
				return nil
			}
			return unix.PktInfo6(&unix.Inet6Pktinfo{Addr: info.Addr})
		}
	}
	return nil
}
