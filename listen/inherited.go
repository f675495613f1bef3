package listen

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
)

// Inherited are the sockets that systemd has opened and handed down, each under the FileDescriptorName of its socket unit
// (sd_listen_fds(3), systemd.socket(5)). Whoever connects while linesplit is restarted waits in them.
//
// The zero value has none. It belongs to one goroutine.
type Inherited struct {
	files []*os.File
}

// NewInherited takes over files, whose names are those of the sockets.
func NewInherited(files []*os.File) *Inherited { return &Inherited{files} }

// Open makes listeners of all sockets that s names and nobody has had before; datagrams says that UDP sockets become packets
// rather than listeners for lines. config and guard are as for [Open], and so is what the listeners are, each named after its
// address. It is an error if there are none.
func (h *Inherited) Open(s Spec, config *tls.Config, guard *Guard, datagrams bool) (listeners []net.Listener, packets []net.PacketConn, err error) {
	files := h.take(s.address)
	if len(files) == 0 {
		return nil, nil, fmt.Errorf("listen on %s: systemd has handed down no socket of that name%s", s, h.others())
	}
	if s.secure && config == nil {
		return nil, nil, fmt.Errorf("listen on %s: no certificate", s)
	}
	if !s.secure {
		config = nil
	}
	for _, f := range files {
		ln, pc, openErr := adopt(f, config, guard, datagrams)
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

// Close closes the sockets that nobody has had, and returns an error that names them: clients would wait in them for ever.
func (h *Inherited) Close() error {
	if len(h.files) == 0 {
		return nil
	}
	err := fmt.Errorf("systemd has handed down sockets that no -listen names%s", h.others())
	for _, f := range h.files {
		f.Close()
	}
	h.files = nil
	return err
}

// take returns the sockets of that name, or all if it is empty.
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

// adopt makes a listener, or packets, of a socket. The file is closed: what it makes has a descriptor of its own.
func adopt(f *os.File, config *tls.Config, guard *Guard, datagrams bool) (net.Listener, net.PacketConn, error) {
	defer f.Close()
	if ln, err := net.FileListener(f); err == nil {
		ln, err := adoptListener(ln, config, guard)
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
		return nil, nil, fmt.Errorf("%s: its datagrams are not UDP, or are to be TLS: want ListenStream=", f.Name())
	}
	if datagrams {
		return nil, guarded(socket, guard), nil
	}
	ln, err := linesOf(socket, guard)
	return ln, nil, err
}

func adoptListener(ln net.Listener, config *tls.Config, guard *Guard) (net.Listener, error) {
	if err := checkListener(ln); err != nil {
		ln.Close()
		return nil, err
	}
	switch ln := ln.(type) {
	case *net.TCPListener:
		return serveTCP(ln, config, guard), nil
	case *net.UnixListener:
		if config != nil {
			ln.Close()
			return nil, errors.New("a Unix socket cannot be given TLS")
		}
		ln.SetUnlinkOnClose(false) // it is systemd's
		return &unixListener{UnixListener: ln, path: ln.Addr().String()}, nil
	}
	ln.Close()
	return nil, fmt.Errorf("a listener on %s cannot be used", ln.Addr().Network())
}

// checkListener refuses what would lose lines, or never bring any.
func checkListener(ln net.Listener) error {
	if socket, ok := ln.(syscall.Conn); !ok || !listens(socket) {
		return errors.New("not a listening socket: its unit wants Accept=no")
	}
	if ln.Addr().Network() == "unixpacket" { // what does not fit into the buffer that is read into is thrown away
		return errors.New("a socket of packets, of which no more would be read than fits: want ListenStream=, not ListenSequentialPacket=")
	}
	return nil
}
