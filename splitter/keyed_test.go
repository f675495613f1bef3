package splitter

import (
	"bytes"
	"crypto/tls"
	"net"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/framing"
	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// grudging is a KeyedOutlet of all connections that takes some lines at a time, and drops those
// that begin with a minus sign.
type grudging struct {
	mu      sync.Mutex // guards the fields below
	pool    *linebuf.Pool
	room    chan struct{}
	most    int // lines that it takes of one offer; 0: none
	untold  int // that were taken since the last Flush
	got     []byte
	dropped linebuf.Count
}

func newGrudging(most int) *grudging { return &grudging{most: most, room: make(chan struct{})} }

func (g *grudging) Offer(b *linebuf.Buffer) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for range g.most {
		end := bytes.IndexByte(b.B, '\n') + 1
		line := b.B[:end]
		g.untold++
		if line[0] == '-' {
			g.dropped.Add(linebuf.Count{Lines: 1, Bytes: uint64(end)})
		} else {
			g.got = append(g.got, line...)
		}
		b.B, b.Lines = b.B[end:], b.Lines-1
		if len(b.B) == 0 {
			g.pool.Put(b)
			return true
		}
	}
	if g.most > 0 { // the next offer will have room
		g.announceLocked()
	}
	return false
}

func (g *grudging) Flush() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.untold = 0
}

func (g *grudging) Room() <-chan struct{} {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.room
}

func (g *grudging) TakeDropped() linebuf.Count {
	g.mu.Lock()
	defer g.mu.Unlock()
	n := g.dropped
	g.dropped = linebuf.Count{}
	return n
}

func (g *grudging) announceLocked() {
	close(g.room)
	g.room = make(chan struct{})
}

func (g *grudging) allow(most int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.most = most
	g.announceLocked()
}

func (g *grudging) output() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return string(g.got)
}

func newKeyedRig(t *testing.T, g *grudging, ln net.Listener) *rig {
	r := newRig(t, ln, plenty, Options{Outlet: func() Outlet { return g }})
	g.use(r.pool)
	return r
}

// use sets the pool that buffers go back to, while loops run already.
func (g *grudging) use(pool *linebuf.Pool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.pool = pool
}

// An outlet that takes lines bit by bit gets them in order, and what it takes or drops is counted
// at once.
func TestKeyedOutletTakesLinesBitByBit(t *testing.T) {
	g := newGrudging(0)
	r := newKeyedRig(t, g, listenTCP(t))
	c := dial(t, r.addr)
	in := numbered(0, 100, 100)
	write(t, c, in+"-dropped\n-too\n")
	r.untilRead(len(in) + len("-dropped\n-too\n"))
	g.allow(3)
	r.until("all lines", func() bool { return g.output() == in })
	more := numbered(1, 100, 100)
	write(t, c, more+"last")
	c.Close()
	r.until("more lines", func() bool { return g.output() == in+more+"last\n" })
	st := r.end()
	if d := dropped(st, intake.ReasonKeyless); d.Lines != 2 || d.Bytes != uint64(len("-dropped\n-too\n")) {
		t.Errorf("dropped %+v", d)
	}
	if st.Queued.Lines != 201 || r.size() != 0 {
		t.Errorf("%d lines queued, %d bytes on the channel", st.Queued.Lines, r.size())
	}
}

// Workers learn of all lines once there is nothing more to read, on a loop, too.
func TestKeyedOutletIsFlushed(t *testing.T) {
	g := newGrudging(1 << 20)
	r := newKeyedRig(t, g, listenTCP(t))
	c := dial(t, r.addr)
	in := ""
	flushed := func() bool {
		g.mu.Lock()
		defer g.mu.Unlock()
		return g.untold == 0 && string(g.got) == in
	}
	for n := range 5 {
		more := numbered(n, 1000, 600) // more than one read
		in += more
		write(t, c, more)
		r.until("all lines are known", flushed)
	}
	in += "last\n"
	write(t, c, "last")
	c.Close()
	r.until("the last line is known", flushed)
	r.end()
}

// TLS reads into a buffer that it holds, and gives it back while it waits.
func TestKeyedOutletOfTLSSenders(t *testing.T) {
	g := newGrudging(0)
	r := newKeyedRig(t, g, listenTLS(t))
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	in := numbered(0, 400, 100)
	written := make(chan error, 1)
	go func() {
		_, err := c.Write([]byte(in))
		written <- err
	}()
	r.until("some lines are read", func() bool {
		all := r.Connections(1)
		return len(all) == 1 && all[0].Lines > 0
	})
	g.allow(3)
	r.until("all lines", func() bool { return g.output() == in })
	if err := <-written; err != nil {
		t.Error(err)
	}
	c.Close()
	r.end()
}

// Senders that waited for a full lane held all places in the gate, so that no other sender was
// read.
func TestSendersThatWaitForLanesHoldUpNoOthers(t *testing.T) {
	full, free := newGrudging(0), newGrudging(100)
	accepted := 0
	r := newRig(t, listenTCP(t), plenty, Options{Outlet: func() Outlet {
		if accepted++; accepted <= gateWidth+1 {
			return full
		}
		return free
	}})
	full.use(r.pool)
	free.use(r.pool)
	in := numbered(0, 10, 100)
	for n := range gateWidth + 1 {
		write(t, dial(t, r.addr), in)
		r.until("it is accepted and read", func() bool {
			all := r.Connections(gateWidth + 1)
			for _, c := range all {
				if c.Bytes != uint64(len(in)) {
					return false
				}
			}
			return len(all) == n+1
		})
	}
	write(t, dial(t, r.addr), in)
	r.until("the other sender's lines", func() bool { return free.output() == in })
	if held := r.pool.InUse(); held > 2*int64(gateWidth+1)*int64(linebuf.ClassSize(len(in))) {
		t.Errorf("senders that wait hold %d bytes", held)
	}
	full.allow(100)
	r.until("all lines", func() bool { return len(full.output()) == (gateWidth+1)*len(in) })
}

// A hard end drops what an outlet has not taken, and counts it.
func TestHardEndWhileKeyedOutletIsFull(t *testing.T) {
	g := newGrudging(0)
	r := newKeyedRig(t, g, listenTCP(t))
	c := dial(t, r.addr)
	in := numbered(0, 10, 100)
	write(t, c, in)
	r.untilRead(len(in))
	r.hard()
	r.ended()
	d := dropped(r.Stats(), intake.ReasonShutdown)
	if d.Lines != uint64(strings.Count(in, "\n")) || d.Bytes != uint64(len(in)) {
		t.Errorf("dropped %+v", d)
	}
}

// Counted lines that moved into a smaller buffer, while they waited for a lane, were cut at their
// newlines.
func TestSmallerBufferKeepsTheFraming(t *testing.T) {
	pool := linebuf.NewPool(plenty)
	c := &conn{v: &serving{Splitter: New(pool, nil, Options{})}}
	b := pool.MustGet(64 << 10)
	b.B, b.Lines, b.Framing = append(b.B, "3 a\nb"...), 1, framing.Octet
	small := c.fit(b)
	if cap(small.B) > 4096 || small.Framing != framing.Octet || small.Lines != 1 || string(small.B) != "3 a\nb" {
		t.Errorf("%d lines in %q, %v, of %d bytes", small.Lines, small.B, small.Framing, cap(small.B))
	}
	pool.Put(small)
}
