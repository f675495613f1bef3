package datagram

import (
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// controlSize is the size of a control message with a datagram's destination.
var controlSize = unix.CmsgSpace(unix.SizeofInet6Pktinfo)

// requestDestination asks the kernel to report the address that each datagram was sent to, if the
// socket is bound to all addresses. Otherwise a reply would leave from the address that the routing
// table prefers, and a client that had sent to another one would not accept it.
func requestDestination(pc net.PacketConn) error {
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

// receivePacketInfo sets the socket option. An IPv6 socket reports the destination of IPv4
// datagrams as an IPv6 address, too.
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

// replySource returns the control message that makes a reply leave from the address that the
// request was sent to. oob is the control message of the request. It returns nil if the address is
// unknown or a multicast address. The routing table still chooses the interface.
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
