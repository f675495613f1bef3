package relay

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
	"linesplit/relay/internal/traffic"
)

// bareListener returns ln in a form that an event loop can accept from, as those of package listen.
func bareListener(ln net.Listener) net.Listener {
	switch ln := ln.(type) {
	case *net.TCPListener:
		return &detachableListener{Listener: ln}
	case *net.UnixListener:
		return &detachableListener{Listener: ln}
	}
	return ln
}

type detachableListener struct {
	net.Listener
	fd       int
	detached bool
}

func (l *detachableListener) Detach() (int, func(netip.AddrPort) bool, bool) {
	if u, ok := l.Listener.(*net.UnixListener); ok {
		u.SetUnlinkOnClose(false)
	}
	fd, err := loop.Detach(l.Listener.(interface {
		net.Listener
		SyscallConn() (syscall.RawConn, error)
	}))
	l.fd, l.detached = fd, true
	return fd, nil, err == nil
}

func (l *detachableListener) Close() error {
	if l.detached {
		if l.fd < 0 {
			return errors.New("closed twice")
		}
		loop.Close(l.fd)
		l.fd = -1
		if a, ok := l.Addr().(*net.UnixAddr); ok {
			os.Remove(a.Name)
		}
		return nil
	}
	return l.Listener.Close()
}

// state holds what tests look at in an open connection.
type state struct {
	first, why    traffic.End
	clientRefuses bool
}

// states returns the states of the open connections.
func (r *rig) states() (all []state) {
	for _, s := range r.allServices() {
		v := s.(*serving)
		for _, c := range v.some(100) {
			all = append(all, state{traffic.End(c.first.Load()), traffic.End(c.why.Load()), c.clientRefuses.Load()})
		}
		if v.loops == nil {
			continue
		}
		for i, l := range v.loops.Loops() {
			got := make(chan struct{})
			if !l.Post(func() {
				defer close(got)
				for k := v.links[i].first; k != nil; k = k.next {
					all = append(all, state{k.first, k.why, k.ending.clientRefuses})
				}
			}) {
				continue
			}
			<-got
		}
	}
	return all
}

// adoptForTest gives a link a connected target.
func adoptForTest(t testing.TB, k *link, fd int) {
	g, err := loop.New(1)
	must(t, err)
	t.Cleanup(g.Shutdown)
	k.stage, k.target.link = away, k
	fd, err = unix.FcntlInt(uintptr(fd), unix.F_DUPFD_CLOEXEC, 0)
	must(t, err)
	must(t, unix.SetNonblock(fd, true))
	must(t, g.Loops()[0].Adopt(&k.target.FD, fd, &k.target))
}
