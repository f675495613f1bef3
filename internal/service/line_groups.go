package service

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"linesplit/admin"
	"linesplit/internal/acked"
	"linesplit/internal/config"
	"linesplit/internal/fanout"
	"linesplit/linebuf"
	"linesplit/splitter"
	"linesplit/target"
	"linesplit/workerpool"
)

// lineGroup is one group of targets, each line of which goes to one of them.
type lineGroup struct {
	name     string // empty where there is one group only
	required bool
	budget   int64
	pool     *workerpool.Pool
	queue    *fanout.Group // nil: there is no fan-out
}

// makeGroups makes the groups of a configuration, that of -target first. It makes the fan-out to
// them if there are several, or a spool.
func (m *lineMode) makeGroups(cfg config.Config, dial target.Options) {
	m.groups = []*lineGroup{{required: true}}
	if len(cfg.Groups) > 0 {
		m.groups[0].name = config.MainGroup
	}
	for _, g := range cfg.Groups {
		m.groups = append(m.groups, &lineGroup{name: g.Name, required: g.Required, budget: g.Budget})
	}
	var options []fanout.Options
	for i, g := range m.groups {
		o := workerpool.Options{
			Targets:        config.InGroup(cfg.Targets, configName(g.name)),
			Connections:    cfg.Connections,
			Keys:           cfg.Keys,
			Queue:          cfg.Queue,
			Pools:          len(m.groups),
			Budget:         g.budget,
			Tuning:         deliveryTuning(cfg, dial),
			ConfirmSeconds: m.confirmation,
			Logger:         m.logger,
			Keep:           m.keeper(i),
			Acknowledged:   acked.Options{Rejects: m.rejects, Version: m.service.shared.version, Note: m.noteBatch(cfg, i)},
		}
		if len(m.groups) > 1 {
			o.Logger = m.logger.With("group", g.name)
		}
		g.pool = workerpool.New(m.buffers, o)
		options = append(options, fanout.Options{Name: g.name, Required: g.required, Budget: g.budget, Queue: m.queueFor(cfg),
			Ended: g.pool.EndInput})
	}
	switch {
	case m.spool != nil:
		m.fan = fanout.NewKept(m.buffers, options, m.kept(cfg), m.logger)
	case len(m.groups) > 1:
		m.fan = fanout.New(m.buffers, options, m.logger)
	default:
		return
	}
	for i, g := range m.fan.Groups() {
		m.groups[i].queue = g
	}
}

// keyedGroups returns what makes outlets for lines with keys, nil where lines have none or there is
// no fan-out.
func (m *lineMode) keyedGroups() *workerpool.KeyedGroups {
	if m.fan == nil || !m.pool.Keyed() {
		return nil
	}
	var pools []*workerpool.Pool
	var required []bool
	for _, g := range m.groups {
		pools, required = append(pools, g.pool), append(required, g.required)
	}
	return workerpool.NewKeyedGroups(pools, required, m.fan, m.spool != nil)
}

// configName returns the name of a group in a configuration.
func configName(name string) string { return cmp.Or(name, config.MainGroup) }

// newOutlet returns the outlet of one sender.
func (m *lineMode) newOutlet() splitter.Outlet {
	switch {
	case m.spool != nil:
		return m.newKeptOutlet()
	case m.keyed != nil:
		return m.keyed.NewOutlet()
	case m.pool.Keyed():
		return m.pool.NewKeyedOutlet()
	case m.fan == nil:
		return m.pool.NewOutlet()
	}
	var outlets []fanout.Outlet
	for _, g := range m.groups {
		outlets = append(outlets, g.pool.NewOutlet())
	}
	return m.fan.NewOutlet(outlets)
}

// deliver delivers the lines to all groups until the channel is closed and everything is confirmed,
// lines in a spool included unless soft ends, or until soon after hard has ended. Best-effort
// groups have the drain timeout for the rest once the required ones have everything: a target that
// hangs and is not required must not keep linesplit from ending.
func (m *lineMode) deliver(soft, hard context.Context) {
	if m.fan == nil {
		m.pool.Run(hard, m.lines) // report counts what it leaves unconfirmed
		return
	}
	var fan, required, others sync.WaitGroup
	fan.Go(func() { m.fan.Run(soft, hard, m.lines) })
	bestEffort, stop := context.WithCancel(hard)
	defer stop()
	for _, g := range m.groups {
		if g.required {
			required.Go(func() { g.pool.Run(hard, g.queue.Lines()) })
		} else {
			others.Go(func() { g.pool.Run(bestEffort, g.queue.Lines()) })
		}
	}
	required.Wait()
	giveUp := time.AfterFunc(m.cfg.Load().DrainTimeout, func() {
		stop()
		for _, g := range m.groups {
			if !g.required {
				g.queue.Abandon()
			}
		}
	})
	defer giveUp.Stop()
	others.Wait()
	fan.Wait()
}

// addresses returns the targets of all groups that are not being removed, with their weights in
// force.
func (m *lineMode) addresses() (all []target.Address) {
	for _, g := range m.groups {
		all = append(all, g.pool.Addresses()...)
	}
	return all
}

// poolOf returns the pool that lists the named target, or that of -target, whose methods then say
// that there is no such target.
func (m *lineMode) poolOf(name string) *workerpool.Pool {
	for _, g := range m.groups {
		if g.pool.Lists(name) {
			return g.pool
		}
	}
	return m.pool
}

// changes returns what has to change in each group to get from one configuration to another. The
// groups are the same in both.
func (m *lineMode) changes(old, next config.Config, dial target.Options) []workerpool.Change {
	all := make([]workerpool.Change, len(m.groups))
	for i, g := range m.groups {
		was, is := config.InGroup(old.Targets, configName(g.name)), config.InGroup(next.Targets, configName(g.name))
		c := workerpool.Change{Tuning: deliveryTuning(next, dial), Shares: config.DiffShares(was, is)}
		c.Add, c.Remove = config.DiffTargets(was, is)
		all[i] = c
	}
	return all
}

// groupStats are the counts of a group.
type groupStats struct {
	workerpool.Stats
	dropped           linebuf.Count
	spilled, replayed linebuf.Count // lines that went to the spool in place of workers, and those that came from it
}

// queued returns the lines that the group was given and its workers have not taken. in must be no
// older than g.
func (g groupStats) queued(in splitter.Stats) linebuf.Count {
	n := in.Queued
	n.Add(g.replayed)
	n.Sub(g.Taken)
	n.Sub(g.dropped)
	n.Sub(g.spilled)
	return n
}

// spooled returns the lines that went to the spool in place of workers, or from them at the end.
func (g groupStats) spooled() linebuf.Count {
	n := g.spilled
	n.Add(g.Kept)
	return n
}

// stats asks the receiving side last, so that lines that move meanwhile never seem to be more than
// were received.
func (m *lineMode) stats() (in splitter.Stats, out []groupStats) {
	for _, g := range m.groups {
		s := groupStats{Stats: g.pool.Stats()}
		if g.queue != nil {
			s.dropped, s.spilled, s.replayed = g.queue.Dropped(), g.queue.Spilled(), g.queue.Returned()
		}
		out = append(out, s)
	}
	return m.split.Stats(), out
}

// ledger accounts for what a group was given. in must be no older than out.
func (g *lineGroup) ledger(in splitter.Stats, out groupStats) admin.GroupStatus {
	s := admin.GroupStatus{
		Name: g.name, Required: g.required, Given: admin.Amount(in.Queued), Retained: gauge(out.Retained),
		Dropped: plus(admin.Amount(out.dropped), out.Reframed.Refused), BudgetBytes: uint64(g.budget), Targets: len(out.Targets),
		Queued: gauge(out.queued(in)), Spooled: admin.Amount(out.spooled()), Replayed: admin.Amount(out.replayed),
	}
	if g.queue != nil {
		s.MemoryBytes = uint64(max(0, g.queue.Held()))
	}
	for _, t := range slices.Concat(out.Targets, []workerpool.TargetStats{out.Removed}) {
		s.Confirmed, s.Rejected = plus(s.Confirmed, t.Confirmed), plus(s.Rejected, t.Rejected)
		for _, r := range t.Resent {
			s.Resent = plus(s.Resent, r.Count)
		}
	}
	return s
}

// reportGroups logs the accounts of all groups, if there are several, and returns how many lines
// required groups beside the first have not confirmed.
func (m *lineMode) reportGroups(in splitter.Stats, out []groupStats) (lost admin.Amount) {
	if len(m.groups) == 1 {
		return admin.Amount{}
	}
	for i, g := range m.groups {
		g.queue.FlushLog()
		l := g.ledger(in, out[i])
		left := admin.Amount{Lines: l.Queued.Lines + l.Retained.Lines, Bytes: l.Queued.Bytes + l.Retained.Bytes}
		level := slog.LevelInfo
		if left.Bytes+l.Dropped.Bytes > 0 {
			level = m.reportLevel(true, 0)
		}
		m.logger.Log(context.Background(), level, "group ended", "group", g.name, "required", g.required,
			"confirmed_lines", l.Confirmed.Lines, "rejected_lines", l.Rejected.Lines,
			"resent_lines", l.Resent.Lines, "unconfirmed_lines", left.Lines,
			"unconfirmed_bytes", left.Bytes, "dropped_lines", l.Dropped.Lines, "dropped_bytes", l.Dropped.Bytes)
		if g.required && i > 0 {
			lost.Lines += left.Lines
			lost.Bytes += left.Bytes
		}
	}
	return lost
}
