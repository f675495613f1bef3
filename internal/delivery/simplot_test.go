package delivery

import (
	"syscall"
	"time"

	"linesplit/linebuf"
)

// live lets time pass while input trickles in.
func (s *sim) live(d time.Duration) {
	for until := time.Now().Add(d); time.Now().Before(until) && !s.t.Failed(); {
		s.pass(125 * time.Millisecond)
		s.check()
	}
}

// hang stops the first target, which may have been told to go as well, and demands that its lines
// reach another one.
func (s *sim) hang() {
	x := s.primary()
	s.launch(x)
	if s.lanes != nil {
		s.launchNew()
	} else {
		s.launch(s.addAs(false))
	}
	s.heal()
	s.live(20 * time.Second)
	leaves := s.rng.IntN(2) == 0
	x.rate = 0
	for _, c := range x.live() { // its kernel must not take lines for much longer
		c.recvBuf = min(c.recvBuf, c.acked-c.read+4000)
	}
	s.say("%s hangs; leaves %v", x.name, leaves)
	if leaves {
		s.setAccepting(x, false)
	}
	set := *s.shared.Settings()
	if s.rng.IntN(2) == 0 { // the machines go home before others have confirmed anything
		set.FailbackInterval = time.Second
		s.shared.SetSettings(&set)
	}
	enough := 2*set.StallTimeout + set.ResendAge + 10*time.Second
	s.live(enough)
	before := len(s.given)
	s.muted = true // the target's kernel may have had room until just now
	s.live(enough)
	s.muted = false
	for _, x := range s.senders {
		x.account.resumed = time.Now()
	}
	times := map[int]int{}
	s.receiveAll(times)
	for _, c := range x.live() { // what has arrived in full may wait until the process reads on, or dies
		s.receive(x.name, string(c.sent[:c.acked]), x.Target.Address.Framing, times)
	}
	for _, m := range s.machines { // some are on their way, or have been sent home just now
		if m.out == nil || m.out.backend != x.Backend || time.Since(m.failbackTried) < 2*set.StallTimeout {
			m.noteHeld(times)
		}
	}
	for _, seq := range s.given[:before] {
		if times[seq] == 0 && !s.mayBeRefused(seq) {
			s.t.Errorf("seed %d: line %d waits for a target that hangs", s.seed, seq)
			s.missing(times)
			break
		}
	}
	if n := x.Target.Connections(); leaves && n > 0 {
		s.t.Errorf("seed %d: a target that hangs has %d connections although it was drained", s.seed, n)
	}
}

// halfClosers demands that the machines stay connected to targets that half-close each connection
// at its start: such a FIN means nothing.
func (s *sim) halfClosers() {
	if s.plot != peaceful {
		return
	}
	for _, x := range s.targets { // renewals are connections, too
		x.Target.Address.MaxAge = 0
	}
	for _, m := range s.machines {
		if m.out != nil {
			m.out.renewal = renewal{}
		}
	}
	conns := func() (n int) {
		for _, x := range s.targets {
			x.SetAccepting(true)
			n += len(x.conns)
		}
		s.publish()
		return n
	}
	conns()
	s.live(2*s.shared.Settings().FailbackInterval + 10*time.Second)
	before := conns()
	s.live(10 * time.Second)
	if n := conns() - before; n > 0 {
		s.t.Errorf("seed %d: %d connections in ten seconds to targets that half-close", s.seed, n)
	}
}

// recover heals all targets and demands that all machines go home. One that has only just found out
// that its connection is dead may take longer.
func (s *sim) recover() {
	s.say("recover")
	s.heal()
	enough := 2*s.shared.Settings().FailbackInterval + 10*time.Second
	s.live(enough)
	for _, m := range s.machines {
		if s.isFormer(m.home) { // it is to end
			continue
		}
		if !m.isHome() && time.Since(m.failbackTried) > enough/2 {
			s.t.Errorf("seed %d: a machine is not at home", s.seed)
		}
	}
}

func (s *sim) heal() {
	s.exhausted = false
	for _, x := range s.all() {
		x.heal()
		x.Target.CheckedUp()
	}
	for _, x := range s.targets {
		x.SetAccepting(true)
	}
	for _, m := range s.machines {
		m.excess = false
		m.want(true)
	}
	s.publish()
}

// fault changes something at random.
func (s *sim) fault() {
	x := s.targets[s.rng.IntN(len(s.targets))]
	now := time.Now()
	n := s.rng.IntN(21)
	if s.plot == peaceful {
		n = []int{2, 2, 12, 13, 14, 17, 18, 19}[s.rng.IntN(8)]
	}
	s.say("%s: fault %d", x.name, n)
	switch n {
	case 0, 1:
		for _, c := range x.live() {
			c.kill()
		}
	case 2:
		for _, c := range x.live() {
			c.announceEnd(now)
		}
	case 3:
		if live := x.live(); len(live) > 0 {
			live[s.rng.IntN(len(live))].reset(syscall.ECONNRESET)
		}
	case 4, 5:
		x.rate = 0
	case 6:
		x.rate = 1 + s.rng.IntN(300)
	case 7:
		x.setBlackHole(now, !x.blackHole)
	case 8:
		x.refuses = []error{syscall.ECONNREFUSED, syscall.EMFILE}[s.rng.IntN(2)]
	case 9:
		x.finFirst = !x.finFirst
	case 10:
		x.dialTime = time.Duration(s.rng.IntN(3000)) * time.Millisecond
	case 11:
		x.heal()
	case 12:
		s.setAccepting(x, !x.Accepts())
	case 13:
		s.change(x)
	case 14:
		s.tune()
	case 15:
		for _, c := range x.live() {
			c.risingTo = now.Add(time.Duration(s.rng.IntN(3000)) * time.Millisecond)
		}
	case 16:
		s.checkHealth(x)
	case 17:
		s.end()
	case 18:
		s.exhausted = !s.exhausted
	case 19:
		s.changeWanted()
	case 20:
		s.refuseAll()
	}
}

func (s *sim) setAccepting(x *simTarget, accepts bool) {
	if x.Accepts() && !accepts {
		x.drainedAt = time.Now()
	}
	x.SetAccepting(accepts)
	s.publish()
}

// launchNew adds a target with its machine, or machines.
func (s *sim) launchNew() {
	x := s.add()
	if s.lanes != nil {
		s.lanes.launch(x)
		return
	}
	s.launch(x)
}

// change adds a target, or removes one while another is left.
func (s *sim) change(x *simTarget) {
	if s.ended {
		return
	}
	if s.rng.IntN(2) == 0 && len(s.targets) < 5 {
		s.launchNew()
		return
	}
	if len(s.targets) < 2 {
		return
	}
	s.setAccepting(x, false)
	for i, y := range s.targets {
		if x == y {
			s.targets = append(s.targets[:i:i], s.targets[i+1:]...)
		}
	}
	s.former = append(s.former, x)
	s.publish()
	for _, m := range s.machines {
		if !s.isFormer(m.home) {
			return
		}
	}
	s.launch(s.targets[0])
}

func (s *sim) checkHealth(x *simTarget) {
	if s.rng.IntN(2) == 0 {
		x.Target.CheckedUp()
	} else {
		x.Target.CheckedDown(syscall.EHOSTUNREACH)
		x.mayBeDown = true
	}
}

// end ends the input, or rarely stops everything.
func (s *sim) end() {
	if s.group != nil {
		return
	}
	switch s.rng.IntN(12) {
	case 0:
		s.stop()
	case 1, 2:
		s.terminate(time.Now())
	}
}

// patience is how long the machines may take to deliver what is left once all targets work: the
// longest timeouts, one after the other.
const patience = 5 * time.Minute

// finish heals all targets, or all but one that vanishes, and demands that everything is delivered.
func (s *sim) finish() {
	s.say("finish")
	s.heal()
	s.terminate(time.Now())
	if s.rng.IntN(2) == 0 && s.plot != peaceful && !s.stay {
		s.vanish()
	}
	for until := time.Now().Add(patience); !s.done(); {
		if time.Now().After(until) {
			s.t.Errorf("seed %d: not done after %v", s.seed, patience)
			s.left()
			return
		}
		s.pass(25 * time.Millisecond)
		s.checkMemory()
		s.checkLedger()
	}
	now := time.Now()
	for _, m := range s.machines {
		m.Abort(now)
	}
	if n := s.shared.Retained(); n != (linebuf.Count{}) {
		s.t.Errorf("seed %d: %d lines retained at the end", s.seed, n.Lines)
	}
	if n := s.buffers.InUse(); n != 0 {
		s.t.Errorf("seed %d: %d bytes of buffers were not given back", s.seed, n)
	}
}

func (s *sim) done() bool {
	for _, m := range s.machines {
		if !m.Done() {
			return false
		}
	}
	return true
}

// dismiss ends the machines of removed targets, and those in excess, and forgets such targets once
// nothing uses them.
func (s *sim) dismiss(now time.Time) {
	kept := s.machines[:0]
	for _, m := range s.machines {
		leaves := s.isFormer(m.home) || m.excess
		if m.Rests() && leaves && m.dialAt.IsZero() && (m.lane == nil || s.lanes.forget(m)) {
			m.Abort(now)
			continue
		}
		kept = append(kept, m)
	}
	clear(s.machines[len(kept):])
	s.machines = kept
}

func (s *sim) isFormer(b *Backend) bool {
	for _, x := range s.former {
		if x.Backend == b {
			return true
		}
	}
	return false
}
