package service

import (
	"context"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize/english"
	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/internal/acked"
	"linesplit/internal/config"
	"linesplit/internal/deadletter"
	"linesplit/internal/fanout"
	"linesplit/internal/httpsource"
	"linesplit/internal/loop"
	"linesplit/internal/relpsource"
	"linesplit/linebuf"
	"linesplit/splitter"
	"linesplit/spool"
	"linesplit/target"
	"linesplit/tlsconf"
	"linesplit/workerpool"
)

// gcPercent is the garbage that the heap may gather in line mode, in percent of the live data.
// In steady state nothing is allocated, so that a low value costs nothing, and the process stays
// close to -memory when buffers of many sizes come and go. GOGC overrides it.
const gcPercent = 30

// lineMode cuts what senders write into lines and spreads the lines over the targets:
//
//	senders ─▶ listener ─┐                                     ┌─▶ worker ─▶ target
//	senders ─▶ listener ─┼─▶ splitter ─▶ chan *Buffer ─▶ pool ─┼─▶ worker ─▶ target
//	                     ┘   (one goroutine per sender)        └─▶ worker ─▶ target
//
// With several groups of targets there is a pool for each, and a fan-out before them that gives
// each buffer to all.
//
// A sender's goroutine writes to a target itself, past the channel, while a worker has nothing else
// to do. With -key, a sender's goroutine scatters its lines to lanes, one for each worker, in place
// of the channel; with several groups, to a lane in each of them.
//
// With a spool there is a fan-out even for one group: it gives lines to files when workers have no
// room, and back to workers.
type lineMode struct {
	service      *service
	cfg          atomic.Pointer[config.Config] // as at the start, except for reloads
	dial         target.Options                // as cfg; guarded by the service's mu
	logger       *slog.Logger
	buffers      *linebuf.Pool
	lines        chan *linebuf.Buffer
	split        *splitter.Splitter
	groups       []*lineGroup            // at least one, that of -target first
	pool         *workerpool.Pool        // of the first group
	fan          *fanout.Fanout          // nil: one group and no spool
	keyed        *workerpool.KeyedGroups // nil: lines without keys, or one group and no spool
	spool        *spool.Spool            // nil for none
	syncs        prometheus.Histogram    // of the spool; nil for none
	letters      *deadletter.File        // nil for none
	rejects      *acked.Rejects
	web          *httpsource.Server
	relp         *relpsource.Server
	tokens       map[string]*admin.Token // of listeners, by file
	hard         context.Context         // ends when the spool must take what is left; set by carry
	confirmation prometheus.Histogram
}

func newLineMode(cfg config.Config, dial target.Options, s *service) (*lineMode, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	m := &lineMode{
		service:      s,
		dial:         dial,
		logger:       s.logger,
		buffers:      s.shared.memory.NewPool(cfg.Memory),
		lines:        make(chan *linebuf.Buffer, cfg.Queue),
		confirmation: admin.NewConfirmation(),
	}
	m.cfg.Store(&cfg)
	if err := m.openFiles(cfg); err != nil {
		m.buffers.Close()
		return nil, err
	}
	loops := &s.shared.loops
	if m.spool != nil {
		loops = nil // they wait for the disk
	}
	m.split = splitter.New(m.buffers, m.lines, splitter.Options{
		ReadSize: int(cfg.Buffer),
		Outlet:   m.newOutlet,
		Loops:    cfg.Loops,
		Logger:   s.logger,

		SharedLoops: loops,
	})
	m.makeGroups(cfg, dial)
	m.pool = m.groups[0].pool
	m.keyed = m.keyedGroups()
	m.tuneSplitter()
	if err := m.makeWaited(cfg); err != nil {
		m.close()
		return nil, err
	}
	return m, nil
}

// openFiles opens the dead-letter file and the spool, as far as there are any.
func (m *lineMode) openFiles(cfg config.Config) (err error) {
	if cfg.DeadLetter != "" {
		if m.letters, err = deadletter.Open(cfg.DeadLetter, cfg.DeadLetterSize); err != nil {
			return err
		}
	}
	m.rejects = acked.NewRejects(m.letters, m.logger)
	if err := m.openSpool(cfg); err != nil {
		m.closeLetters()
		return err
	}
	return nil
}

func (m *lineMode) closeLetters() {
	if m.letters != nil {
		m.letters.Close()
	}
}

func deliveryTuning(cfg config.Config, dial target.Options) workerpool.Tuning {
	t := cfg.Delivery
	t.DialOptions = dial
	return t
}

// tuneSplitter applies the settings in force. The limit of senders depends on how many targets
// there are now.
func (m *lineMode) tuneSplitter() {
	cfg := m.cfg.Load()
	t := cfg.Lines
	t.MaxConnections = m.maxSenders()
	t.Drain = m.sendersDrain()
	m.split.Tune(t)
}

// sendersDrain returns how long senders may go on after SIGTERM. The targets need the other half of
// -drain-timeout.
func (m *lineMode) sendersDrain() time.Duration {
	drain := m.cfg.Load().DrainTimeout / 2
	if m.spool != nil {
		drain = min(drain, spoolSenders)
	}
	return drain
}

// maxSenders returns 0 for no limit.
func (m *lineMode) maxSenders() int {
	return m.service.maxClients(*m.cfg.Load(), m.addresses())
}

func (m *lineMode) rebalance() {
	m.tuneSplitter()
	for _, g := range m.groups {
		g.pool.Tune(deliveryTuning(*m.cfg.Load(), m.dial))
	}
}

func (m *lineMode) close() {
	if m.spool != nil {
		m.spool.Close() // the spool logs its faults itself
	}
	m.closeLetters()
	m.buffers.Close()
}

// carry ends in the direction of the lines: the senders end, the channel closes, the workers drain,
// and the spool gets the rest. Requests whose lines are on their way are answered at the end.
func (m *lineMode) carry(accepting, hard context.Context, in *inbound, endInput func(error)) error {
	loop.MakeRoom(m.cfg.Load().Loops)
	m.hard = hard
	defer m.finishSenders() // after the last sync of the spool
	stopSpool := m.runSpool()
	defer stopSpool()
	until, stopWaiting := m.workersUntil(accepting, hard)
	defer stopWaiting()
	var workers sync.WaitGroup
	workers.Go(func() { m.deliver(accepting, until) })
	err := in.serve(func(ln net.Listener) error {
		return m.serveSenders(accepting, hard, ln)
	}, nil)
	endInput(err)
	close(m.lines)
	if m.fan == nil {
		m.pool.EndInput() // a fan-out does so for each group, once it has passed on all lines
	}
	workers.Wait()
	if m.spool != nil {
		m.keepRest()
	}
	return err
}

// ready is false at the limit of senders, too: a new one would wait for another to leave.
func (m *lineMode) ready() (bool, string) {
	if m.split.Paused() {
		return false, "the limit is reached: " + english.Plural(m.maxSenders(), "sender", "")
	}
	if m.spool != nil && !m.spool.Stats().Full { // it takes what targets do not
		return true, ""
	}
	for _, g := range m.groups {
		if reason := g.reasonNotReady(); g.required && reason != "" {
			return false, reason
		}
	}
	return true, ""
}

// reasonNotReady returns why no line can go to the group, or "".
func (g *lineGroup) reasonNotReady() string {
	of := ""
	if g.name != "" {
		of = " of group " + g.name
	}
	drained := true
	for _, t := range g.pool.Stats().Targets {
		if t.Connections > 0 {
			return ""
		}
		drained = drained && (t.State == target.StateDraining || t.State == target.StateDrained)
	}
	if drained {
		return "all targets" + of + " are drained"
	}
	return "no target" + of + " is connected"
}

// handshakes lets TLS handshakes take an eighth of the budget, which counts them like lines.
func (m *lineMode) handshakes() *tlsconf.Handshakes {
	return tlsconf.NewHandshakes(m.buffers.Limit()/8, m.buffers.Charge)
}

func (m *lineMode) histogram() prometheus.Histogram { return m.confirmation }

func (m *lineMode) spoolSyncs() prometheus.Histogram { return m.syncs }
