package delivery

import (
	"log/slog"
	"time"

	"github.com/cenkalti/backoff/v4"

	"linesplit/target"
)

const (
	// InitialDelay and MaxDelay bound the mean delay between failed dials, which doubles with each.
	// An operator who restarts a target should not wait for linesplit.
	InitialDelay = 50 * time.Millisecond
	MaxDelay     = 2 * time.Second
)

// dialling holds what a machine knows about its dials. At most one attempt is under way.
type dialling struct {
	busy    bool
	arrived Conn      // a connection that waits for the end of the write under way, or nil
	at      *Backend  // that it is to
	since   time.Time // when it was established
	delays  *backoff.ExponentialBackOff
	retryAt time.Time // when the next attempt is due; zero: none is scheduled
	avoid   *Backend  // the one that failed last
	prefer  *Backend  // the one to try first, once
	turn    int       // counts attempts while all are down; see inTurn
	failed  bool      // the last attempt failed, or its connection confirmed nothing
}

func newDialling() dialling {
	return dialling{delays: backoff.NewExponentialBackOff(
		backoff.WithInitialInterval(InitialDelay),
		backoff.WithMaxInterval(MaxDelay),
		backoff.WithMultiplier(2),
		backoff.WithRandomizationFactor(0), // retryLater spreads the delays
		backoff.WithMaxElapsedTime(0),      // no limit
	)}
}

func (d *dialling) due() time.Time {
	if d.busy {
		return time.Time{}
	}
	return d.retryAt
}

func (d *dialling) armed() bool { return !d.retryAt.IsZero() }

// noteFailure notes a failed connection. If it was of use, past failures no longer delay the
// next dial.
func (d *dialling) noteFailure(c *outConn, err error) {
	d.failed = !c.confirmed && err != errStalled && err != errDrainStalled
	if !d.failed {
		d.delays.Reset()
	}
}

// reset forgets past failures.
func (d *dialling) reset() {
	d.avoid, d.prefer, d.failed, d.retryAt = nil, nil, false, time.Time{}
	d.delays.Reset()
}

// connect starts an attempt unless one is under way.
func (m *Machine) connect(b *Backend) {
	if m.dialling.busy {
		return
	}
	m.dialling.busy, m.dialling.retryAt = true, time.Time{}
	m.driver.Dial(b)
}

// retryLater schedules an attempt after a delay that grows with each failure, and is random so that
// machines do not dial in step.
func (m *Machine) retryLater(now time.Time) {
	d := m.dialling.delays.NextBackOff()
	m.dialling.retryAt = now.Add(d/2 + time.Duration(m.shared.intN(int(d))))
}

// ensureDial starts a dial, or the delay before one, if the machine has work and no connection.
func (m *Machine) ensureDial(now time.Time) {
	d := &m.dialling
	switch {
	case m.out != nil || d.busy || d.armed() || !m.hasWork():
	case d.failed:
		m.retryLater(now)
	default:
		m.dial(now)
	}
}

// dial starts the next attempt unless one is under way, whose result then decides. With no
// candidate, the attempt has failed.
func (m *Machine) dial(now time.Time) {
	if m.dialling.busy {
		return
	}
	if b := m.candidate(); b != nil {
		m.connect(b)
	} else {
		m.attemptFailed(now)
	}
}

// redial dials when the delay is over, unless the machine no longer needs a connection.
func (m *Machine) redial(now time.Time) {
	m.dialling.retryAt = time.Time{}
	if (m.out == nil || m.out.ending) && m.hasWork() {
		m.dial(now)
	}
}

// candidate chooses the backend to dial: the preferred one, if set; else home, unless a backend
// failed last; else a random one that did not fail last and is not known to be down. While all
// are down, it tries home and the others in turn. It skips backends that checks have found down
// or that take no lines, and backups that rest, and returns nil if no other is left. A machine that
// stays takes home or none.
func (m *Machine) candidate() *Backend {
	d := &m.dialling
	if m.stays() {
		if m.shared.Backends().dialable(m.home) {
			return m.home
		}
		return nil
	}
	if b := d.prefer; b != nil {
		d.prefer = nil
		if m.shared.Backends().dialable(b) { // it was when it was chosen
			return b
		}
	}
	avoid, list := d.avoid, m.shared.Backends()
	switch {
	case avoid == nil && list.dialable(m.home):
		return m.home
	case avoid == nil:
		avoid = m.home
	}
	if t := list.serving().Other(avoid.Target, m.shared.intN); t != nil {
		return list.of(t)
	}
	return m.inTurn(list)
}

func (m *Machine) inTurn(list *Backends) *Backend {
	d := &m.dialling
	for range 2 * len(list.all) {
		d.turn++
		b := m.home
		if d.turn%2 == 0 {
			b = list.all[d.turn/2%len(list.all)]
		}
		if list.dialable(b) {
			return b
		}
	}
	return nil
}

// Dialled reports the end of the attempt that Driver.Dial started: a connection that the machine
// owns from now on, or an error.
func (m *Machine) Dialled(b *Backend, c Conn, err error, now time.Time) {
	m.dialling.busy = false
	switch {
	case err != nil:
		m.onDialFailed(b, err, now)
	case m.stopped:
		c.Close()
	default:
		b.Target.DialSucceeded()
		m.dialling.arrived, m.dialling.at, m.dialling.since = c, b, now
		m.dialling.busy = m.writing // no other attempt before this connection is used
	}
	if !m.writing {
		m.advance(now)
	}
}

// takeArrived uses the connection that a dial has brought, once nothing is being written.
func (m *Machine) takeArrived(now time.Time) {
	d := &m.dialling
	c, at := d.arrived, d.at
	if c == nil || m.writing {
		return
	}
	d.arrived, d.at, d.busy = nil, nil, false
	switch {
	case !m.hasWork() || m.tooLate(at): // it is no longer needed
		c.Close()
	case m.shared.Backends().rests(at) || !at.join(): // since the dial began
		c.Close()
		m.attemptFailed(now)
	default:
		m.switchTo(newOutConn(c, at, d.since, now), now)
	}
}

// dropArrived closes a connection that was never used.
func (m *Machine) dropArrived() {
	if c := m.dialling.arrived; c != nil {
		c.Close()
		m.dialling.arrived, m.dialling.busy = nil, false
	}
}

// onDialFailed notes the failure and makes the next attempt avoid that backend.
func (m *Machine) onDialFailed(b *Backend, err error, now time.Time) {
	if target.IsLocalError(err) {
		b.Target.DialHindered(err)
		m.shared.hindered.Warn(m.shared.logger, "cannot dial for want of resources", slog.Any("err", err))
	} else {
		b.Target.DialFailed(err)
	}
	m.dialling.avoid = b
	m.attemptFailed(now)
}

// attemptFailed leaves a connection that only waited for its replacement, and delays the next dial.
func (m *Machine) attemptFailed(now time.Time) {
	if m.out != nil && m.out.ending && !m.writing {
		m.retire(now)
	}
	m.dialling.failed = true
}

// switchTo makes a fresh connection the present one, between two lines, and retires the one
// before.
func (m *Machine) switchTo(c *outConn, now time.Time) {
	renewed := m.out != nil && m.out.renewal.begun
	if m.out != nil {
		m.retire(now)
	}
	c.renewal = m.renewalOf(c.backend, now)
	m.out = c
	m.dialling.avoid, m.dialling.prefer = nil, nil
	m.failbackTried = now
	if renewed && m.lastBackend == c.backend {
		m.logger.Debug("connection renewed", targetAttr(c.backend))
	} else {
		m.logSwitch(c.backend)
	}
	m.lastBackend = c.backend
}

// logSwitch logs and counts the machine's move to a backend.
func (m *Machine) logSwitch(to *Backend) {
	from := m.lastBackend
	if from == nil {
		from = m.home
	}
	left := slog.Any("from", from.Target)
	switch {
	case from == to:
		to.logs.connected.Log(m.logger, slog.LevelInfo, "connected", targetAttr(to))
	case to == m.home:
		to.failbacks.Add(1)
		to.logs.failedBack.Log(m.logger, slog.LevelInfo, "failed back", targetAttr(to), left)
	case !m.shared.Backends().serves(from):
		to.logs.movedOn.Log(m.logger, slog.LevelInfo, "moved on", targetAttr(to), left)
	default:
		from.failovers.Add(1)
		from.logs.failedOver.Log(m.logger, slog.LevelInfo, "failed over", targetAttr(to), left)
	}
}
