//go:build linux

package load

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// maxReceive is the number of bytes that a sink takes from a socket at most in one call.
const maxReceive = 1 << 20

// sinkRole listens, replies "listening" with its addresses, and discards the bytes it receives. It
// answers "expect N" with "expecting" at once and with "reached" when N bytes have arrived, and
// "total" with "total BYTES LINES ALTERED". It counts lines, and altered lines among them, only
// with -verify. With -closed it refuses connections until "open", which it answers with "opened".
func sinkRole(o Options, in *bufio.Scanner, reply Reply) error {
	s := &sink{line: o.size, verify: o.verify, tls: o.serverTLS(), reply: reply}
	listen := s.listen
	switch {
	case !s.verify && s.tls == nil:
		allowRaw(o.ports)
		listen = s.bindRaw
	case o.closed:
		return errors.New("-closed: only valid without -verify and -certs")
	}
	var addrs []string
	for range o.ports {
		addr, err := listen(cmp.Or(o.Listen, AnyPort))
		if err != nil {
			return err
		}
		addrs = append(addrs, addr)
	}
	if !o.closed {
		if err := s.open(); err != nil {
			return err
		}
	}
	reply("listening %s", strings.Join(addrs, " "))
	return s.serve(in)
}

// AnyPort is a loopback address whose port the kernel chooses.
const AnyPort = "127.0.0.1:0"

// Listen listens without MPTCP, as the proxies do.
func Listen(addr string) (net.Listener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	return lc.Listen(context.Background(), "tcp", addr)
}

// sink counts what its connections receive. Its goroutines end with the process.
type sink struct {
	line   int
	verify bool
	tls    *tls.Config // nil: plain
	reply  Reply
	gates  []gate // not yet open

	bytes, lines, altered atomic.Int64
	goal                  atomic.Pointer[goal]
}

// goal is a number of bytes for which serve waits.
type goal struct {
	bytes   int64
	reached chan struct{}
}

// gate is a socket that refuses connections until it is opened, and what waits for connections to
// it.
type gate struct{ socket, epoll int }

// open opens the gates.
func (s *sink) open() error {
	for _, g := range s.gates {
		if err := unix.Listen(g.socket, unix.SOMAXCONN); err != nil {
			return err
		}
		if err := watch(g.epoll, g.socket); err != nil {
			return err
		}
	}
	s.gates = nil
	return nil
}

// serve answers commands.
func (s *sink) serve(in *bufio.Scanner) error {
	for in.Scan() {
		var n int64
		switch _, err := fmt.Sscanf(in.Text(), "expect %d", &n); {
		case err == nil:
			g := &goal{n, make(chan struct{})}
			s.goal.Store(g)
			s.reply("expecting")
			if s.bytes.Load() < n { // else add may have passed the goal before it was stored
				<-g.reached
			}
			s.reply("reached")
		case in.Text() == "open":
			if err := s.open(); err != nil {
				return err
			}
			s.reply("opened")
		case in.Text() == "total":
			s.reply("total %d %d %d", s.bytes.Load(), s.lines.Load(), s.altered.Load())
		default:
			return fmt.Errorf("unknown command %q", in.Text())
		}
	}
	return nil
}

// listen accepts connections whose bytes this process has to look at, and returns their address.
func (s *sink) listen(addr string) (string, error) {
	ln, err := Listen(addr)
	if err != nil {
		return "", err
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go s.receive(c.(*net.TCPConn))
		}
	}()
	return ln.Addr().String(), nil
}

func (s *sink) receive(c *net.TCPConn) {
	defer c.Close()
	if s.tls != nil {
		s.receiveTLS(c)
	} else {
		s.checkLines(c)
	}
}

// bindRaw adds a gate for connections whose bytes are only counted, and returns its address. One
// goroutine serves all of them.
func (s *sink) bindRaw(addr string) (string, error) {
	ln, bound, err := bindNonblocking(addr)
	if err != nil {
		return "", err
	}
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return "", err
	}
	go func() {
		err := s.discardAll(epoll, ln)
		s.reply("error %v", err)
	}()
	s.gates = append(s.gates, gate{ln, epoll})
	return bound, nil
}

// discardAll accepts connections and discards what arrives on them.
func (s *sink) discardAll(epoll, ln int) error {
	events := make([]unix.EpollEvent, 256)
	buf := make([]byte, maxReceive) // only its length matters, nothing is written to it
	for {
		ready, err := rawWait(epoll, events)
		if err != nil {
			return err
		}
		for _, e := range ready {
			fd := int(e.Fd)
			if fd != ln {
				s.discard(fd, buf)
				continue
			}
			fd, ok, err := acceptOne(ln)
			if err != nil {
				return err
			}
			if !ok {
				continue
			}
			if err := watch(epoll, fd); err != nil {
				return err
			}
		}
	}
}

func (s *sink) receiveTLS(c *net.TCPConn) {
	secure := tls.Server(c, s.tls)
	defer secure.Close()
	if err := secure.Handshake(); err != nil {
		return // a proxy that only tests whether the target is there
	}
	if err := checkSuite(secure.ConnectionState()); err != nil {
		s.reply("error %v", err)
		return
	}
	if s.verify {
		s.checkLines(secure)
		return
	}
	for buf := make([]byte, 64<<10); ; {
		n, err := secure.Read(buf)
		s.add(int64(n))
		if err != nil {
			return
		}
	}
}

// discard counts the bytes that have arrived without copying them: with MSG_TRUNC the kernel drops
// them from a TCP socket. It closes the connection at its end.
func (s *sink) discard(fd int, buf []byte) {
	n, err := rawDiscard(fd, buf)
	switch {
	case err == unix.EINTR || err == unix.EAGAIN: // epoll reports it again
	case err != nil || n == 0:
		unix.Close(fd)
	default:
		s.add(int64(n))
	}
}

// checkLines counts lines, and those among them that differ from what makeLines makes.
func (s *sink) checkLines(c net.Conn) {
	r := bufio.NewReaderSize(c, maxReceive)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			s.lines.Add(1)
			if len(line) != s.line || line[0] != '{' || !bytes.HasSuffix(line, []byte("\"}\n")) {
				s.altered.Add(1)
			}
			s.add(int64(len(line)))
		}
		if err != nil {
			return
		}
	}
}

// add counts bytes and wakes serve when they reach its goal.
func (s *sink) add(n int64) {
	now := s.bytes.Add(n)
	if g := s.goal.Load(); g != nil && now >= g.bytes && now-n < g.bytes {
		close(g.reached)
	}
}
