package listen

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
)

// Shared is a further descriptor of the socket of an open listener. A listener that takes the place
// of the first one in the same process is made from it: the address never stops listening, and what
// waits in the backlog, or in the receive buffer, waits for both of them.
type Shared struct {
	file *os.File
	path *socketFile // of a Unix listener; nil for others
	from any         // the first listener
}

// Share returns a further descriptor of the socket of a listener, which is what Open, OpenPacket or
// Inherited has returned, or a Routed. Standard input cannot be shared.
func Share(listener any) (*Shared, error) {
	l, ok := listener.(interface {
		control(do func(fd int) error) error
	})
	if !ok {
		return nil, fmt.Errorf("share a %T: %w", listener, errors.ErrUnsupported)
	}
	k := &Shared{from: listener}
	err := l.control(func(fd int) (err error) {
		k.file, err = duplicate(fd)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("share the socket of a listener: %w", err)
	}
	if u, ok := listener.(*unixListener); ok && u.file != nil {
		k.path = u.file.retain()
	}
	return k, nil
}

// MayShare reports whether a listener for s may have the socket of one that was opened for other.
func (s Spec) MayShare(other Spec) bool {
	switch {
	case s.reuse != other.reuse || s.Stdin():
		return false
	case s.Inherited() || other.Inherited():
		return s.scheme == other.scheme && s.address == other.address
	case s.scheme == schemeUnix || other.scheme == schemeUnix:
		return s.scheme == other.scheme && s.address == other.address
	}
	return s.UDP() == other.UDP() && strings.EqualFold(s.address, other.address) && s.network("") == other.network("")
}

// Open returns a listener for s with the shared socket, or closes the descriptor. config and guard
// are as for the function Open.
func (k *Shared) Open(s Spec, config *tls.Config, guard *Guard) (net.Listener, error) {
	if s.TLS() && config == nil {
		k.Close()
		return nil, fmt.Errorf("listen on %s: no certificate", s)
	}
	if !s.TLS() {
		config = nil
	}
	ln, _, err := openInherited(k.file, config, guard, false)
	if err == nil {
		k.keepFile(ln)
		ln, err = withUse(ln, s)
	} else {
		k.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return ln, nil
}

// keepFile makes ln remove its socket file in the end.
func (k *Shared) keepFile(ln net.Listener) {
	if u, ok := ln.(*unixListener); ok {
		was := k.from.(*unixListener)
		u.path, u.file, k.path = was.path, k.path, nil
	}
}

// OpenPacket is Open for datagrams.
func (k *Shared) OpenPacket(s Spec, guard *Guard) (net.PacketConn, error) {
	_, pc, err := openInherited(k.file, nil, guard, true)
	if err == nil && pc == nil {
		err = errors.New("not a socket for datagrams")
	}
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	return pc, nil
}

// OpenRouter is Open for a listener whose clients are told apart by server names.
func (k *Shared) OpenRouter(s Spec, guard *Guard, logger *slog.Logger) (*Router, error) {
	ln, _, err := openInherited(k.file, nil, guard, false)
	if err != nil {
		k.Close()
		return nil, fmt.Errorf("listen on %s: %w", s, err)
	}
	r := NewRouter(ln, logger)
	r.guard = guard
	return r, nil
}

// Datagrams reports whether the socket is one for datagrams.
func (k *Shared) Datagrams() bool {
	switch k.from.(type) {
	case *udpListener, *guardedPackets:
		return true
	}
	return false
}

// Close closes the descriptor, unless a listener has it.
func (k *Shared) Close() {
	k.file.Close()
	if k.path != nil {
		k.path.release(k.from.(*unixListener).path)
		k.path = nil
	}
}

// PassOn tells the first listener that another one has taken its place: it accepts no connection
// any more. Its PassedOn method returns true from then on.
func (k *Shared) PassOn() {
	if l, ok := k.from.(interface{ passOn() }); ok {
		l.passOn()
	}
}

// Await waits until the first listener accepts nothing any more, or ctx ends. It does not wait for
// sockets for datagrams.
func (k *Shared) Await(ctx context.Context) {
	if l, ok := k.from.(interface{ closed() <-chan struct{} }); ok {
		select {
		case <-l.closed():
		case <-ctx.Done():
		}
	}
}

// passing is the part of a listener that may be passed on. The zero value is ready.
type passing struct {
	passed atomic.Bool
	once   sync.Once
	over   chan struct{} // see closed
	ended  sync.Once
}

// PassedOn reports whether another listener has taken this one's place; see [Shared.PassOn].
func (p *passing) PassedOn() bool { return p.passed.Load() }

// closed returns a channel that is closed when the listener is.
func (p *passing) closed() <-chan struct{} {
	p.once.Do(func() { p.over = make(chan struct{}) })
	return p.over
}

func (p *passing) noteClosed() {
	p.closed()
	p.ended.Do(func() { close(p.over) })
}

func (l *namedListener) passOn() {
	l.passed.Store(true)
	l.socket.SetDeadline(past) // these fail if a loop accepts, or if it is closed
	l.SetDeadline(past)
}

func (l *unixListener) passOn() {
	l.passed.Store(true)
	l.SetDeadline(past)
}

func (l *Routed) passOn() { l.router.passOn() }

func (l *Routed) closed() <-chan struct{} { return l.router.accepting.closed() }

// socketFile is the file of a Unix socket, of which several listeners of this process may have
// descriptors. The last of them removes it.
type socketFile struct {
	info fs.FileInfo

	mu   sync.Mutex // guards the field below
	held int        // by how many
}

func newSocketFile(info fs.FileInfo) *socketFile { return &socketFile{info: info, held: 1} }

func (f *socketFile) retain() *socketFile {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.held++
	return f
}

// release removes the file at path for the last holder, unless another one is there by now.
func (f *socketFile) release(path string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.held--; f.held > 0 {
		return nil
	}
	return removeSame(path, f.info)
}

func (l *namedListener) control(do func(fd int) error) error {
	was, err := l.detached.control(do)
	if !was {
		if err = controlOf(l.socket, do); errors.Is(err, net.ErrClosed) { // it may just have been detached
			_, err = l.detached.control(do)
		}
	}
	return err
}

func (l *unixListener) control(do func(fd int) error) error {
	was, err := l.detached.control(do)
	if !was {
		if err = controlOf(l.UnixListener, do); errors.Is(err, net.ErrClosed) {
			_, err = l.detached.control(do)
		}
	}
	return err
}

func (l *udpListener) control(do func(fd int) error) error { return controlOf(l.socket, do) }

func (c *guardedPackets) control(do func(fd int) error) error { return controlOf(c.counter.socket, do) }

func (l *Routed) control(do func(fd int) error) error {
	if ln, ok := l.router.ln.(interface{ control(func(int) error) error }); ok {
		return ln.control(do)
	}
	return errors.ErrUnsupported
}
