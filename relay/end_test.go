package relay

import (
	"bytes"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

func TestClientMaySendAfterTheTargetHasEnded(t *testing.T) {
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

// TestTargetResetReachesTheClient resets in mid-transfer, once while the client writes.
func TestTargetResetReachesTheClient(t *testing.T) {
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
			if !isReset(err) && !isReset(writeErr) { // the kernel reports a reset once
				t.Errorf("the client got %v reading, %v writing", err, writeErr)
			}
			if rec := r.log.one(t); rec.End != "target-reset" {
				t.Errorf("%+v", rec)
			}
		})
	}
}

func TestClientResetReachesTheTarget(t *testing.T) {
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

// A FIN between two records, without close_notify, may come from anything on the path.
func TestTruncatedTLSIsPassedOnAsAReset(t *testing.T) {
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

func TestResetOnDownResetsOnlyIfSet(t *testing.T) {
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

// The target may go down after it was chosen and before there is a connection to reset.
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
	time.Sleep(3 * watchInterval) // maintain has noticed it, and there was nothing to reset
	close(release)
	c.SetReadDeadline(time.Now().Add(30 * time.Second))
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v", err)
	}
	if rec := r.log.one(t); rec.End != "target-down" {
		t.Errorf("%+v", rec)
	}
}

func TestIdleTimeout(t *testing.T) {
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
	t.Run("one way", func(t *testing.T) { // activity in one direction keeps both directions
		t.Parallel()
		r := start(t, Options{Tuning: Tuning{IdleTimeout: timeout}}, serve(t, discard).name())
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
	t.Run("stuck", func(t *testing.T) { // a connection whose receiver does not read is idle
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
}

func TestLingerTimeout(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(c net.Conn) { discard(c); <-hold })
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
}
