package service

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"sync/atomic"

	"github.com/dustin/go-humanize/english"
	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/loop"
	"linesplit/relay"
	"linesplit/target"
	"linesplit/tlsconf"
)

// connectionMode carries whole connections and datagrams:
//
//	clients ─▶ listener ─┐           ┌─▶ target
//	clients ─▶ listener ─┼─▶ relay ──┼─▶ target
//	                     ┘           └─▶ target
type connectionMode struct {
	service *service
	dial    target.Options                // as cfg; guarded by the service's mu
	cfg     atomic.Pointer[config.Config] // as at the start, except for reloads
	logger  *slog.Logger
	connect prometheus.Histogram
	relay   *relay.Relay
}

func newConnectionMode(cfg config.Config, dial target.Options, s *service) *connectionMode {
	m := &connectionMode{service: s, dial: dial, logger: s.logger, connect: admin.NewConnect()}
	m.cfg.Store(&cfg)
	o := relay.Options{
		Balance:        cfg.Balance,
		Loops:          cfg.Loops,
		SharedLoops:    &s.shared.loops,
		Carrier:        s.shared.carrier,
		Tuning:         m.tuning(cfg, dial),
		AccessLog:      s.access,
		ConnectSeconds: m.connect,
		Logger:         s.logger,
	}
	for _, a := range cfg.Targets {
		o.Targets = append(o.Targets, m.newTarget(a, cfg.Health.Fall))
	}
	m.relay = relay.New(o)
	return m
}

func (m *connectionMode) tuning(cfg config.Config, dial target.Options) relay.Tuning {
	t := cfg.Forward
	t.DialOptions = dial
	t.Drain = cfg.DrainTimeout
	t.MaxConnections = m.service.maxClients(cfg, cfg.Targets)
	return t
}

func (m *connectionMode) rebalance() {
	change := relay.Change{Tuning: m.tuning(*m.cfg.Load(), m.dial)}
	if err := m.relay.Reconfigure(change); err != nil { // impossible: no target changes
		m.logger.Warn("cannot adapt to other services", "err", err)
	}
}

func (m *connectionMode) close() {}

func (m *connectionMode) newTarget(a target.Address, fall int) *target.Target {
	t := target.New(a, m.logger)
	t.SetFall(cmp.Or(a.Fall, fall))
	return t
}

func (m *connectionMode) carry(accepting, hard context.Context, in *inbound, _ func(error)) error {
	loop.MakeRoom(m.cfg.Load().Loops)
	return in.serve(
		func(ln net.Listener) error { return m.relay.Serve(accepting, hard, ln) },
		func(pc net.PacketConn) error { return m.relay.ServePackets(accepting, hard, pc) },
	)
}

// report returns an error if connections had to be cut off.
func (m *connectionMode) report(droppedDatagrams uint64) error {
	m.relay.FlushLog()
	s := m.relay.Stats()
	level := slog.LevelInfo
	if s.CutOff+s.LostDatagrams+droppedDatagrams > 0 {
		level = slog.LevelWarn
	}
	m.logger.Log(context.Background(), level, "drain ended", "connections", s.Accepted, "connections_cut_off", s.CutOff,
		"lost_datagrams", s.LostDatagrams, "dropped_datagrams", droppedDatagrams)
	if s.CutOff == 0 {
		return nil
	}
	return fmt.Errorf("connections that had not ended when the drain was over, and were reset: %d", s.CutOff)
}

// ready is false at the limit of clients, too: a new one would be refused.
func (m *connectionMode) ready() (bool, string) {
	s := m.relay.Stats()
	if limit := m.service.maxClients(*m.cfg.Load(), m.relay.Addresses()); limit > 0 && s.Active >= int64(limit) {
		return false, "the limit is reached: " + english.Plural(limit, "client", "")
	}
	for _, t := range s.Targets {
		if t.State == target.StateUp || t.State == target.StateUnknown {
			return true, ""
		}
	}
	return false, "all targets are down or drained"
}

func (m *connectionMode) handshakes() *tlsconf.Handshakes { return tlsconf.NewHandshakes(0, nil) }

func (m *connectionMode) histogram() prometheus.Histogram { return m.connect }

func (m *connectionMode) spoolSyncs() prometheus.Histogram { return nil }
