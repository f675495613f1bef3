// Package upstream knows the targets that clients are connected to: which there are, who is next, and who waits for one.
package upstream

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"sync"
	"time"

	"linesplit/internal/loglimit"
	"linesplit/relay/internal/traffic"
	"linesplit/target"
)

// Options are the settings of Backends.
type Options struct {
	Targets        []*target.Target
	Balance        string // what ParseBalance does not know is round-robin
	Settings       *traffic.Settings
	ConnectSeconds interface{ Observe(seconds float64) } // of each successful dial; may be nil
	Expel          func(*Backend)                        // has the connections of one that is to be removed end
	Logger         *slog.Logger
}

// Backends are the backends of a relay. A backend is a target with what it has of connections and bytes; those of one kind, streams or
// datagrams, form a Group, which knows who is next.
type Backends struct {
	Streams, Datagrams *Group

	settings       *traffic.Settings
	connectSeconds interface{ Observe(seconds float64) }
	expel          func(*Backend)
	logger         *slog.Logger
	dialsFailed    loglimit.Limiter

	mu      sync.Mutex // guards what follows, and is held where targets change
	all     []*Backend // of both groups, in the order of the configuration, those added later behind
	balance string
	removed RemovedStats
}

// New returns Backends with o.Targets.
func New(o Options) *Backends {
	name, err := ParseBalance(o.Balance)
	if err != nil {
		name = RoundRobin
	}
	s := &Backends{
		Streams:        newGroup(o.Settings, name, o.Logger),
		Datagrams:      newGroup(o.Settings, name, o.Logger),
		settings:       o.Settings,
		connectSeconds: o.ConnectSeconds,
		expel:          o.Expel,
		logger:         o.Logger,
		balance:        name,
	}
	for _, t := range o.Targets {
		s.appendLocked(newBackend(t)) // nobody else knows s yet
	}
	return s
}

// hurried is the time that a target has at least to answer before it may be blamed for not doing so.
const hurried = time.Second

// Dial connects once to b, within most, and tells everybody how it went. The caller closes the connection. A dial that was called
// off says nothing about the target.
func (s *Backends) Dial(ctx context.Context, b *Backend, header []byte, most time.Duration) (net.Conn, error) {
	set := s.settings.Load()
	o := &set.DialOptions
	if o.Timeout <= 0 || most < o.Timeout {
		shorter := *o
		shorter.Timeout = most
		o = &shorter
	}
	start := time.Now()
	nc, err := target.Dial(ctx, b.Target.Address, o, header)
	switch {
	case err == nil:
	case ctx.Err() != nil:
		return nil, err
	case target.IsLocalError(err):
		s.dialsFailed.Warn(s.logger, "cannot dial for want of resources", slog.Any("err", err))
		return nil, err
	case o.Timeout == most && most < min(hurried, set.DialBudget/4) && timedOut(err):
		return nil, err
	default:
		b.Target.DialFailed(err)
		return nil, err
	}
	took := time.Since(start)
	b.Target.DialSucceeded()
	b.total.Add(1)
	b.connect.Store(int64(took))
	s.groupOf(b).SetUnreachable(false)
	if s.connectSeconds != nil {
		s.connectSeconds.Observe(took.Seconds())
	}
	return nc, nil
}

func (s *Backends) groupOf(b *Backend) *Group { return s.groupFor(b.Target) }

func (s *Backends) groupFor(t *target.Target) *Group {
	if t.Address.Scheme == target.SchemeUDP {
		return s.Datagrams
	}
	return s.Streams
}

func timedOut(err error) bool {
	e, ok := errors.AsType[net.Error](err)
	return ok && e.Timeout()
}
