//go:build linux

package e2e

import (
	"bytes"
	"fmt"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/simulate/sink"
	"linesplit/internal/testrig"
)

// keyLedger judges the order in which targets read lines "KEY NUMBER ...". One lock is held across
// each read and its judgement, so its order is that of the reads.
type keyLedger struct {
	t *testing.T

	mu     sync.Mutex // guards the fields below
	keys   map[string]*keyState
	faults int
	again  int // lines that came a second time
	late   int // lines that were read from a connection that linesplit had reset, after they had gone elsewhere
	total  int // lines that came, those included
}

type keyState struct {
	conn *keyConn // that had the last line
	last int      // number of that line
	high int      // greatest number so far
}

// line judges one line that was read over c.
func (l *keyLedger) line(c *keyConn, line []byte) {
	var key string
	var n int
	if _, err := fmt.Sscanf(string(line), "%s %d", &key, &n); err != nil {
		l.fault("a torn line at %s: %q", c.at.Target(), line)
		return
	}
	l.total++
	k := l.keys[key]
	if k == nil {
		k = &keyState{}
		l.keys[key] = k
	}
	switch {
	case c.left[key] && c.isReset():
		l.late++ // the target had stalled
		return
	case c.left[key] && n == k.high+1: // back behind its own last line
		delete(c.left, key)
	case c.left[key]:
		l.fault("%s %d comes over a connection to %s that its key had left", key, n, c.at.Target())
	case k.conn == c && n != k.last+1:
		l.fault("%s %d comes behind %d", key, n, k.last)
	case n > k.high+1:
		l.fault("%s %d overtakes %d", key, n, k.high+1)
	}
	if k.conn != nil && k.conn != c {
		k.conn.left[key] = true
	}
	if n <= k.high {
		l.again++
	}
	k.conn, k.last, k.high = c, n, max(k.high, n)
}

func (l *keyLedger) fault(format string, args ...any) {
	if l.faults++; l.faults <= 10 {
		l.t.Errorf(format, args...)
	}
}

// has reports whether each key has come up to its number.
func (l *keyLedger) has(sent map[string]int) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for key, n := range sent {
		if k := l.keys[key]; k == nil || k.high != n {
			return false
		}
	}
	return true
}

func (l *keyLedger) lines() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.total
}

// flow waits until more lines have come to a target, or to all together if it is nil.
func (l *keyLedger) flow(what string, x *keyTarget, n int) {
	l.t.Helper()
	count := l.lines
	if x != nil {
		count = func() int { return int(x.got.Load()) }
	}
	from := count()
	testrig.WaitFor(l.t, "lines "+what, func() bool { return count() >= from+n })
}

// keyTarget is a target whose lines a keyLedger judges.
type keyTarget struct {
	testrig.HostPort
	ledger   *keyLedger
	stall    atomic.Bool
	got      atomic.Int64 // lines
	accepted atomic.Int64 // connections

	ln    net.Listener
	mu    sync.Mutex // guards conns
	conns map[*keyConn]bool
	wg    sync.WaitGroup
}

type keyConn struct {
	*net.TCPConn
	at   *keyTarget
	left map[string]bool // keys that have gone elsewhere
	part []byte          // of the unfinished line
	fd   int             // while it is being read
}

// isReset reports whether linesplit has given up the connection: what is left to read has been
// taken back.
func (c *keyConn) isReset() bool {
	info, err := unix.GetsockoptTCPInfo(c.fd, unix.SOL_TCP, unix.TCP_INFO)
	return err == nil && info.State == unix.BPF_TCP_CLOSE
}

func startKeyTarget(t *testing.T, l *keyLedger) *keyTarget {
	x := &keyTarget{HostPort: testrig.FreeHostPort(t), ledger: l, conns: map[*keyConn]bool{}}
	x.start()
	t.Cleanup(x.kill)
	return x
}

// start listens.
func (x *keyTarget) start() {
	ln, err := net.Listen("tcp", string(x.HostPort))
	if err != nil {
		x.ledger.t.Fatal(err)
	}
	x.ln = ln
	x.stall.Store(false)
	x.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			x.accepted.Add(1)
			k := &keyConn{TCPConn: c.(*net.TCPConn), at: x, left: map[string]bool{}}
			x.mu.Lock()
			x.conns[k] = true
			x.mu.Unlock()
			x.wg.Go(func() { k.serve() })
		}
	})
}

// serve reads until the connection ends.
func (c *keyConn) serve() {
	defer func() {
		c.Close()
		c.at.mu.Lock()
		delete(c.at.conns, c)
		c.at.mu.Unlock()
	}()
	raw, err := c.SyscallConn()
	if err != nil {
		return
	}
	buf := make([]byte, 16<<10)
	for {
		n := 0
		failed := raw.Read(func(fd uintptr) bool {
			if c.at.stall.Load() {
				return true
			}
			c.at.ledger.mu.Lock()
			defer c.at.ledger.mu.Unlock()
			c.fd = int(fd)
			n, err = syscall.Read(c.fd, buf)
			if n > 0 {
				c.take(buf[:n])
			}
			return err != syscall.EAGAIN
		})
		switch {
		case failed != nil:
			return
		case c.at.stall.Load():
			time.Sleep(10 * time.Millisecond)
		case err != nil || n == 0:
			return
		}
	}
}

func (c *keyConn) take(b []byte) {
	c.part = append(c.part, b...)
	for {
		line, rest, found := bytes.Cut(c.part, []byte{'\n'})
		if !found {
			break
		}
		c.at.ledger.line(c, line)
		c.at.got.Add(1)
		c.part = rest
	}
	c.part = append([]byte(nil), c.part...)
}

// end closes the listener, calls do for each connection, and waits until all have ended.
func (x *keyTarget) end(do func(c *keyConn)) {
	sink.CloseListener(x.ln)
	x.mu.Lock()
	for c := range x.conns {
		do(c)
	}
	x.mu.Unlock()
	x.wg.Wait()
}

// shutDown ends in order: it sends a FIN, reads on until linesplit's, and closes.
func (x *keyTarget) shutDown() { x.end(func(c *keyConn) { c.CloseWrite() }) }

// kill resets all connections, whatever has not been read.
func (x *keyTarget) kill() {
	x.end(func(c *keyConn) {
		c.SetLinger(0)
		c.Close()
	})
}

// sendKeys writes lines of the sender's own keys, one of each in turn, until stop is closed, and
// adds to sent how many of each there were.
func sendKeys(t *testing.T, addr string, sender, keys int, stop <-chan struct{}, note func(key string, n int)) {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return
	}
	defer c.Close()
	var b []byte
	for n := 1; ; n++ {
		for first := 0; first < keys; first += 50 {
			b = b[:0]
			for k := first; k < min(first+50, keys); k++ {
				key := fmt.Sprintf("k%d-%d", sender, k)
				b = fmt.Appendf(b, "%s %d some text of a line that is not very long\n", key, n)
				note(key, n)
			}
			if _, err := c.Write(b); err != nil {
				t.Error(err)
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		select {
		case <-stop:
			return
		default:
		}
	}
}
