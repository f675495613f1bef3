//go:build linux

package load

import (
	"bufio"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A numbered line is a stamped line that carries its number in place of a time.

// numberRole connects and replies "connected". From "go" on, which it answers with "going", it
// writes numbered lines, one in each call and on its connections in turn, and keeps the connections
// open. It answers "written" with "written N", the number of lines so far.
func numberRole(o Options, in *bufio.Scanner, reply Reply) error {
	conns, err := connect(o.To, o.conns, nil)
	if err != nil {
		return err
	}
	reply("connected")
	var written atomic.Int64
	for in.Scan() {
		switch in.Text() {
		case "go":
			go writeNumbered(conns, o.size, o.conns*o.count, &written)
			reply("going")
		case "written":
			reply("written %d", written.Load())
		default:
			return fmt.Errorf("unknown command %q", in.Text())
		}
	}
	return nil
}

// writeNumbered writes lines until a write fails, as it does when the proxy is killed.
func writeNumbered(conns []net.Conn, size, lines int, written *atomic.Int64) {
	line := stampedLine(size)
	head := make([]byte, 0, len(line))
	for n := range lines {
		head = fmt.Appendf(head[:0], stampFormat, n)
		copy(line, head)
		if _, err := conns[n%len(conns)].Write(line); err != nil {
			return
		}
		written.Add(1)
	}
}

// tallyRole replies "listening" with its addresses, refuses connections until "open", which it
// answers with "opened", and counts the numbered lines that it receives then. It answers "total"
// with "total DISTINCT AGAIN ALTERED". -conns and -count are those of the sender.
func tallyRole(o Options, in *bufio.Scanner, reply Reply) error {
	t := &tally{size: o.size, seen: make([]bool, o.conns*o.count)}
	var addrs []string
	for range o.ports {
		fd, addr, err := bindNonblocking(AnyPort)
		if err != nil {
			return err
		}
		t.sockets, addrs = append(t.sockets, fd), append(addrs, addr)
	}
	reply("listening %s", strings.Join(addrs, " "))
	for in.Scan() {
		switch in.Text() {
		case "open":
			if err := t.open(); err != nil {
				return err
			}
			reply("opened")
		case "total":
			t.mu.Lock()
			reply("total %d %d %d", t.distinct, t.again, t.altered)
			t.mu.Unlock()
		default:
			return fmt.Errorf("unknown command %q", in.Text())
		}
	}
	return nil
}

// tally counts numbered lines. Its goroutines end with the process.
type tally struct {
	size    int   // bytes of a line
	sockets []int // that do not listen yet

	mu                       sync.Mutex // guards the fields below
	seen                     []bool     // by number
	distinct, again, altered int
}

// open listens and accepts connections.
func (t *tally) open() error {
	for _, fd := range t.sockets {
		if err := unix.Listen(fd, unix.SOMAXCONN); err != nil {
			return err
		}
		f := os.NewFile(uintptr(fd), "listener")
		ln, err := net.FileListener(f)
		f.Close() // ln has a descriptor of its own
		if err != nil {
			return err
		}
		go t.accept(ln)
	}
	t.sockets = nil
	return nil
}

func (t *tally) accept(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		go t.receive(c)
	}
}

// receive counts the whole lines of a connection. The begin of a line at its end does not count:
// the proxy was killed while it wrote the line.
func (t *tally) receive(c net.Conn) {
	defer c.Close()
	for r := bufio.NewReaderSize(c, maxReceive); ; {
		line, err := r.ReadSlice('\n')
		if err != nil {
			return
		}
		t.add(line)
	}
}

func (t *tally) add(line []byte) {
	n := t.number(line)
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case n < 0:
		t.altered++
	case t.seen[n]:
		t.again++
	default:
		t.seen[n] = true
		t.distinct++
	}
}

// number returns the number of a line, or -1 if the line is not as it was sent.
func (t *tally) number(line []byte) int {
	if len(line) != t.size {
		return -1
	}
	n, err := stamp(line)
	if err != nil || n < 0 || int(n) >= len(t.seen) {
		return -1
	}
	return int(n)
}
