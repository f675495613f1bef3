package delivery

import (
	"syscall"
	"time"
)

// simBackups is the part of a simulation that knows of backups and of machines that are not wanted.
type simBackups struct {
	mixed   bool      // some targets are backups; then every target has a machine
	upSince time.Time // since when a target that is no backup is up, as far as steps show
}

// launchAll gives every target a machine, as in a pool: a target that is up and has none would keep
// its backups from serving.
func (s *sim) launchAll() {
	for _, x := range s.targets {
		if s.mixed {
			s.launch(x)
		}
	}
}

// primary returns a target that is no backup.
func (s *sim) primary() *simTarget {
	for _, x := range s.targets {
		if !x.isBackup() {
			return x
		}
	}
	return s.addAs(false)
}

// rests reports whether b is a backup while another target is up.
func (s *sim) rests(b *Backend) bool { return b.isBackup() && s.primaryUp() }

func (s *sim) primaryUp() bool {
	for _, x := range s.targets {
		if !x.isBackup() && x.up() {
			return true
		}
	}
	return false
}

// isHome reports whether the machine is where it belongs while all targets work.
func (m *simMachine) isHome() bool {
	if m.s.rests(m.home) {
		return m.out == nil
	}
	return m.out != nil && m.out.backend == m.home
}

// checkBackups demands that a backup gets nothing soon after another target is up, and so does a
// machine that is not wanted.
func (s *sim) checkBackups() {
	now := time.Now()
	if !s.primaryUp() {
		s.upSince = now
	}
	for _, m := range s.machines {
		if m.out == nil || m.out.ending {
			continue
		}
		if s.rests(m.out.backend) && now.Sub(s.upSince) > 2*time.Second {
			s.t.Errorf("seed %d: a backup gets lines while another target is up", s.seed)
		}
		if m.unwanted.Load() && !m.writing && m.retryQueue.empty() && now.Sub(m.unwantedAt) > 2*time.Second && now.Sub(m.out.used) > 2*time.Second {
			s.t.Errorf("seed %d: a machine that is not wanted gets lines", s.seed)
		}
	}
}

func (m *simMachine) want(v bool) {
	if !v && !m.unwanted.Load() {
		m.unwantedAt = time.Now()
	}
	m.SetWanted(v)
}

// changeWanted tells a machine to rest, if its home has another one, or to go on. With keys, it
// changes the share of a target.
func (s *sim) changeWanted() {
	if len(s.machines) == 0 {
		return
	}
	if s.lanes != nil {
		s.lanes.reshare()
		return
	}
	m := s.machines[s.rng.IntN(len(s.machines))]
	if m.unwanted.Load() {
		m.want(true)
		return
	}
	for _, other := range s.machines {
		if other != m && other.home == m.home && !other.unwanted.Load() {
			m.want(false)
			return
		}
	}
}

// refuseAll makes all targets that are no backups crash at once, and stay away for now.
func (s *sim) refuseAll() {
	for _, x := range s.targets {
		if s.mixed && !x.isBackup() {
			for _, c := range x.live() {
				c.kill()
			}
			x.refuses = syscall.ECONNREFUSED
		}
	}
}

// vanish makes the first target vanish, or all that are no backups, as long as another is left.
func (s *sim) vanish() {
	left, all := 0, s.mixed && s.rng.IntN(2) == 0
	goes := func(i int, x *simTarget) bool { return i == 0 || all && !x.isBackup() }
	for i, x := range s.targets {
		if !goes(i, x) {
			left++
		}
	}
	for i, x := range s.targets {
		if left > 0 && goes(i, x) {
			x.setBlackHole(time.Now(), true)
			x.refuses = syscall.ETIMEDOUT
		}
	}
}
