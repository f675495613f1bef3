package relay

import (
	"bytes"
	"crypto/rand"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// TestHalfClose: the reply to a client that has ended comes through whole, on every kind of path.
func TestHalfClose(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	for _, in := range []string{"tcp", "tls", "unix"} {
		for _, out := range []string{"tcp", "tls", "unix"} {
			t.Run(in+" to "+out, func(t *testing.T) {
				o := Options{}
				o.DialOptions.TLS = func() *tls.Config { return certs.ClientTLS() }
				s, name := listenAs(t, out, certs)
				serveAt(t, s, echoAtEnd)
				ln, _ := listenAs(t, in, certs)
				r := startAt(t, ln, o, name)
				var all sync.WaitGroup
				for _, size := range []int{0, 1, 100, 4 << 10, 32<<10 - 1, 32 << 10, 32<<10 + 1, 1 << 20, 5<<20 + 7} {
					all.Go(func() { roundTrip(t, connectAs(t, in, ln, certs), size) })
				}
				all.Wait()
				eventually(t, "all ended", func() bool { return len(r.log.get()) == 9 })
				for _, rec := range r.log.get() {
					if rec.End != "client-closed" || rec.BytesIn != rec.BytesOut || rec.Target != name || rec.Dials != 1 {
						t.Errorf("%+v", rec)
					}
				}
			})
		}
	}
}

func listenAs(t *testing.T, scheme string, certs testcert.Files) (net.Listener, string) {
	switch scheme {
	case "unix":
		path := socketPath(t)
		return listenAt(t, "unix", path), "unix://" + path
	case "tls":
		ln := listenAt(t, "tcp", "127.0.0.1:0")
		return watchedListener{ln, certs.ServerTLS()}, "tls://" + ln.Addr().String()
	}
	ln := listenAt(t, "tcp", "127.0.0.1:0")
	return ln, "tcp://" + ln.Addr().String()
}

func connectAs(t *testing.T, scheme string, ln net.Listener, certs testcert.Files) net.Conn {
	c := dialTo(t, ln.Addr())
	if scheme == "tls" {
		config := certs.ClientTLS()
		config.ServerName = "localhost"
		return tls.Client(c, config)
	}
	return c
}

func roundTrip(t *testing.T, c net.Conn, size int) {
	defer c.Close()
	sent := make([]byte, size)
	rand.Read(sent)
	if _, err := c.Write(sent); err != nil {
		t.Errorf("%d bytes: %v", size, err)
		return
	}
	c.(interface{ CloseWrite() error }).CloseWrite()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes: %d came back, %v", size, len(got), err)
	}
}

// watchedListener gives TLS connections over sockets that remember their end.
type watchedListener struct {
	net.Listener
	config *tls.Config
}

func (l watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(&watched{TCPConn: c.(*net.TCPConn)}, l.config), nil
}

type watched struct {
	*net.TCPConn
	ended bool
}

func (w *watched) Read(b []byte) (int, error) {
	n, err := w.TCPConn.Read(b)
	if err == io.EOF {
		w.ended = true
	}
	return n, err
}

func (w *watched) NetConn() net.Conn { return w.TCPConn }
func (w *watched) Ended() bool       { return w.ended }

// TestTargetEndsFirst: and the client may go on for a while.
func TestTargetEndsFirst(t *testing.T) {
	got := make(chan string, 1)
	s := serve(t, func(c net.Conn) {
		c.Write([]byte("bye"))
		c.(*net.TCPConn).CloseWrite()
		b, _ := io.ReadAll(c)
		got <- string(b)
	})
	r := start(t, Options{}, s.name())
	c := r.dial()
	if b, err := io.ReadAll(c); string(b) != "bye" || err != nil {
		t.Fatalf("%q, %v", b, err)
	}
	c.Write([]byte("one more thing"))
	c.Close()
	if g := <-got; g != "one more thing" {
		t.Errorf("the target got %q", g)
	}
	if rec := r.log.one(t); rec.End != "target-closed" || rec.BytesIn != 14 || rec.BytesOut != 3 {
		t.Errorf("%+v", rec)
	}
}

// TestTargetReset: in mid-transfer, and again with the client writing.
func TestTargetReset(t *testing.T) {
	for _, writing := range []bool{false, true} {
		t.Run(fmt.Sprint("writing ", writing), func(t *testing.T) {
			s := serve(t, func(c net.Conn) {
				c.Write(bytes.Repeat([]byte("x"), 100<<10))
				io.ReadFull(c, make([]byte, 1))
				c.(*net.TCPConn).SetLinger(0)
			})
			r := start(t, Options{}, s.name())
			c := r.dial()
			_, err := io.ReadFull(c, make([]byte, 100<<10))
			must(t, err)
			c.Write([]byte("x"))
			var w sync.WaitGroup
			var writeErr error
			if writing {
				w.Go(func() {
					for b := make([]byte, 1<<10); writeErr == nil; _, writeErr = c.Write(b) {
					}
				})
			}
			_, err = io.ReadAll(c)
			w.Wait()
			if !isReset(err) && !isReset(writeErr) { // a kernel tells of it once
				t.Errorf("the client got %v reading, %v writing", err, writeErr)
			}
			if rec := r.log.one(t); rec.End != "target-reset" {
				t.Errorf("%+v", rec)
			}
		})
	}
}

func TestClientReset(t *testing.T) {
	got := make(chan error, 1)
	s := serve(t, func(c net.Conn) {
		c.Write([]byte("x"))
		_, err := io.ReadAll(c)
		got <- err
	})
	r := start(t, Options{}, s.name())
	c := r.dial()
	io.ReadFull(c, make([]byte, 1))
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	if err := <-got; !isReset(err) {
		t.Errorf("the target got %v", err)
	}
	if rec := r.log.one(t); rec.End != "client-reset" {
		t.Errorf("%+v", rec)
	}
}

// TestTruncatedTLS: a FIN between two records, without close_notify, could have come from anybody.
func TestTruncatedTLS(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	got := make(chan error, 1)
	s := serve(t, func(c net.Conn) {
		_, err := io.ReadAll(c)
		got <- err
	})
	ln, _ := listenAs(t, "tls", certs)
	r := startAt(t, ln, Options{}, s.name())
	c := connectAs(t, "tls", ln, certs).(*tls.Conn)
	c.Write([]byte("some"))
	c.NetConn().Close()
	if err := <-got; !isReset(err) {
		t.Errorf("the target got %v", err)
	}
	if rec := r.log.one(t); rec.End != "client-reset" || rec.BytesIn != 4 {
		t.Errorf("%+v", rec)
	}
}

func TestHandshakeFails(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	s := serve(t, swallow)
	ln, _ := listenAs(t, "tls", certs)
	r := startAt(t, ln, Options{}, s.name())
	c := r.dial()
	c.Write([]byte("GET / HTTP/1.0\r\n\r\n"))
	io.ReadAll(c)
	if rec := r.log.one(t); rec.End != "handshake" {
		t.Errorf("%+v", rec)
	}
	if r.Stats().HandshakeErrors != 1 || r.refused("handshake") != 1 || s.accepted.Load() != 0 {
		t.Errorf("%+v", r.Stats())
	}
}

// TestRedispatch: with one target dead and others well, no client notices.
func TestRedispatch(t *testing.T) {
	dead := serve(t, echo)
	dead.Close()
	s := serve(t, echo)
	r := start(t, Options{}, dead.name(), s.name())
	for range 20 {
		c := r.dial()
		exchange(t, c, "hello")
		c.Close()
	}
	if n := r.Stats().Targets[0].DialErrors; n == 0 {
		t.Error("the dead target was never tried")
	}
}

// TestBackups serve only where no other is up.
func TestBackups(t *testing.T) {
	first, backup := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, first.name(), backup.name()+"?backup=true")
	for range 10 {
		exchange(t, r.dial(), "hello")
	}
	if n := backup.accepted.Load(); n != 0 {
		t.Errorf("the backup got %d", n)
	}
	first.Close()
	exchange(t, r.dial(), "hello")
	if n := backup.accepted.Load(); n != 1 {
		t.Errorf("then the backup got %d", n)
	}
}

// TestAllDown: clients are reset within the budget, and one that comes in time for a target's return is served.
func TestAllDown(t *testing.T) {
	t.Parallel()
	const budget = 3 * time.Second // a slow machine listens again within it
	path := socketPath(t)          // which nobody else takes meanwhile, as they may a port
	r := start(t, Options{Tuning: Tuning{DialBudget: budget}}, "unix://"+path)
	begin := time.Now()
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if took := time.Since(begin); took > budget+10*time.Second {
		t.Errorf("took %v", took)
	}
	rec := r.log.one(t)
	if rec.End != "dial-failed" || rec.Dials < 3 || rec.Target != "" || r.refused("no-target") != 1 {
		t.Errorf("%+v", rec)
	}
	c := r.dial()
	c.Write([]byte("early"))
	eventually(t, "a dial more", func() bool { return r.Stats().Targets[0].DialErrors > uint64(rec.Dials) })
	serveAt(t, listenAt(t, "unix", path), echo)
	b := make([]byte, 5)
	if _, err := io.ReadFull(c, b); err != nil || string(b) != "early" {
		t.Errorf("got %q, %v", b, err)
	}
	c.Close() // the server waits for it
}

// TestEjected: what a check has found to be down is not tried at all.
func TestEjected(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{}, s.name())
	r.Targets()[0].CheckedDown(io.EOF)
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "no-target" || rec.Dials != 0 || s.accepted.Load() != 0 {
		t.Errorf("%+v", rec)
	}
	r.Targets()[0].CheckedUp()
	exchange(t, r.dial(), "hello")
}

func TestResetOnDown(t *testing.T) {
	for _, reset := range []bool{false, true} {
		t.Run(fmt.Sprint(reset), func(t *testing.T) {
			a, b := serve(t, echo), serve(t, echo)
			r := start(t, Options{Tuning: Tuning{ResetOnDown: reset}}, a.name(), b.name())
			first, second := r.dial(), r.dial()
			exchange(t, first, "hello")
			exchange(t, second, "hello")
			if a.accepted.Load() != 1 {
				t.Fatal("not one each")
			}
			r.Targets()[0].CheckedDown(io.EOF)
			if reset {
				eventually(t, "a reset", func() bool { return len(r.log.get()) == 1 })
				if rec := r.log.one(t); rec.End != "target-down" || rec.Target != a.name() {
					t.Errorf("%+v", rec)
				}
			} else {
				time.Sleep(3 * watchInterval)
				exchange(t, first, "still there")
				exchange(t, second, "still there")
			}
		})
	}
}

// The news may come while a client is being connected to the target: after it was chosen, before there is a connection to reset.
func TestResetOnDownWhileDialling(t *testing.T) {
	certs := testcert.New(t, t.TempDir())
	release := make(chan struct{})
	s := serve(t, func(c net.Conn) {
		<-release
		echo(tls.Server(c, certs.ServerTLS()))
	})
	o := Options{Tuning: Tuning{ResetOnDown: true}}
	o.DialOptions.TLS = func() *tls.Config { return certs.ClientTLS() }
	r := start(t, o, "tls://"+s.Addr().String())
	c := r.dial()
	eventually(t, "a dial", func() bool { return s.accepted.Load() == 1 })
	r.Targets()[0].CheckedDown(io.EOF)
	time.Sleep(3 * watchInterval) // it has been noticed, and there was nothing to reset
	close(release)
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "target-down" {
		t.Errorf("%+v", rec)
	}
}

func TestIdleAndLinger(t *testing.T) {
	const timeout = 2 * time.Second // four times what the test sleeps: a starved machine sleeps longer
	t.Run("idle", func(t *testing.T) {
		t.Parallel()
		r := start(t, Options{Tuning: Tuning{IdleTimeout: timeout}}, serve(t, echo).name())
		c := r.dial()
		for range 6 { // for longer than the timeout
			exchange(t, c, "x")
			time.Sleep(timeout / 4)
		}
		begin := time.Now()
		wantReset(t, c)
		if took := time.Since(begin); took < timeout/2 {
			t.Errorf("took %v", took)
		}
		if rec := r.log.one(t); rec.End != "idle" {
			t.Errorf("%+v", rec)
		}
	})
	t.Run("one way", func(t *testing.T) { // activity in one direction keeps both
		t.Parallel()
		r := start(t, Options{Tuning: Tuning{IdleTimeout: timeout}}, serve(t, swallow).name())
		c := r.dial()
		for range 6 {
			c.Write([]byte("x"))
			time.Sleep(timeout / 4)
		}
		c.Close()
		if rec := r.log.one(t); rec.End != "client-closed" || rec.BytesIn != 6 {
			t.Errorf("%+v", rec)
		}
	})
	t.Run("stuck", func(t *testing.T) { // a receiver that does not read is idle, too
		hold := make(chan struct{})
		s := serve(t, func(net.Conn) { <-hold })
		r := start(t, Options{Tuning: Tuning{IdleTimeout: 200 * time.Millisecond}}, s.name())
		c := r.dial()
		b := make([]byte, 1<<20)
		for {
			if _, err := c.Write(b); err != nil {
				break
			}
		}
		if rec := r.log.one(t); rec.End != "idle" {
			t.Errorf("%+v", rec)
		}
		close(hold)
	})
	t.Run("linger", func(t *testing.T) {
		hold := make(chan struct{})
		s := serve(t, func(c net.Conn) { swallow(c); <-hold })
		r := start(t, Options{Tuning: Tuning{LingerTimeout: 200 * time.Millisecond}}, s.name())
		c := r.dial()
		c.(*net.TCPConn).CloseWrite()
		if _, err := io.ReadAll(c); !isReset(err) {
			t.Errorf("got %v", err)
		}
		if rec := r.log.one(t); rec.End != "linger" {
			t.Errorf("%+v", rec)
		}
		close(hold)
	})
}

func TestLimits(t *testing.T) {
	s := serve(t, echo)
	for reason, tt := range map[string]struct {
		o    Options
		room int
	}{
		"limit":        {Options{Tuning: Tuning{MaxConnections: 2}}, 2},
		"client-limit": {Options{Tuning: Tuning{MaxConnectionsPerClient: 2}}, 2},
		"rate":         {Options{Tuning: Tuning{RatePerClient: 0.001}}, 1},
	} {
		t.Run(reason, func(t *testing.T) {
			r := start(t, tt.o, s.name())
			first := r.met()
			for range tt.room - 1 {
				r.met()
			}
			if err := r.refusal(); !isReset(err) {
				t.Errorf("got %v", err)
			}
			if rec := r.log.one(t); rec.End != reason || r.refused(reason) != 1 {
				t.Errorf("%+v", rec)
			}
			if first.Close(); reason == "rate" {
				return
			}
			eventually(t, "room", func() bool { return r.Stats().Active == 1 })
			exchange(t, r.dial(), "hello")
		})
	}
}

// TestQueue: who came first is served first, and who waits for too long is refused.
func TestQueue(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, s.name()+"?max-connections=1")
	last := r.dial()
	exchange(t, last, "hello")
	var waiting []net.Conn
	for i := range 5 {
		waiting = append(waiting, r.dial())
		eventually(t, "in the queue", func() bool { return r.Stats().Waiting == int64(i+1) })
	}
	for _, c := range waiting {
		if n := s.accepted.Load() + r.Stats().Waiting; n != 6 {
			t.Errorf("%d were let in or wait", n)
		}
		last.Close()
		exchange(t, c, "my turn")
		last = c
	}
}

func TestQueueTimeout(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: 100 * time.Millisecond}}, s.name()+"?max-connections=1")
	c := r.dial()
	exchange(t, c, "hello")
	if err := r.refusal(); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "queue-timeout" || r.refused("queue-timeout") != 1 {
		t.Errorf("%+v", rec)
	}
	exchange(t, c, "still there")
}

// TestQueueGone: the place of a client that has gone while it waited goes to the next.
func TestQueueGone(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, s.name()+"?max-connections=1")
	first := r.dial()
	exchange(t, first, "hello")
	gone, next := r.dial(), net.Conn(nil)
	eventually(t, "in the queue", func() bool { return r.Stats().Waiting == 1 })
	next = r.dial()
	eventually(t, "in the queue", func() bool { return r.Stats().Waiting == 2 })
	gone.(*net.TCPConn).SetLinger(0)
	gone.Close()
	first.Close()
	exchange(t, next, "my turn")
	if n := s.accepted.Load(); n != 2 {
		t.Errorf("the target got %d", n)
	}
}

func TestDrain(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{Drain: 3 * time.Second}}, s.name()) // a slow machine says something within it
	a, b := r.dial(), r.dial()
	exchange(t, a, "hello")
	exchange(t, b, "hello")
	r.soft()
	eventually(t, "nothing listens", func() bool {
		c, err := net.Dial("tcp", r.ln.Addr().String())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	exchange(t, a, "still there")
	a.Close()
	if _, err := io.ReadAll(b); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if err := <-r.ended; err != nil {
		t.Error(err)
	}
	r.ended <- nil
	if n := r.Stats().CutOff; n != 1 {
		t.Errorf("%d cut off", n)
	}
}

// TestProxyHeader: before the first byte, and before TLS.
func TestProxyHeader(t *testing.T) {
	for version, want := range map[string]string{"v1": "PROXY TCP4 127.0.0.1 ", "v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\x7f\x00\x00\x01\x7f\x00\x00\x01"} {
		s := serve(t, echo)
		r := start(t, Options{}, s.name()+"?proxy-protocol="+version)
		c := r.dial()
		c.Write([]byte("hello"))
		c.(*net.TCPConn).CloseWrite()
		b, err := io.ReadAll(c)
		if !strings.HasPrefix(string(b), want) || !strings.HasSuffix(string(b), "hello") || err != nil {
			t.Errorf("%s: %q, %v", version, b, err)
		}
	}
	path := socketPath(t)
	for version, want := range map[string]string{"v1": "PROXY UNKNOWN\r\n", "v2": "\r\n\r\n\x00\r\nQUIT\n\x21\x31\x00\xd8"} {
		s := serve(t, echo)
		r := startAt(t, listenAt(t, "unix", path), Options{}, s.name()+"?proxy-protocol="+version)
		c := r.dial()
		c.(*net.UnixConn).CloseWrite()
		if b, err := io.ReadAll(c); !strings.HasPrefix(string(b), want) || err != nil {
			t.Errorf("%s over Unix: %q, %v", version, b, err)
		}
		r.hard()
		<-r.ended
		r.ended <- nil
	}
}

// TestAcceptErrors are retried and counted.
func TestAcceptErrors(t *testing.T) {
	ln := &faulty{Listener: listenAt(t, "tcp", "127.0.0.1:0"), n: 3}
	r := startAt(t, ln, Options{}, serve(t, echo).name())
	exchange(t, r.dial(), "hello")
	if n := r.Stats().AcceptErrors; n != 3 {
		t.Errorf("%d errors", n)
	}
}

type faulty struct {
	net.Listener
	n int
}

func (f *faulty) Accept() (net.Conn, error) {
	if f.n--; f.n >= 0 {
		return nil, fmt.Errorf("too many open files")
	}
	return f.Listener.Accept()
}

func TestSetBalance(t *testing.T) {
	a, b := serve(t, echo), serve(t, echo)
	r := start(t, Options{}, a.name(), b.name())
	must(t, r.SetBalance(SourceHash))
	for range 10 {
		exchange(t, r.dial(), "hello")
	}
	if n := a.accepted.Load(); n != 0 && n != 10 {
		t.Errorf("one got %d of 10", n)
	}
	if err := r.SetBalance("fair"); err == nil || !strings.Contains(err.Error(), "least-bandwidth") {
		t.Errorf("got %v", err)
	}
}

// TestHardEnd: whatever a client waits for.
func TestHardEnd(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute, Drain: time.Minute}}, s.name()+"?max-connections=1")
	carried := r.dial()
	exchange(t, carried, "hello")
	waiting := r.dial()
	eventually(t, "in the queue", func() bool { return r.Stats().Waiting == 1 })
	r.soft()
	r.hard()
	for _, c := range []net.Conn{carried, waiting} {
		if _, err := io.ReadAll(c); !isReset(err) {
			t.Errorf("got %v", err)
		}
	}
	<-r.ended
	r.ended <- nil
	if s := r.Stats(); s.CutOff != 2 || r.refused("shutdown") != 1 {
		t.Errorf("%+v", s)
	}
}

// TestSilentHandshake: one that never comes does not outlive the hard end.
func TestSilentHandshake(t *testing.T) {
	ln, _ := listenAs(t, "tls", testcert.New(t, t.TempDir()))
	r := startAt(t, ln, Options{}, serve(t, echo).name())
	c := r.dial()
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	r.hard()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v", err)
	}
}
