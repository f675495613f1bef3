package splitter

import (
	"context"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// pipeConn is a connection in memory, as of a Unix socket.
type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return &net.UnixAddr{Net: "unix"} }

// newTimedRig returns a rig and a function that connects a sender, for a synctest bubble.
func newTimedRig(t *testing.T, tuning Tuning) (*rig, func() net.Conn) {
	ln := newFakeListener()
	r := newRig(t, ln, plenty, Options{Tuning: tuning})
	return r, func() net.Conn {
		near, far := net.Pipe()
		t.Cleanup(func() { near.Close() })
		ln.next <- pipeConn{far}
		return near
	}
}

// sayEvery writes what to c n times, and returns the first error.
func sayEvery(c net.Conn, d time.Duration, n int, what string) error {
	for range n {
		if _, err := c.Write([]byte(what)); err != nil {
			return err
		}
		time.Sleep(d)
	}
	return nil
}

// Ten silent senders kept out all others for ever at -max-connections 10.
func TestIdleSendersMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, connect := newTimedRig(t, Tuning{MaxConnections: 2, IdleTimeout: time.Minute})
		begin := time.Now()
		connect()
		write(t, connect(), "whole\nhal")
		late := connect()
		if err := sayEvery(late, time.Second, 1, "late\n"); err != nil {
			t.Error(err)
		}
		r.until("the late sender's line", func() bool { return strings.Contains(r.output(), "late\n") })
		if took := time.Since(begin); took < time.Minute || took > 80*time.Second {
			t.Errorf("the late sender waited for %v", took)
		}
		st := r.Stats()
		if d := dropped(st, intake.ReasonTorn); st.IdleTimeouts == 0 || d.Bytes != 0 && d.Bytes != 3 {
			t.Errorf("%+v", st)
		}
		r.until("the second idle sender's end", func() bool { return r.Stats().IdleTimeouts == 2 })
		r.until("its unfinished line", func() bool { return dropped(r.Stats(), intake.ReasonTorn).Bytes == 3 })
		if st := r.Stats(); st.CutOff != 0 || st.LineTimeouts != 0 || st.Pauses == 0 {
			t.Errorf("%+v", st)
		}
		late.Close()
		r.end()
	})
}

func TestBusySendersAreNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, connect := newTimedRig(t, Tuning{IdleTimeout: time.Minute})
		c := connect()
		if err := sayEvery(c, 50*time.Second, 20, "x"); err != nil {
			t.Errorf("a sender that says something in time was ended: %v", err)
		}
		write(t, c, "\n")
		c.Close()
		r.wants(strings.Repeat("x", 20) + "\n")
		r.end()
	})
}

func TestUnfinishedLinesTimeOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, connect := newTimedRig(t, Tuning{LineTimeout: time.Minute})
		lines, trickle, skipped := connect(), connect(), connect()
		begin := time.Now()
		go sayEvery(lines, 10*time.Second, 30, "a line\nand half of ")
		go func() {
			sayEvery(trickle, time.Second, 1000, "x")
			if took := time.Since(begin); took < time.Minute || took > 70*time.Second {
				t.Errorf("a sender that trickles was ended after %v", took)
			}
		}()
		time.Sleep(100 * time.Second)
		if st := r.Stats(); st.LineTimeouts != 1 || dropped(st, intake.ReasonTorn).Lines != 1 {
			t.Errorf("%+v", st)
		}
		go sayEvery(skipped, time.Second, 1000, strings.Repeat("x", 1<<20)) // too long, which is no excuse
		time.Sleep(100 * time.Second)
		if st := r.Stats(); st.LineTimeouts != 2 || dropped(st, intake.ReasonTorn).Lines != 1 {
			t.Errorf("%+v", st)
		}
		time.Sleep(100 * time.Second)
		lines.Close()
		r.until("all lines", func() bool { return r.Stats().Queued.Lines == 31 })
		r.end()
	})
}

// Senders that linesplit itself holds up, since its targets are slow, are neither idle nor late.
func TestTimesHeldUpDoNotCount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		soft, stop := context.WithCancel(t.Context())
		pool, out := linebuf.NewPool(plenty), make(chan *linebuf.Buffer)
		s := New(pool, out, Options{Tuning: Tuning{IdleTimeout: time.Minute, LineTimeout: time.Minute}})
		ln := newFakeListener()
		served := make(chan error)
		go func() { served <- s.Serve(soft, t.Context(), ln) }()
		near, far := net.Pipe()
		ln.next <- pipeConn{far}
		written := make(chan error)
		go func() { written <- sayEvery(near, 0, 1000, "half of one, and\nhalf of the next") }()
		time.Sleep(time.Hour)
		go func() {
			for b := range out {
				pool.Put(b)
			}
		}()
		if err := <-written; err != nil {
			t.Errorf("a sender that was held up was ended: %v", err)
		}
		near.Close()
		stop()
		if err := <-served; err != nil {
			t.Error(err)
		}
		close(out)
		if st := s.Stats(); st.IdleTimeouts+st.LineTimeouts != 0 || st.Queued.Lines != 1001 {
			t.Errorf("%+v", st)
		}
	})
}

func TestTimeoutsCanBeSetLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, connect := newTimedRig(t, Tuning{})
		connect()
		time.Sleep(time.Hour)
		if st := r.Stats(); st.Connections != 1 {
			t.Errorf("an idle sender was ended without a timeout: %+v", st)
		}
		r.Tune(Tuning{IdleTimeout: time.Second})
		begin := time.Now()
		r.until("the idle sender's end", func() bool { return r.Stats().Connections == 0 })
		if took := time.Since(begin); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		r.end()
	})
}
