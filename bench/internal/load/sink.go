//go:build linux

package load

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// receiveSize is the most that a sink takes from a socket at once.
const receiveSize = 1 << 20

// sinkRole listens, says "listening" with its addresses, and discards what comes. It answers "expect N" with "expecting" at once
// and "reached" when N bytes are there, and "total" with "total BYTES LINES ODD": lines and odd ones are counted with -verify only.
func sinkRole(o Options, in *bufio.Scanner, say func(string, ...any)) error {
	s := &sink{line: o.size, verify: o.verify, tls: o.serverTLS(), say: say}
	var addrs []string
	for range o.ports {
		ln, err := Listen(AnyPort)
		if err != nil {
			return err
		}
		addrs = append(addrs, ln.Addr().String())
		go s.accept(ln)
	}
	say("listening %s", strings.Join(addrs, " "))
	return s.obey(in, say)
}

// AnyPort is an address on the loopback whose port the kernel chooses.
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
	say    func(format string, args ...any)

	bytes, lines, odd atomic.Int64
	goal              atomic.Pointer[goal]
}

// goal is a number of bytes that somebody waits for.
type goal struct {
	bytes   int64
	reached chan struct{}
}

func (s *sink) obey(in *bufio.Scanner, say func(string, ...any)) error {
	for in.Scan() {
		var n int64
		switch _, err := fmt.Sscanf(in.Text(), "expect %d", &n); {
		case err == nil:
			g := &goal{n, make(chan struct{})}
			s.goal.Store(g)
			say("expecting")
			if s.bytes.Load() < n { // nothing is on its way yet: see add
				<-g.reached
			}
			say("reached")
		case in.Text() == "total":
			say("total %d %d %d", s.bytes.Load(), s.lines.Load(), s.odd.Load())
		default:
			return fmt.Errorf("unknown command %q", in.Text())
		}
	}
	return nil
}

func (s *sink) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go s.receive(c.(*net.TCPConn))
	}
}

func (s *sink) receive(c *net.TCPConn) {
	defer c.Close()
	switch {
	case s.tls != nil:
		s.receiveTLS(c)
	case s.verify:
		s.look(c)
	default:
		s.discard(c)
	}
}

func (s *sink) receiveTLS(c *net.TCPConn) {
	secure := tls.Server(c, s.tls)
	defer secure.Close()
	if err := secure.Handshake(); err != nil {
		return // the proxy was only tried
	}
	if err := agreed(secure.ConnectionState()); err != nil {
		s.say("error %v", err)
		return
	}
	if s.verify {
		s.look(secure)
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

// discard lets the kernel throw away what it would otherwise copy: MSG_TRUNC does so on TCP sockets.
func (s *sink) discard(c *net.TCPConn) {
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, receiveSize) // its length counts, nothing is written to it
	for {
		var n int
		var failed error
		err := raw.Read(func(fd uintptr) bool {
			n, _, failed = unix.Recvfrom(int(fd), buf, unix.MSG_TRUNC)
			return failed != unix.EAGAIN && failed != unix.EINTR
		})
		if err != nil || failed != nil || n == 0 {
			return
		}
		s.add(int64(n))
	}
}

// look counts lines, and among them those that are not as they were composed.
func (s *sink) look(c net.Conn) {
	r := bufio.NewReaderSize(c, receiveSize)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			s.lines.Add(1)
			if len(line) != s.line || line[0] != '{' || !bytes.HasSuffix(line, []byte("\"}\n")) {
				s.odd.Add(1)
			}
			s.add(int64(len(line)))
		}
		if err != nil {
			return
		}
	}
}

func (s *sink) add(n int64) {
	now := s.bytes.Add(n)
	if g := s.goal.Load(); g != nil && now >= g.bytes && now-n < g.bytes {
		close(g.reached)
	}
}
