package delivery

import "linesplit/target"

// A backup serves only while no other target is up. Until then it rests: machines whose home it is
// hold no connection, and the others do not dial it. Machines read at each tick, and before each
// dial, whether that has changed.
//
// When the last other target goes down, the machines that it leaves without a connection find no
// candidate but the backups, and dial one at once; those at home there wake up with the next tick.
// When another target is up again, connections to backups are left in order, like those to a target
// that is drained, so nothing is lost and nothing goes twice.

// up reports whether a target takes lines and seems to work: no check has found it down, it does
// not reset one new connection after the other before it has confirmed anything, and it has
// connections in use or is not known to be down.
func (b *Backend) up() bool {
	return b.Accepts() && !b.Target.Unhealthy() && b.futile.Load() < cutShortTimes &&
		(b.inUse.Load() > 0 || !b.Target.Down())
}

func (b *Backend) isBackup() bool { return b.Target.Address.Backup }

// PrimaryUp reports whether a target that is no backup is up, so that backups rest. It is false
// where there are no backups.
func (l *Backends) PrimaryUp() bool {
	if len(l.backups) == 0 {
		return false
	}
	for _, b := range l.all {
		if !b.isBackup() && b.up() {
			return true
		}
	}
	return false
}

// rests reports whether b is a backup that is not needed.
func (l *Backends) rests(b *Backend) bool { return b.isBackup() && l.PrimaryUp() }

// serves reports whether b is to get lines now.
func (l *Backends) serves(b *Backend) bool { return b.Accepts() && !l.rests(b) }

// dialable reports whether b is to get lines now and no check has found it down.
func (l *Backends) dialable(b *Backend) bool { return b.dialable() && !l.rests(b) }

// serving returns the targets among which lines are spread now. While no target that is no backup
// is up, those are the backups alone.
func (l *Backends) serving() target.Set {
	switch {
	case len(l.backups) == 0:
		return l.accepting
	case l.PrimaryUp():
		return l.primaries
	}
	return l.backups
}
