package relay

import (
	"net"
	"testing"
	"time"
)

func TestConnectionsAreListedUpToTheLimit(t *testing.T) {
	s := serve(t, echo)
	r := start(t, Options{Tuning: Tuning{QueueTimeout: time.Minute}}, s.name()+"?max-connections=3")
	before := time.Now()
	var clients []net.Conn
	for range 3 {
		clients = append(clients, r.connect())
	}
	waiting := r.dial()
	eventually(t, "a client waits", func() bool { return r.Stats().Waiting == 1 })
	exchange(t, clients[1], "and more")
	eventually(t, "all bytes are counted", func() bool {
		p := r.targetStats(s.name())
		return p.BytesIn == 23 && p.BytesOut == 23
	})
	all := r.Connections(10)
	if len(all) != 4 {
		t.Fatalf("%+v", all)
	}
	for i, c := range append(clients, waiting) {
		want := Connection{ID: all[0].ID + uint64(i), Client: c.LocalAddr().String(),
			Listener: r.ln.Addr().Network() + "://" + r.ln.Addr().String(),
			Target:   s.name(), BytesIn: 5, BytesOut: 5, Since: all[i].Since}
		switch i {
		case 1:
			want.BytesIn, want.BytesOut = 13, 13
		case 3:
			want.Target, want.BytesIn, want.BytesOut = "", 0, 0
		}
		if all[i] != want {
			t.Errorf("%+v, want %+v", all[i], want)
		}
		if all[i].Since.Before(before) || all[i].Since.After(time.Now()) {
			t.Errorf("since %v", all[i].Since)
		}
	}
	for limit, want := range map[int]int{-1: 0, 0: 0, 1: 1, 3: 3, 4: 4, 5: 4} {
		if n := len(r.Connections(limit)); n != want {
			t.Errorf("%d listed with limit %d", n, limit)
		}
	}
	for _, c := range append(clients, waiting) {
		c.Close()
	}
	eventually(t, "all have ended", func() bool { return len(r.Connections(10)) == 0 })
}
