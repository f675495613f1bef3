package delivery

import (
	"testing/synctest"

	"linesplit/linebuf"
)

// check demands what must hold after every step.
func (g *simGroups) check() {
	for i, x := range g.groups {
		if !x.sim.stopped {
			x.sim.check()
		}
		known := x.sim.shared.Taken()
		known.Add(x.Dropped())
		if known.Lines > g.sent.Lines || known.Bytes > g.sent.Bytes {
			g.fail("group %d has %v, of %v that were sent", i, known, g.sent)
		}
		x.checkMemory(known == g.sent)
	}
	g.checkMemory()
}

// checkMemory demands that the group is charged with what it holds, and that this is within its
// budget, unless lines were rewritten.
func (x *simGroup) checkMemory(idle bool) {
	var holds int64
	for _, m := range x.sim.machines {
		holds += m.holds()
	}
	held := x.Held()
	switch most := max(x.Budget, int64(x.of.largest)); {
	case held < holds || idle && held != holds:
		x.of.fail("group %s is charged with %d bytes, and its machines hold %d", x.Name, held, holds)
	case !x.Required && !x.sim.framed && held > most:
		x.of.fail("group %s holds %d bytes, with a budget of %d", x.Name, held, x.Budget)
	case x.Required && held-holds > int64((x.Queue+1+len(x.of.senders))*x.of.largest):
		x.of.fail("%d bytes wait for group %s, which holds up nothing", held-holds, x.Name)
	}
}

// checkMemory demands that memory is in use as long as a group holds it, and that it is within the
// limit. Only what is rewritten may exceed that.
func (g *simGroups) checkMemory() {
	seen := map[*byte]int64{}
	idle := true
	for _, x := range g.groups {
		known := x.sim.shared.Taken()
		known.Add(x.Dropped())
		idle = idle && known == g.sent
		for _, m := range x.sim.machines {
			m.eachHeld(func(b *linebuf.Buffer) { seen[&b.B[:1][0]] = b.Memory() })
		}
	}
	var held int64
	for _, x := range g.senders {
		if x.pending != nil {
			held += int64(cap(x.pending.B))
		}
	}
	for _, n := range seen {
		held += n
	}
	use := g.buffers.InUse()
	switch {
	case use < held || idle && use != held:
		g.fail("%d bytes are in use, %d are held", use, held)
	case use > g.buffers.Limit() && !g.lineNos.framed:
		g.fail("%d bytes are in use, the limit is %d", use, g.buffers.Limit())
	}
}

// eachHeld calls f for each buffer that the machine holds.
func (m *simMachine) eachHeld(f func(*linebuf.Buffer)) {
	segments := m.retryQueue.list[m.retryQueue.head:]
	for _, c := range m.leaving {
		segments = append(segments[:len(segments):len(segments)], c.window.list[c.window.head:]...)
	}
	if m.out != nil {
		segments = append(segments[:len(segments):len(segments)], m.out.window.list[m.out.window.head:]...)
	}
	for _, seg := range segments {
		f(seg.buf)
	}
}

// checkEnd demands that each group has all lines, but those that were dropped, and that all memory
// has come back.
func (g *simGroups) checkEnd() {
	hung := false
	for i, x := range g.groups {
		hung = hung || x.hung
		x.sim.checkEnd()
		if x.hung {
			continue
		}
		known := x.sim.shared.Taken()
		known.Add(x.Dropped())
		if known != g.sent || x.Held() != 0 {
			g.fail("group %d: %v taken or dropped, %v sent, %d bytes held", i, known, g.sent, x.Held())
		}
	}
	synctest.Wait()
	if n := g.buffers.InUse(); !hung && n != 0 {
		g.fail("%d bytes of buffers were not given back", n)
	}
}
