package relay

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// icmpErrors are the codes of "destination unreachable" messages that concern a single datagram,
// and the errors that Linux reports for them.
var icmpErrors = map[string]byte{
	"EMSGSIZE":    4, // fragmentation needed
	"ENOPROTOOPT": 2, // protocol unreachable
	"EHOSTDOWN":   7, // destination host unknown
}

// An ICMP message that a datagram was too long for the path ended the session, so that the target
// saw the next one come from another port, or took the place of the next datagram.
func TestUDPSessionOutlivesErrorsOfDatagrams(t *testing.T) {
	for name, code := range icmpErrors {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			// An address of its own, since the kernel keeps the size that the path is said to take.
			pc, err := net.ListenPacket("udp", netip.AddrFrom4([4]byte{127, 77, 0, code}).String()+":0")
			must(t, err)
			defer pc.Close()
			r := startPackets(t, "127.0.0.1:0", Options{}, "udp://"+pc.LocalAddr().String())
			c := r.client()
			first := askAt(t, c, pc)
			for range 20 { // the error is noticed in sending or in receiving
				sendUnreachable(t, code, first, pc.LocalAddr().(*net.UDPAddr).AddrPort())
				if now := askAt(t, c, pc); now != first {
					t.Fatalf("the session was at %v, and is now at %v: %+v", first, now, r.log.get())
				}
			}
		})
	}
}

// askAt sends a datagram through the relay, has the target answer it, and returns the address that
// the target saw.
func askAt(t *testing.T, c net.Conn, target net.PacketConn) netip.AddrPort {
	t.Helper()
	end := time.Now().Add(replyTimeout)
	must(t, errors.Join(c.SetDeadline(end), target.SetDeadline(end)))
	_, err := c.Write([]byte("question"))
	must(t, err)
	b := make([]byte, maxDatagram)
	n, from, err := target.ReadFrom(b)
	must(t, err)
	_, err = target.WriteTo(b[:n], from)
	must(t, err)
	_, err = c.Read(b)
	must(t, err)
	return from.(*net.UDPAddr).AddrPort()
}

// sendUnreachable sends an ICMP message about a datagram between two IPv4 addresses of this
// machine.
func sendUnreachable(t *testing.T, code byte, from, to netip.AddrPort) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_RAW|syscall.SOCK_CLOEXEC, syscall.IPPROTO_ICMP)
	if err != nil {
		t.Skip("no raw sockets here:", err)
	}
	defer syscall.Close(fd)
	b := []byte{3, code, 0, 0, 0, 0, 0xff, 0xff}      // type, code, checksum, size that the path takes
	b = append(b, 0x45, 0, 0, 100, 0, 0, 0x40, 0, 64) // the datagram's IPv4 header: length, do not fragment
	b = append(b, syscall.IPPROTO_UDP, 0, 0)          // protocol, checksum
	b = append(append(b, from.Addr().AsSlice()...), to.Addr().AsSlice()...)
	b = binary.BigEndian.AppendUint16(b, from.Port())
	b = binary.BigEndian.AppendUint16(b, to.Port())
	b = append(b, 0, 80, 0, 0) // length, checksum
	binary.BigEndian.PutUint16(b[2:], checksum(b))
	must(t, syscall.Sendto(fd, b, 0, &syscall.SockaddrInet4{Addr: from.Addr().As4()}))
}

func checksum(b []byte) uint16 {
	var sum uint32
	for ; len(b) > 1; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	sum = sum>>16 + sum&0xffff
	return ^uint16(sum>>16 + sum&0xffff)
}
