package loop

import (
	"encoding/binary"
	"net/netip"
	"strconv"
	"unsafe"

	"golang.org/x/sys/unix"
)

// LocalAddr returns the local address of a TCP socket. It is not valid for other sockets.
func LocalAddr(fd int) netip.AddrPort {
	s := sockaddr{size: unix.SizeofSockaddrAny}
	if _, _, errno := unix.RawSyscall(unix.SYS_GETSOCKNAME, uintptr(fd), uintptr(unsafe.Pointer(&s.raw)),
		uintptr(unsafe.Pointer(&s.size))); errno != 0 {
		return netip.AddrPort{}
	}
	return s.addrPort()
}

// sockaddr is an address as the kernel writes it.
type sockaddr struct {
	raw  unix.RawSockaddrAny
	size uint32
}

// addrPort returns the address of a TCP socket, IPv4 not mapped to IPv6. It is not valid for other
// sockets.
func (s *sockaddr) addrPort() netip.AddrPort {
	switch s.raw.Addr.Family {
	case unix.AF_INET:
		a := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), port(&a.Port))
	case unix.AF_INET6:
		a := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
		ip := netip.AddrFrom16(a.Addr).Unmap()
		if a.Scope_id != 0 {
			ip = ip.WithZone(strconv.Itoa(int(a.Scope_id)))
		}
		return netip.AddrPortFrom(ip, port(&a.Port))
	}
	return netip.AddrPort{}
}

// set makes s the address a. It returns false for an address with a zone that is no number.
func (s *sockaddr) set(a netip.AddrPort) bool {
	ip := a.Addr()
	if ip.Is4() {
		in := (*unix.RawSockaddrInet4)(unsafe.Pointer(&s.raw))
		in.Family, in.Addr = unix.AF_INET, ip.As4()
		setPort(&in.Port, a.Port())
		s.size = unix.SizeofSockaddrInet4
		return true
	}
	in := (*unix.RawSockaddrInet6)(unsafe.Pointer(&s.raw))
	in.Family, in.Addr = unix.AF_INET6, ip.As16()
	setPort(&in.Port, a.Port())
	s.size = unix.SizeofSockaddrInet6
	zone, err := strconv.ParseUint(ip.Zone(), 10, 32)
	in.Scope_id = uint32(zone)
	return ip.Zone() == "" || err == nil
}

// setUnix makes s the address of a Unix socket: a path, or @ and an abstract name. It returns false
// if it is too long.
func (s *sockaddr) setUnix(path string) bool {
	un := (*unix.RawSockaddrUnix)(unsafe.Pointer(&s.raw))
	if path == "" || len(path) >= len(un.Path) {
		return false
	}
	un.Family = unix.AF_UNIX
	for i := range len(path) {
		un.Path[i] = int8(path[i])
	}
	s.size = uint32(unsafe.Offsetof(un.Path)) + uint32(len(path)) + 1
	if path[0] == '@' {
		un.Path[0] = 0
		s.size-- // an abstract name has no zero at its end
	}
	return true
}

// Ports are in network byte order.
func port(p *uint16) uint16 {
	return binary.BigEndian.Uint16((*[2]byte)(unsafe.Pointer(p))[:])
}

func setPort(p *uint16, to uint16) {
	binary.BigEndian.PutUint16((*[2]byte)(unsafe.Pointer(p))[:], to)
}
