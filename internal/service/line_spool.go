package service

import (
	"context"
	"sync"
	"time"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/internal/config"
	"linesplit/internal/fanout"
	"linesplit/linebuf"
	"linesplit/spool"
)

// With a spool, unconfirmed lines stay on disk at the end, so that linesplit need not wait for
// targets. These are times after SIGTERM.
const (
	spoolSenders = 300 * time.Millisecond // for senders to finish their lines
	spoolWorkers = 600 * time.Millisecond // for workers, whose unconfirmed lines go to the spool then
)

// While the disk has no room for all lines, workers have nearly as much time as without a spool:
// all but one part in spoolShare of -drain-timeout, which is for the spool to take what it can.
const (
	spoolLook  = 50 * time.Millisecond // how often a drain looks at such a disk
	spoolShare = 8
)

// openSpool opens the spool of the service, if it has one.
func (m *lineMode) openSpool(cfg config.Config) (err error) {
	if cfg.Spool.Dir == "" {
		return nil
	}
	names := []string{config.MainGroup}
	for _, g := range cfg.Groups {
		name := g.Name
		if !g.Required {
			name = "" // it does not use the spool
		}
		names = append(names, name)
	}
	m.syncs = admin.NewSpoolSync()
	m.spool, err = spool.Open(spool.Options{
		Dir:         cfg.Spool.Dir,
		Size:        cfg.Spool.Size,
		Sync:        cfg.Spool.Sync,
		DropOldest:  cfg.Spool.DropOldest,
		Groups:      names,
		Marked:      cfg.Acknowledges(),
		Hold:        m.buffers.Limit() / spoolHold(cfg),
		Buffers:     m.buffers,
		Logger:      m.logger,
		SyncSeconds: m.syncs,
	})
	return err
}

// noteBatch returns what notes in the spool which lines are sent to a group together, nil without a
// spool, or without a target at the start that gets batches with IDs.
func (m *lineMode) noteBatch(cfg config.Config, group int) func(linebuf.Mark, []linebuf.Run) {
	if m.spool == nil || !m.groups[group].required || !cfg.NamesBatches() {
		return nil
	}
	return func(first linebuf.Mark, runs []linebuf.Run) { m.spool.NoteBatch(group, first, runs) }
}

// spoolStatus returns the state of the spool, nil for none.
func (m *lineMode) spoolStatus() *admin.SpoolStatus {
	if m.spool == nil {
		return nil
	}
	now := m.spool.Stats()
	s := &admin.SpoolStatus{
		Directory: now.Dir, LimitBytes: uint64(now.Limit), Bytes: uint64(now.Bytes), Segments: uint64(now.Segments),
		UnscannedBytes: uint64(now.Unscanned), Full: now.Full,
		Unconfirmed: admin.Amount(now.Unconfirmed), Oldest: now.Oldest,
		Appended: admin.Amount(now.Appended), Dropped: admin.Amount(now.Dropped), Orphaned: admin.Amount(now.Orphaned),
		Quarantined: admin.Amount(now.Quarantined), QuarantinedFrames: now.QuarantinedFrames,
		Syncs: now.Syncs, SyncErrors: now.SyncErrors, WriteErrors: now.WriteErrors,
		Faults: now.Faults, LastFault: now.LastFault, HeldBytes: uint64(now.Held),
	}
	for _, g := range now.Groups {
		if g.Name == "" {
			continue
		}
		s.Groups = append(s.Groups, admin.SpoolGroup{
			Name: g.Name, Waiting: admin.Amount(g.Waiting), InFlight: admin.Amount(g.InFlight),
			Replayed: admin.Amount(g.Replayed), Confirmed: admin.Amount(g.Confirmed), Dropped: admin.Amount(g.Dropped),
		})
	}
	return s
}

// spoolHold returns the divisor of -memory for the bytes that may wait for a sync. Windows may take
// half of the memory, lanes a quarter, and without keys the queues of groups an eighth; the rest is
// for reading.
func spoolHold(cfg config.Config) int64 {
	if cfg.Keys.Rule != nil {
		return 8
	}
	return 4
}

// queueFor returns the limit of buffers that wait for the workers of a group. With a spool they
// take an eighth of the memory at most: senders without memory to read into could not fill the
// spool.
func (m *lineMode) queueFor(cfg config.Config) int {
	if m.spool == nil {
		return cfg.Queue
	}
	const largest = 128 << 10 // bytes of the buffer of a busy sender
	return int(max(1, min(int64(cfg.Queue), m.buffers.Limit()/8/int64(len(m.groups))/largest)))
}

// groupQueues returns how many buffers wait for the workers of all groups, and how many may.
func (m *lineMode) groupQueues() (buffers, capacity uint64) {
	for _, g := range m.groups {
		buffers, capacity = buffers+uint64(len(g.queue.Lines())), capacity+uint64(cap(g.queue.Lines()))
	}
	return buffers, capacity
}

// kept says how the fan-out uses the spool.
func (m *lineMode) kept(cfg config.Config) fanout.Kept {
	k := fanout.Kept{Spool: m.spool, Always: cfg.Spool.Always}
	if cfg.Keys.Rule != nil {
		k.NewReplay = func(group int) fanout.ReplayOutlet { return m.groups[group].pool.NewReplayOutlet() }
	}
	return k
}

// newKeptOutlet is newOutlet for a service with a spool.
func (m *lineMode) newKeptOutlet() keptOutlet {
	if m.keyed != nil {
		return m.fan.NewKeptLanes(m.keyed.NewOutlet())
	}
	var outlets []fanout.Outlet
	for _, g := range m.groups {
		outlets = append(outlets, g.pool.NewOutlet())
	}
	return m.fan.NewKeptOutlet(outlets)
}

// runSpool runs the spool until stop is called. stop returns after the last sync.
func (m *lineMode) runSpool() (stop func()) {
	if m.spool == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { m.spool.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// workersUntil returns the context by which workers end: hard or, with a spool, one that ends
// spoolWorkers after accepting if that is sooner, or later if the disk has no room for all lines.
// The end of all input alone sets no limit.
func (m *lineMode) workersUntil(accepting, hard context.Context) (until context.Context, stop func()) {
	if m.spool == nil {
		return hard, func() {}
	}
	until, cancel := context.WithCancel(hard)
	stopWaiting := context.AfterFunc(accepting, func() {
		m.spool.Unlimit() // senders that wait for room may finish, too
		timeout := m.cfg.Load().DrainTimeout
		last := time.Now().Add(timeout - timeout/spoolShare)
		accept.Pause(until, spoolWorkers)
		for m.spoolRefuses() && until.Err() == nil && time.Now().Before(last) {
			m.fan.EndAlways() // lines may have nowhere to go but to targets
			accept.Pause(until, spoolLook)
		}
		cancel()
	})
	return until, func() { stopWaiting(); cancel() }
}

// spoolRefuses reports whether the disk may not take all lines that are in memory and not in the
// spool: those of each required group by themselves, with headers that take less than the lines.
func (m *lineMode) spoolRefuses() bool {
	memory, required := m.buffers.InUse(), int64(0)
	for _, g := range m.groups {
		if g.required {
			required++
		}
	}
	if m.cfg.Load().Spool.Always { // workers have lines that are in the spool
		var kept uint64
		for _, g := range m.spool.Stats().Groups {
			kept = max(kept, g.InFlight.Bytes)
		}
		memory -= int64(kept)
	}
	return m.spool.Refuses(2 * required * max(memory, 0))
}

// keepRest writes to the spool what senders have written after the workers had ended.
func (m *lineMode) keepRest() {
	for _, g := range m.groups {
		g.pool.KeepRest()
	}
	m.fan.KeepRest(m.hard)
}

// keptOutlet is an outlet that takes the place of the channel; see splitter.KeyedOutlet.
type keptOutlet interface {
	Offer(b *linebuf.Buffer) bool
	Flush()
	Room() <-chan struct{}
	TakeDropped() linebuf.Count
}

// keeper returns what workers of a group call with lines that are not confirmed when they end.
func (m *lineMode) keeper(group int) func(*linebuf.Buffer) {
	if m.spool == nil || !m.groups[group].required {
		return nil
	}
	return func(b *linebuf.Buffer) { m.fan.Keep(m.hard, group, b) }
}
