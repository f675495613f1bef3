package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"syscall"

	"linesplit/internal/urgent"
)

// Inherited holds the sockets that systemd has opened and passed to the process, each under the
// FileDescriptorName of its socket unit (sd_listen_fds(3), systemd.socket(5)). Clients that connect
// while linesplit restarts wait in their backlogs.
//
// The zero value has no sockets. It is not safe for concurrent use.
type Inherited struct {
	files []*os.File
}

// NewInherited takes ownership of files, whose names are the names of the sockets.
func NewInherited(files []*os.File) *Inherited { return &Inherited{files} }

// Open makes listeners from all sockets that s names and no earlier call has taken. If datagrams is
// true, UDP sockets become packet connections rather than listeners for lines. config, guard and
// the listeners are as for [Open], each listener named after its address. Open returns an error if
// there are no such sockets.
func (h *Inherited) Open(s Spec, config *tls.Config, guard *Guard, datagrams bool) (
	listeners []net.Listener, packets []net.PacketConn, err error,
) {
	files := h.take(s.address)
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("listen on %s: systemd has passed no socket of that name%s", s, h.others())
	}
	if s.secure && config == nil {
		return nil, nil, fmt.Errorf("listen on %s: no certificate", s)
	}
	if !s.secure {
		config = nil
	}
	for _, f := range files {
		ln, pc, openErr := openInherited(f, config, guard, datagrams)
		if openErr == nil && ln != nil {
			ln, openErr = withUse(ln, s)
		}
		switch {
		case openErr != nil:
			err = errors.Join(err, fmt.Errorf("listen on %s: %w", s, openErr))
		case pc != nil:
			packets = append(packets, pc)
		default:
			listeners = append(listeners, ln)
		}
	}
	if err == nil {
		return listeners, packets, nil
	}
	for _, ln := range listeners {
		ln.Close()
	}
	for _, pc := range packets {
		pc.Close()
	}
	return nil, nil, err
}

// OpenRouters makes Routers from all sockets that s names and no earlier call has taken; see Open.
func (h *Inherited) OpenRouters(s Spec, guard *Guard, logger *slog.Logger) (routers []*Router, err error) {
	plain := s
	plain.secure = false
	listeners, _, err := h.Open(plain, nil, guard, false)
	if err != nil {
		return nil, err
	}
	for _, ln := range listeners {
		if _, tcp := ln.(*namedListener); !tcp {
			err = errors.Join(err, fmt.Errorf("listen on %s: TLS needs a TCP socket: %s is %s", s, ln.Addr(), ln.Addr().Network()))
		}
		r := NewRouter(ln, logger)
		r.guard = guard
		routers = append(routers, r)
	}
	if err == nil {
		return routers, nil
	}
	for _, ln := range listeners {
		ln.Close()
	}
	return nil, err
}

// Close closes the sockets that no call of Open has taken, and returns an error that names them:
// clients would wait in their backlogs for ever.
func (h *Inherited) Close() error {
	if len(h.files) == 0 {
		return nil
	}
	err := fmt.Errorf("systemd has passed sockets that no -listen names%s", h.others())
	for _, f := range h.files {
		f.Close()
	}
	h.files = nil
	return err
}

// take removes and returns the sockets of that name, or all if it is empty.
func (h *Inherited) take(name string) (taken []*os.File) {
	kept := h.files[:0:0]
	for _, f := range h.files {
		if name == "" || f.Name() == name {
			taken = append(taken, f)
		} else {
			kept = append(kept, f)
		}
	}
	h.files = kept
	return taken
}

// others returns the names of the remaining sockets, for an error text.
func (h *Inherited) others() string {
	var names []string
	for _, f := range h.files {
		names = append(names, "systemd:"+f.Name())
	}
	if names == nil {
		return ""
	}
	return ": there is " + strings.Join(names, ", ")
}

// openInherited makes a listener or a packet connection from a socket. It closes the file: the
// result has its own descriptor.
func openInherited(f *os.File, config *tls.Config, guard *Guard, datagrams bool) (net.Listener, net.PacketConn, error) {
	defer f.Close()
	if ln, err := net.FileListener(f); err == nil {
		ln, err := openInheritedListener(ln, config, guard)
		if err != nil {
			err = fmt.Errorf("%s: %w", f.Name(), err)
		}
		return ln, nil, err
	}
	pc, err := net.FilePacketConn(f)
	if err != nil {
		return nil, nil, fmt.Errorf("%s: neither a listening socket nor one for datagrams: %w", f.Name(), err)
	}
	socket, ok := pc.(*net.UDPConn)
	if !ok || config != nil {
		pc.Close()
		return nil, nil, fmt.Errorf("%s: for datagrams, only UDP without TLS is supported: want ListenStream=", f.Name())
	}
	counter := newDatagramCounter(socket, 0)
	if datagrams {
		return nil, guardPackets(counter, guard), nil
	}
	ln, err := newUDPListener(counter, guard)
	return ln, nil, err
}

func openInheritedListener(ln net.Listener, config *tls.Config, guard *Guard) (net.Listener, error) {
	if err := checkListener(ln); err != nil {
		ln.Close()
		return nil, err
	}
	switch ln := ln.(type) {
	case *net.TCPListener:
		// Connections that wait in the backlog already lack the option, the first time that systemd
		// passes the socket.
		if err := keepUrgent(ln); err != nil {
			ln.Close()
			return nil, err
		}
		return serveTCP(tcpSocket{ln, true}, config, guard), nil
	case *net.UnixListener:
		if config != nil {
			ln.Close()
			return nil, errors.New("TLS is not supported on a Unix socket")
		}
		ln.SetUnlinkOnClose(false) // the file is systemd's
		return &unixListener{UnixListener: ln, path: ln.Addr().String()}, nil
	}
	ln.Close()
	return nil, fmt.Errorf("a listener on %s cannot be used", ln.Addr().Network())
}

// keepUrgent keeps urgent data in the stream of a socket.
func keepUrgent(socket syscall.Conn) error {
	rc, err := socket.SyscallConn()
	if err != nil {
		return err
	}
	return urgent.Inline(rc)
}

// checkListener returns an error for sockets that would lose lines or never accept any.
func checkListener(ln net.Listener) error {
	if socket, ok := ln.(syscall.Conn); !ok || !listens(socket) {
		return errors.New("not a listening socket: set Accept=no in its unit")
	}
	if ln.Addr().Network() == "unixpacket" { // the kernel discards what does not fit into the buffer
		return errors.New("a packet socket, whose packets would be cut to the size of the read buffer: " +
			"want ListenStream=, not ListenSequentialPacket=")
	}
	return nil
}
