//go:build linux

package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// blockSize is how many bytes go into one write, rounded down to whole lines.
const blockSize = 300 << 10

// blockLines is how many lines of so many bytes go into one write.
func blockLines(size int) int { return max(blockSize/size, 1) }

// receiveSize is the most that a sink takes from a socket at once.
const receiveSize = 1 << 20

// compose returns n lines of exactly size bytes, each a JSON object with its newline.
func compose(n, size int) []byte {
	block := make([]byte, 0, n*size)
	for i := range n {
		start := len(block)
		block = fmt.Appendf(block, `{"ts":1718040000.%06d,"uid":"C%012x",`, i, i*7919)
		if size >= 200 {
			block = fmt.Appendf(block, `"id.orig_h":"10.1.%d.%d","proto":"tcp","service":"ssl",`, i/256%256, i%256)
		}
		block = append(block, `"note":"`...)
		for len(block)-start < size-3 {
			block = append(block, "abcdefghijklmnopqrstuvwxyz0123456789 "[len(block)%37])
		}
		block = append(block, "\"}\n"...)
	}
	return block
}

// sendRole connects, says "connected", and on "go" writes its bytes at full speed, closes, and says "sent".
func sendRole(o roleOptions, in *bufio.Scanner, say func(string, ...any)) error {
	all, err := connect(o.to, o.conns, o.clientTLS())
	if err != nil {
		return err
	}
	say("connected")
	in.Scan()
	if err := sendAll(all, o.bytes/int64(o.size), o.size); err != nil {
		return err
	}
	say("sent")
	in.Scan()
	return nil
}

// connect opens n connections, to the addresses in turn, through TLS if there is a config.
func connect(to []string, n int, config *tls.Config) ([]net.Conn, error) {
	var all []net.Conn
	for i := range n {
		c, err := dialSender(to[i%len(to)], config)
		if err != nil {
			return nil, err
		}
		all = append(all, c)
	}
	return all, nil
}

// sendAll spreads lines evenly over connections, all at once, and closes them.
func sendAll(conns []net.Conn, lines int64, size int) error {
	block := compose(blockLines(size), size)
	var wg sync.WaitGroup
	errs := make(chan error, len(conns))
	for i, c := range conns {
		share := lines / int64(len(conns))
		if int64(i) < lines%int64(len(conns)) {
			share++
		}
		wg.Go(func() { errs <- send(c, block, share*int64(size)) })
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func send(c net.Conn, block []byte, bytes int64) error {
	for bytes > 0 {
		n, err := c.Write(block[:min(int64(len(block)), bytes)])
		if err != nil {
			return err
		}
		bytes -= int64(n)
	}
	return c.Close()
}

// sinkRole listens, says "listening" with its addresses, and discards what comes. It answers "expect N" with "expecting" at once
// and "reached" when N bytes are there, and "total" with "total BYTES LINES ODD": lines and odd ones are counted with -verify only.
func sinkRole(o roleOptions, in *bufio.Scanner, say func(string, ...any)) error {
	s := &sink{line: o.size, verify: o.verify, tls: o.serverTLS(), say: say}
	var addrs []string
	for range o.ports {
		ln, err := listen(anyPort)
		if err != nil {
			return err
		}
		addrs = append(addrs, ln.Addr().String())
		go s.accept(ln)
	}
	say("listening %s", strings.Join(addrs, " "))
	return s.obey(in, say)
}

// anyPort is an address on the loopback whose port the kernel chooses.
const anyPort = "127.0.0.1:0"

// listen listens without MPTCP, as the proxies do.
func listen(addr string) (net.Listener, error) {
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
