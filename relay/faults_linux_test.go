package relay

import (
	"bytes"
	"io"
	"net"
	"sync"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/loop"
	"linesplit/target"
)

// A target may reply and end before it has read the whole request. A client that is still sending
// gets the complete reply, however slowly it reads.
func TestReplyBeforeTheEndOfTheRequestIsComplete(t *testing.T) {
	reply := bytes.Repeat([]byte("no "), 1<<18)
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			address := "127.0.0.1:0"
			if network == "unix" {
				address = socketPath(t)
			}
			s := serveAt(t, listenAt(t, network, address), func(c net.Conn) {
				io.ReadFull(c, make([]byte, 100))
				c.Write(reply)
				c.(interface{ CloseWrite() error }).CloseWrite()
				for unacknowledged(t, c) > 0 { // closing with unread bytes would cause a reset
					c.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
					discard(c)
				}
				c.(interface{ CloseRead() error }).CloseRead() // a Unix socket takes no more from now on
				c.SetReadDeadline(time.Time{})
				discard(c)
			})
			r := start(t, Options{}, s.name())
			c := r.dial()
			c.(*net.TCPConn).SetReadBuffer(64 << 10)
			var sending sync.WaitGroup
			sending.Go(func() {
				for b := make([]byte, 1000); ; time.Sleep(time.Millisecond) {
					if _, err := c.Write(b); err != nil {
						return
					}
				}
			})
			var got bytes.Buffer
			for n := int64(32 << 10); ; {
				m, err := io.CopyN(&got, c, n)
				if m < n || err != nil {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if !bytes.Equal(got.Bytes(), reply) {
				t.Errorf("got %d of %d bytes", got.Len(), len(reply))
			}
			c.Close()
			sending.Wait()
			if rec := r.log.one(t); rec.End != "target-closed" {
				t.Errorf("%+v", rec)
			}
		})
	}
}

// unacknowledged returns how many bytes the kernel has yet to get across to the peer: to its kernel
// over TCP, to its application over a Unix socket.
func unacknowledged(t *testing.T, c net.Conn) (n int) {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	must(t, err)
	if failed := raw.Control(func(fd uintptr) { n, err = loop.Unacknowledged(int(fd)) }); failed != nil || err != nil {
		t.Errorf("%v, %v", failed, err)
		return 0
	}
	return n
}

// unanswering returns the address of a listener whose backlog is full, so that connects get no
// answer.
func unanswering(t *testing.T) string {
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	must(t, err)
	t.Cleanup(func() { syscall.Close(fd) })
	must(t, syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}))
	must(t, syscall.Listen(fd, 0))
	sa, err := syscall.Getsockname(fd)
	must(t, err)
	addr := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: sa.(*syscall.SockaddrInet4).Port}
	dialTo(t, addr)
	return "tcp://" + addr.String()
}

func TestTargetThatDoesNotAnswerLeavesTimeForOthers(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{DialBudget: 5 * time.Second}}, unanswering(t), s.name())
	for range 2 {
		c := r.dial()
		exchange(t, c, "hello")
		c.Close()
	}
	if n := r.Stats().Targets[0].DialErrors; n == 0 {
		t.Error("the target that does not answer was never tried")
	}
}

func TestWaitingInTheQueueTakesNoDialBudget(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	o := Options{Tuning: Tuning{DialBudget: 3 * time.Second, QueueTimeout: time.Minute}} // a slow machine connects within it
	r := start(t, o, refusing(t), s.name()+"?max-connections=1")
	first := r.dial()
	exchange(t, first, "hello")
	second := r.dial()
	eventually(t, "in the queue", func() bool { return r.Stats().Waiting == 1 })
	time.Sleep(o.DialBudget + o.DialBudget/10)
	s.Listener.(*net.TCPListener).SetDeadline(time.Now()) // Accept fails from now on, but connecting works
	first.Close()
	eventually(t, "connected", func() bool { return r.Stats().Targets[1].Total == 2 })
	second.Close()
	if n := r.Stats().Targets[1].DialErrors; n != 0 {
		t.Errorf("%d errors", n)
	}
}

func TestVeryShortDialDoesNotMarkTheTargetDown(t *testing.T) {
	r := New(Options{Targets: []*target.Target{newTarget(t, unanswering(t))}})
	p := r.backends.Streams.All()[0]
	if _, err := r.backends.Dial(t.Context(), p, nil, time.Millisecond); err == nil || p.Target.Down() {
		t.Errorf("%v, down: %v", err, p.Target.Down())
	}
}
