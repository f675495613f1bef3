package relay

import (
	"net"
	"testing"
	"time"
)

func TestClientsBeyondALimitAreRefused(t *testing.T) {
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
			first := r.connect()
			for range tt.room - 1 {
				r.connect()
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

func TestQueueIsFirstInFirstOut(t *testing.T) {
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
			t.Errorf("%d were accepted or wait", n)
		}
		last.Close()
		exchange(t, c, "my turn")
		last = c
	}
}

func TestClientIsRefusedAfterTheQueueTimeout(t *testing.T) {
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

func TestClientThatLeavesTheQueueTakesNoBackend(t *testing.T) {
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
