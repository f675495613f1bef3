package relay

import (
	"io"
	"net"
	"net/netip"
	"reflect"
	"testing"
	"time"

	"linesplit/internal/loop"
	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// A link that is used again knows nothing of its earlier connection, and keeps no target in memory.
func TestRecycledLinkIsBlank(t *testing.T) {
	b := &upstream.Backend{}
	k := newLink(&serving{}, time.Now())
	k.loop, k.id, k.peer, k.addr = &loop.Loop{}, 1, netip.AddrPortFrom(netip.IPv6Loopback(), 1), netip.IPv6Loopback()
	k.from, k.to = &net.TCPAddr{}, &net.TCPAddr{}
	k.stage, k.dials, k.trying, k.backend = closed, 1, b, b
	k.client.TCP, k.target.TCP = true, true
	k.client.Note(loop.Readable | loop.Writable | loop.PeerEnded | loop.Urgent)
	k.search.tried.Add(b)
	k.search.waited, k.inEnded, k.outEnded = true, true, true
	k.first, k.why, k.ending.ended = traffic.EndIdle, traffic.EndIdle, 2
	k.silence.since, k.deliveredIn, k.deliveredOut = time.Now(), 1, 1
	k.recycle()
	if k.client.link != k || k.target.link != k || k.timer.Do == nil || k.gone.Do == nil {
		t.Error("the link has lost itself")
	}
	if tried := k.search.tried[:1]; tried[0] != nil {
		t.Error("it still holds a target")
	}
	got := *k
	got.client.link, got.target.link, got.timer.Do, got.gone.Do, got.search.tried = nil, nil, nil, nil, nil
	if !reflect.DeepEqual(&got, &link{}) {
		t.Errorf("left: %+v", got)
	}
}

// A connection costs no link of its own: eight hundred bytes for the collector.
func TestLinksAreUsedAgain(t *testing.T) {
	if raceEnabled {
		t.Skip("with the race detector, a pool forgets some")
	}
	v, now := &serving{}, time.Now()
	if n := testing.AllocsPerRun(1000, func() { newLink(v, now).recycle() }); n > 0 {
		t.Errorf("%v allocations for each connection", n)
	}
}

// echoUntilQ answers each byte with itself, up to the first q.
func echoUntilQ(c net.Conn) {
	b := make([]byte, 1)
	for {
		if _, err := c.Read(b); err != nil || b[0] == 'q' {
			return
		}
		c.Write(b)
	}
}

// Connections that end in different ways, some while others go on, each have a record of their own,
// whichever link they use.
func TestRecordsOfRecycledLinks(t *testing.T) {
	needLoops(t)
	s := serve(t, echoUntilQ)
	dead := serve(t, echo)
	dead.Close()
	r := start(t, Options{Tuning: Tuning{MaxConnections: 3}}, s.name(), dead.name())
	lasting := r.dial()
	exchange(t, lasting, "hello")
	type outcome struct {
		end string
		in  int64
	}
	want := map[string]outcome{lasting.LocalAddr().String(): {"client-closed", 10}}
	refused := 0
	for i := range 60 {
		eventually(t, "room", func() bool { return r.Stats().Active == 1 })
		c := r.dial()
		name, sent := c.LocalAddr().String(), int64(1+i%4)
		exchange(t, c, "hello"[:sent])
		switch i % 4 {
		case 0:
			c.Close()
			want[name] = outcome{"client-closed", sent}
		case 1:
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			want[name] = outcome{"client-reset", sent}
		case 2:
			c.Write([]byte("q"))
			io.ReadAll(c)
			c.Close()
			want[name] = outcome{"target-closed", sent + 1}
		case 3:
			other := r.dial()
			exchange(t, other, "h")
			if err := r.refusal(); !isReset(err) {
				t.Errorf("the fourth connection: %v", err)
			}
			refused++
			want[other.LocalAddr().String()] = outcome{"client-closed", 1}
			want[name] = outcome{"client-closed", sent}
			other.Close()
			c.Close()
		}
	}
	exchange(t, lasting, "hello")
	lasting.Close()
	eventually(t, "all records", func() bool { return len(r.log.get()) == len(want)+refused })
	for _, rec := range r.log.get() {
		if rec.End == "limit" && refused > 0 {
			refused--
			continue
		}
		if w := want[rec.Client]; rec.End != w.end || rec.BytesIn != w.in {
			t.Errorf("%+v, want %+v", rec, w)
		}
	}
}
