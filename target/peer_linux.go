package target

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"syscall"

	"golang.org/x/sys/unix"
)

// diagSocket asks about one TCP socket of this network namespace (sock_diag(7)).
type diagSocket struct {
	request [diagRequestSize]byte
	local   netip.AddrPort // of the socket that is asked about
	remote  netip.AddrPort
	cookie  uint64 // of the socket found; noCookie before
}

// noCookie is INET_DIAG_NOCOOKIE: the kernel does not compare cookies.
const noCookie = 1<<64 - 1

// newPeerQuery returns a query for the other end of conn, or nil if there cannot be one: the
// question goes to the namespace of the netlink socket, which must be the connection's, too.
func newPeerQuery(conn net.Conn, sys syscall.RawConn) peerQuery {
	ours, ok1 := conn.LocalAddr().(*net.TCPAddr)
	peers, ok2 := conn.RemoteAddr().(*net.TCPAddr)
	if !ok1 || !ok2 {
		return nil
	}
	s := &diagSocket{local: unmapped(peers), remote: unmapped(ours), cookie: noCookie}
	if s.local == s.remote || !s.local.IsValid() || !s.remote.IsValid() || !diag.sharesNamespace(sys) {
		return nil // s.local == s.remote: a socket connected to itself
	}
	s.fillRequest()
	return s
}

func unmapped(a *net.TCPAddr) netip.AddrPort {
	p := a.AddrPort()
	return netip.AddrPortFrom(p.Addr().Unmap().WithZone(""), p.Port())
}

// The offsets and sizes of struct nlmsghdr, inet_diag_req_v2, inet_diag_sockid and inet_diag_msg of
// the kernel's include/uapi/linux, in bytes.
const (
	diagRequestSize   = 16 + 56
	diagAnswerSize    = 16 + 72
	diagRequestSockID = 16 + 8
	diagAnswerState   = 16 + 1
	diagAnswerSockID  = 16 + 4
	diagAnswerQueue   = 16 + 56
	diagAnswerInode   = 16 + 68
	sockIDSrc         = 4
	sockIDDst         = 20
	sockIDCookie      = 40
)

var ne = binary.NativeEndian

func (s *diagSocket) fillRequest() {
	r := s.request[:]
	ne.PutUint32(r[0:], diagRequestSize)
	ne.PutUint16(r[4:], unix.SOCK_DIAG_BY_FAMILY)
	ne.PutUint16(r[6:], unix.NLM_F_REQUEST)
	r[16], r[17] = unix.AF_INET, unix.IPPROTO_TCP
	if s.local.Addr().Is6() {
		r[16] = unix.AF_INET6
	}
	ne.PutUint32(r[20:], 1<<32-1) // all states; the answer's is checked
	id := r[diagRequestSockID:]
	binary.BigEndian.PutUint16(id[0:], s.local.Port())
	binary.BigEndian.PutUint16(id[2:], s.remote.Port())
	copy(id[sockIDSrc:], s.local.Addr().AsSlice())
	copy(id[sockIDDst:], s.remote.Addr().AsSlice())
	ne.PutUint64(id[sockIDCookie:], noCookie)
}

var errNoPeer = errors.New("the peer's socket is not in this network namespace")

// unread returns tcp_diag's idiag_rqueue, rcv_nxt − copied_seq: bytes that came in order and were
// not read. What a backlog or an out-of-order queue holds is not acknowledged, nor counted here.
func (s *diagSocket) unread() (uint64, error) {
	var answer [diagAnswerSize]byte
	if err := diag.ask(&s.request, &answer); err != nil {
		if s.cookie != noCookie && (err == unix.ENOENT || err == unix.ESTALE) {
			return 0, errPeerGone
		}
		return 0, err
	}
	if !s.answersFor(answer[:]) {
		if s.cookie != noCookie {
			return 0, errPeerGone
		}
		return 0, errNoPeer
	}
	if s.cookie == noCookie {
		s.cookie = ne.Uint64(answer[diagAnswerSockID+sockIDCookie:])
		ne.PutUint64(s.request[diagRequestSockID+sockIDCookie:], s.cookie)
	}
	return uint64(ne.Uint32(answer[diagAnswerQueue:])), nil
}

// The states TCP_ESTABLISHED, TCP_FIN_WAIT1 and TCP_FIN_WAIT2 of include/net/tcp_states.h.
const (
	stateEstablished = 1
	stateFINWait1    = 4
	stateFINWait2    = 5
)

// answersFor reports whether the answer is about the peer's socket and in a state in which the peer
// may read. If the connection is gone, the kernel answers for the listening socket.
func (s *diagSocket) answersFor(answer []byte) bool {
	switch answer[diagAnswerState] {
	case stateEstablished, stateCloseWait:
	case stateFINWait1, stateFINWait2:
		if ne.Uint32(answer[diagAnswerInode:]) == 0 { // no process holds it
			return false
		}
	default:
		return false
	}
	id := answer[diagAnswerSockID:]
	family := answer[16]
	if address(family, id[sockIDSrc:]) != s.local.Addr() || address(family, id[sockIDDst:]) != s.remote.Addr() {
		return false
	}
	cookie := ne.Uint64(id[sockIDCookie:])
	return binary.BigEndian.Uint16(id[0:]) == s.local.Port() && binary.BigEndian.Uint16(id[2:]) == s.remote.Port() &&
		cookie != noCookie && (s.cookie == noCookie || cookie == s.cookie)
}

func address(family byte, b []byte) netip.Addr {
	if family == unix.AF_INET {
		return netip.AddrFrom4([4]byte(b))
	}
	return netip.AddrFrom16([16]byte(b)).Unmap()
}
