package relay

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testcert"
	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// smallWindow makes the connections of a listener, or a dialled one, take few bytes before they are
// read, so that the rest waits in the sender's queue.
func smallWindow(_, _ string, rc syscall.RawConn) (err error) {
	rc.Control(func(fd uintptr) { err = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 32<<10) })
	return err
}

func listenSlowly(t testing.TB) net.Listener {
	t.Helper()
	ln, err := (&net.ListenConfig{Control: smallWindow}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	must(t, err)
	return ln
}

// deliveryTest is a sender that breaks off while the receiver has not read yet.
type deliveryTest struct {
	sender, receiver string // tcp or tls
	toTarget         bool   // the client sends
	reset            bool   // the sender ends by a reset, not by a FIN without close_notify
}

func (test deliveryTest) String() string {
	return fmt.Sprintf("%s to %s, to target %v, reset %v", test.sender, test.receiver, test.toTarget, test.reset)
}

// A client sent 8 MiB over TLS to a slow target and ended by a FIN without close_notify. The target
// got 4.5 MB, and the access log had 8 MiB: the reset that told the target of the broken stream
// discarded the bytes that the kernel had not yet sent.
func TestBytesBeforeABreakAreDelivered(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, toTarget := range []bool{true, false} {
		for _, test := range []deliveryTest{
			{"tls", "tcp", toTarget, false},
			{"tls", "tls", toTarget, false},
			{"tcp", "tcp", toTarget, true},
			{"tcp", "tls", toTarget, true},
		} {
			t.Run(test.String(), func(t *testing.T) { t.Parallel(); test.run(t, certs) })
		}
	}
}

func (test deliveryTest) run(t *testing.T, certs testcert.Files) {
	const size = 1 << 20
	p := newPeers(t, certs, test.toTarget, test.sender, test.receiver)
	go io.Copy(io.Discard, p.sender) // as an open browser would, so that a reset is noticed
	_, err := p.sender.Write(make([]byte, size))
	must(t, err)
	p.waitForBytes(size)
	socket := bare(p.sender)
	if test.reset {
		socket.SetLinger(0)
		socket.Close()
	} else {
		socket.CloseWrite()
	}
	eventually(t, "the break is noticed", p.broken)
	got, err := io.Copy(io.Discard, p.receiver)
	if got != size || err == nil {
		t.Errorf("%d of %d bytes arrived, and then %v; want all and then an error", got, size, err)
	}
	rec := p.log.one(t)
	carried, want := rec.BytesIn, "client-reset"
	if !test.toTarget {
		carried, want = rec.BytesOut, "target-reset"
	}
	if rec.End != want || carried > size || carried < size-size/100 {
		t.Errorf("%+v, want %s after %d bytes", rec, want, size)
	}
}

// peers are a sender and a receiver with a relay between them. The receiver's window is small.
type peers struct {
	*rig
	sender, receiver net.Conn
	toTarget         bool
}

func newPeers(t *testing.T, certs testcert.Files, toTarget bool, sender, receiver string) *peers {
	t.Helper()
	clientScheme, targetScheme := sender, receiver
	if !toTarget {
		clientScheme, targetScheme = receiver, sender
	}
	accepted, done := make(chan net.Conn, 1), make(chan struct{})
	s := serveAt(t, listenSlowly(t), func(c net.Conn) {
		if targetScheme == "tls" {
			c = tls.Server(c, certs.ServerTLS())
			must(t, c.(*tls.Conn).Handshake())
		}
		accepted <- c
		<-done
	})
	t.Cleanup(func() { close(done) })
	ln, _ := listenAs(t, clientScheme, certs)
	o := Options{Tuning: Tuning{DialOptions: target.Options{TLS: func() *tls.Config { return certs.ClientTLS() }}}}
	r := startAt(t, ln, o, targetScheme+"://"+s.Addr().String())
	nc, err := (&net.Dialer{Control: smallWindow}).Dial("tcp", ln.Addr().String())
	must(t, err)
	t.Cleanup(func() { nc.Close() })
	client := nc
	if clientScheme == "tls" {
		config := certs.ClientTLS()
		config.ServerName = "localhost"
		client = tls.Client(nc, config)
		must(t, client.(*tls.Conn).Handshake())
	}
	p := &peers{rig: r, sender: client, receiver: <-accepted, toTarget: toTarget}
	if !toTarget {
		p.sender, p.receiver = p.receiver, p.sender
	}
	return p
}

// waitForBytes waits until the relay has written n bytes to the receiver's socket.
func (p *peers) waitForBytes(n uint64) {
	p.t.Helper()
	eventually(p.t, "all bytes are on their way", func() bool {
		s := p.Stats().Targets[0]
		return p.toTarget && s.BytesIn == n || !p.toTarget && s.BytesOut == n
	})
}

// broken reports whether the connection has a reason to end.
func (p *peers) broken() bool {
	for _, s := range p.states() {
		return s.why != traffic.NotEnded
	}
	return true
}

// bare returns the socket of a connection.
func bare(c net.Conn) *net.TCPConn {
	if t, ok := c.(*tls.Conn); ok {
		c = t.NetConn()
	}
	return c.(*net.TCPConn)
}

// A client that has sent all and closed, while the target still sends, is a usual end: the client's
// kernel answers what the target sends by a reset. It does not wait for a target that reads slowly.
func TestBytesOfAClientThatIsGoneAreDelivered(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	p := newPeers(t, testcert.Files{}, true, "tcp", "tcp")
	_, err := p.sender.Write(make([]byte, size))
	must(t, err)
	p.waitForBytes(size)
	p.sender.Close()
	eventually(t, "the end is noticed", func() bool { return p.states()[0].first != traffic.NotEnded })
	answers := make(chan error, 1)
	go func() { // a target that writes before it reads
		var err error
		for b := make([]byte, 64<<10); err == nil; _, err = p.receiver.Write(b) {
		}
		answers <- err
	}()
	eventually(t, "the client refuses", func() bool {
		all := p.states()
		return len(all) == 0 || all[0].clientRefuses || all[0].why != traffic.NotEnded
	})
	if got, err := io.Copy(io.Discard, p.receiver); got != size {
		t.Errorf("%d of %d bytes arrived, %v", got, size, err)
	}
	if err := <-answers; err == nil {
		t.Error("the target's writes have not ended")
	}
	if rec := p.log.one(t); rec.BytesIn != size {
		t.Errorf("%+v, want %d bytes in", rec, size)
	}
}

// A target that goes out of use is reset at once; its client still gets what it had sent.
func TestReplyBeforeTheTargetIsOutOfUseIsDelivered(t *testing.T) {
	t.Parallel()
	const size = 1 << 20
	p := newPeers(t, testcert.Files{}, false, "tcp", "tcp")
	p.Tune(Tuning{ResetOnDown: true})
	_, err := p.sender.Write(make([]byte, size))
	must(t, err)
	p.waitForBytes(size)
	p.Targets()[0].CheckedDown(io.EOF)
	eventually(t, "the target's end is noticed", p.broken)
	if got, err := io.Copy(io.Discard, p.receiver); got != size || !isReset(err) {
		t.Errorf("%d of %d bytes arrived, and then %v", got, size, err)
	}
	if rec := p.log.one(t); rec.End != "target-down" || rec.BytesOut != size {
		t.Errorf("%+v", rec)
	}
}

// What a peer has not taken when the connection is reset did not arrive: the access log does not
// count it, and nothing waits for it longer than -linger-timeout.
func TestAccessLogCountsWhatArrived(t *testing.T) {
	const size = 1 << 20
	for name, end := range map[string]func(*peers){
		"linger-timeout after a break": func(p *peers) { bare(p.sender).SetLinger(0); p.sender.Close() },
		"the target resets":            func(p *peers) { bare(p.receiver).SetLinger(0); p.receiver.Close() },
		"the hard end":                 func(p *peers) { p.hard() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeers(t, testcert.Files{}, true, "tcp", "tcp")
			p.Tune(Tuning{LingerTimeout: 300 * time.Millisecond})
			_, err := p.sender.Write(make([]byte, size))
			must(t, err)
			p.waitForBytes(size)
			end(p)
			p.sender.SetReadDeadline(time.Now().Add(30 * time.Second))
			io.Copy(io.Discard, p.sender)
			rec := p.log.one(t)
			if rec.BytesIn == 0 || rec.BytesIn > size/2 {
				t.Errorf("%+v: %d bytes in, though the target has read none and its window is small", rec, rec.BytesIn)
			}
			if n := p.Stats().DiscardedIn; n != uint64(size-rec.BytesIn) {
				t.Errorf("%d bytes discarded, want %d", n, size-rec.BytesIn)
			}
		})
	}
}

// A peer that reads slowly is not silent, even if the other side has nothing more to send.
func TestSlowReaderIsNotSilent(t *testing.T) {
	const size, timeout = 1 << 20, 2 * time.Second
	for name, set := range map[string]Tuning{
		"idle":   {IdleTimeout: timeout},
		"linger": {LingerTimeout: timeout},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newPeers(t, testcert.Files{}, true, "tcp", "tcp")
			p.Tune(set)
			_, err := p.sender.Write(make([]byte, size))
			must(t, err)
			if name == "linger" {
				bare(p.sender).CloseWrite()
			}
			p.waitForBytes(size)
			got := 0
			for b := make([]byte, size/16); err == nil && got < size; { // 4 s in all
				time.Sleep(timeout / 8)
				var n int
				n, err = io.ReadFull(p.receiver, b)
				got += n
			}
			if got != size {
				t.Errorf("%d of %d bytes arrived, %v; %+v", got, size, err, p.log.get())
			}
		})
	}
}
