package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"

	"linesplit/admin"
	"linesplit/health"
	"linesplit/linebuf"
	"linesplit/listen"
	"linesplit/splitter"
	"linesplit/target"
	"linesplit/workerpool"
)

// pipeline is line mode, wired:
//
//	senders ─▶ listener ─┐                                ┌─▶ worker ─▶ target
//	senders ─▶ listener ─┼─▶ splitter ─▶ chan *Buffer ─▶ pool ─▶ worker ─▶ target
//	                     ┘   (a goroutine each)           └─▶ worker ─▶ target
//
// Consumers start first and end last: senders end, the channel closes, the workers drain.
type pipeline struct {
	cfg          atomic.Pointer[config] // as at the start, but for what a reload has changed
	logger       *logs
	buffers      *linebuf.Pool
	lines        chan *linebuf.Buffer
	split        *splitter.Splitter
	pool         *workerpool.Pool
	confirmation prometheus.Histogram
	in           *inbound
	checks       checkCounts
	checker      *health.Checker // nil where targets are not checked
	draining     atomic.Bool
}

// newPipeline opens nothing yet.
func newPipeline(cfg config, logger *logs) (*pipeline, error) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(gcPercent)
	}
	p := &pipeline{
		logger:       logger,
		buffers:      linebuf.NewPool(cfg.Memory),
		lines:        make(chan *linebuf.Buffer, cfg.Queue),
		confirmation: admin.NewConfirmation(),
	}
	p.split = splitter.New(p.buffers, p.lines, splitter.Options{ReadSize: int(cfg.Buffer), Logger: logger.Logger})
	dial, err := dialOptions(cfg, logger.Logger)
	if err != nil {
		return nil, err
	}
	p.pool = workerpool.New(p.buffers, workerpool.Options{
		Targets:        cfg.Targets,
		Connections:    cfg.Connections,
		Tuning:         poolTuning(cfg, dial),
		ConfirmSeconds: p.confirmation,
		Logger:         logger.Logger,
	})
	p.cfg.Store(&cfg)
	p.tuneSplitter()
	if cfg.Health.Check.Enabled() { // without checks the workers find out by themselves
		p.checker = newChecker(p.pool.Targets(), cfg, dial, &p.checks, logger.Logger)
	}
	return p, nil
}

// tuneSplitter has the splitter go by what is in force, and by how many targets there are.
func (p *pipeline) tuneSplitter() {
	cfg := p.cfg.Load()
	p.split.Tune(splitter.Tuning{
		MaxLine:        int(cfg.MaxLine),
		Oversize:       cfg.Oversize,
		MaxConnections: p.maxSenders(),
		Drain:          cfg.DrainTimeout / 2, // the other half is the targets'
	})
}

// maxSenders is 0 for no limit.
func (p *pipeline) maxSenders() int { return maxConnections(*p.cfg.Load(), len(p.pool.Targets())) }

func poolTuning(cfg config, dial target.Options) workerpool.Tuning {
	return workerpool.Tuning{
		StallTimeout:     cfg.StallTimeout,
		DeadTimeout:      cfg.DeadTimeout,
		FailbackInterval: cfg.FailbackInterval,
		ResendMargin:     cfg.ResendMargin,
		ResendMax:        cfg.ResendMax,
		ResendAge:        cfg.ResendAge,
		DialOptions:      dial,
	}
}

// spareDescriptors are for listeners, the admin listener's clients, files, and connections that workers are leaving.
const spareDescriptors = 64

// maxConnections leaves enough descriptors for the connections to targets: two for each worker, while it moves.
func maxConnections(cfg config, targets int) int {
	limit := descriptorLimit()
	if cfg.MaxConnections > 0 || limit == 0 {
		return cfg.MaxConnections
	}
	needed := 2*targets*cfg.Connections + spareDescriptors + awaited(cfg)
	return max(1, limit-needed)
}

// awaited is how many connections there may be whose PROXY header has not come yet.
func awaited(cfg config) int {
	if len(cfg.Access.ProxyFrom) == 0 {
		return 0
	}
	return listen.MaxPendingHeaders
}

func (p *pipeline) open(ctx context.Context) (err error) {
	p.in, err = openInbound(ctx, *p.cfg.Load(), p.logger.Logger)
	return err
}

// serve carries lines until soft ends, or until the last of finite listeners has, when it calls endInput, which ends soft. It
// returns when everything is confirmed or hard has ended. The error says what was not.
func (p *pipeline) serve(soft, hard context.Context, began, endInput func()) error {
	stopAdmin := serveAdmin(soft, newController(*p.cfg.Load(), p, p.in, p.ready, p.logger), p.confirmation)
	defer stopAdmin()
	stopMark := context.AfterFunc(soft, func() { p.draining.Store(true) })
	defer stopMark()
	p.in.announce(p.logger.Logger)
	began()

	if p.checker != nil {
		stopChecks := runChecks(soft, p.checker)
		defer stopChecks()
	}
	accepting, stopHandOver := p.in.handOver(soft, hard, p.logger.Logger)
	defer stopHandOver()
	inboundErrs := make([]error, len(p.in.listeners))
	var workers, inbound sync.WaitGroup
	workers.Go(func() { p.pool.Run(hard, p.lines) }) // what it leaves unconfirmed stands in the report
	for i, ln := range p.in.listeners {
		inbound.Go(func() { inboundErrs[i] = p.split.Serve(accepting, hard, ln) })
	}
	inbound.Wait()
	endInput() // has an effect only after finite listeners
	close(p.lines)
	workers.Wait()
	return errors.Join(errors.Join(inboundErrs...), p.report())
}

// report logs how the run ended and returns an error if anything was not confirmed.
func (p *pipeline) report() error {
	var s admin.Status
	p.describe(&s)
	l, cutOff := s.Ledger, s.Totals.CutOff
	lines, bytes := l.Queued.Lines+l.Retained.Lines, l.Queued.Bytes+l.Retained.Bytes
	for _, d := range l.DroppedBy {
		if d.Reason == "shutdown" {
			lines += d.Lines
			bytes += d.Bytes
		}
	}
	level := slog.LevelInfo
	if lines > 0 || cutOff > 0 {
		level = slog.LevelWarn
	}
	p.logger.Log(context.Background(), level, "drain ended", "received_lines", l.Received.Lines, "confirmed_lines", l.Confirmed.Lines,
		"resent_lines", l.Resent.Lines, "unconfirmed_lines", lines, "unconfirmed_bytes", bytes, "senders_cut_off", cutOff)
	if lines == 0 {
		return nil
	}
	return fmt.Errorf("%d lines (%d bytes) were not confirmed by any target and may be lost; %d senders were cut off", lines, bytes, cutOff)
}

// ready says whether lines can come in and go out, and why not.
func (p *pipeline) ready() (bool, string) {
	if p.draining.Load() {
		return false, "draining"
	}
	for _, t := range p.pool.Stats().Targets {
		if t.Connections > 0 {
			return true, ""
		}
	}
	return false, "no target is connected"
}
