package workerpool

import (
	"errors"
	"time"
)

func (p *peer) target() string { return p.addr.String() }

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// join makes a target that can be dialled, and adds it to the pool.
func (r *rig) join(name string) *peer {
	r.t.Helper()
	p := r.addPeer(name)
	r.must(r.pool.Add(p.addr))
	return p
}

func (r *rig) wantErr(got, want error) {
	r.t.Helper()
	if !errors.Is(got, want) {
		r.t.Errorf("%v, want %v", got, want)
	}
}

// stats returns the stats of one target, and whether it is listed.
func (r *rig) stats(p *peer) (TargetStats, bool) {
	r.t.Helper()
	s := r.ledger()
	for _, x := range s.Targets {
		if x.Name == p.target() {
			return x, true
		}
	}
	return TargetStats{}, false
}

func (r *rig) wantState(p *peer, want string) {
	r.t.Helper()
	if s, _ := r.stats(p); s.State != want {
		r.t.Fatalf("%s is %q, want %q: %+v", p.name, s.State, want, s)
	}
}

func (r *rig) wantGone(p *peer) {
	r.t.Helper()
	if s, listed := r.stats(p); listed {
		r.t.Fatalf("%s is still listed: %+v", p.name, s)
	}
	for _, x := range r.pool.Targets() {
		if x.String() == p.target() {
			r.t.Fatalf("%s is still among the targets", p.name)
		}
	}
}

// wantLeft demands that all connections of a target were left in order and none failed.
func (r *rig) wantLeft(p *peer) {
	r.t.Helper()
	for i := range p.conns {
		if c := p.conn(i).state(); !c.halfClosed || !c.closed || c.aborted {
			r.t.Fatalf("%s[%d]: half-closed %v, closed %v, aborted %v", p.name, i, c.halfClosed, c.closed, c.aborted)
		}
	}
}

// wantOnce demands that no line was lost and none came twice.
func (r *rig) wantOnce() {
	r.t.Helper()
	times, total := r.received()
	if len(times) != r.seq || total != r.seq {
		r.t.Fatalf("%d lines sent, %d received, %d times", r.seq, len(times), total)
	}
	r.wantResent(r.pool.Stats(), 0, 0)
}

func (p *peer) bytes() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		n += len(c.sent)
	}
	return n
}

// crash makes a target refuse all connections, and reset those that it has.
func (p *peer) crash() {
	p.set(func() { p.refuse = true })
	p.resetAll()
}

// resetAll makes a target reset the connections that it has.
func (p *peer) resetAll() {
	for i := range p.dialled() {
		if c := p.conn(i); c != nil {
			c.reset()
		}
	}
}

func (r *rig) workers() int {
	r.pool.mu.Lock()
	defer r.pool.mu.Unlock()
	return len(r.pool.workers)
}

// sendUntilTaken sends until a target has been given something.
func (r *rig) sendUntilTaken(p *peer) {
	r.t.Helper()
	for range 1000 {
		r.send(10, 100)
		r.pass(time.Millisecond)
		if p.bytes() > 0 {
			return
		}
	}
	r.t.Fatalf("%s gets nothing: the test proves nothing", p.name)
}
