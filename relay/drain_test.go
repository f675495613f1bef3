package relay

import (
	"io"
	"net"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

func TestDrainResetsWhatDoesNotEndInTime(t *testing.T) {
	t.Parallel()
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{Drain: 3 * time.Second}}, s.name()) // a slow machine says something within it
	a, b := r.dial(), r.dial()
	exchange(t, a, "hello")
	exchange(t, b, "hello")
	r.soft()
	eventually(t, "the listener is closed", func() bool {
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

func TestHardEndResetsConnectedAndWaitingClients(t *testing.T) {
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

func TestHardEndResetsAClientInTheHandshake(t *testing.T) {
	ln, _ := listenAs(t, "tls", testcert.New(t, t.TempDir()))
	r := startAt(t, ln, Options{}, serve(t, echo).name())
	c := r.dial()
	eventually(t, "accepted", func() bool { return r.Stats().Active == 1 })
	r.hard()
	if _, err := io.ReadAll(c); !isReset(err) {
		t.Errorf("got %v", err)
	}
}
