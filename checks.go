package main

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"linesplit/admin"
	"linesplit/health"
	"linesplit/listen"
	"linesplit/target"
	"linesplit/tlsconf"
)

// trialEvery is how often a target that failed dials alone have marked down is tried again, at first.
const trialEvery = time.Second

// dialOptions is how either mode reaches targets.
func dialOptions(cfg config, logger *slog.Logger) (target.Options, error) {
	o := target.Options{Timeout: cfg.DialTimeout}
	files := cfg.TargetTLS
	files.Logger = logger
	client, err := tlsconf.NewClient(files)
	if err != nil {
		return o, fmt.Errorf("TLS towards targets: %w", err)
	}
	o.TLS = client.Config
	return o, nil
}

func newChecker(targets []*target.Target, cfg config, dial target.Options, counts *checkCounts, logger *slog.Logger) *health.Checker {
	return health.New(targets, checkOptions(cfg, dial, counts, logger))
}

func checkOptions(cfg config, dial target.Options, counts *checkCounts, logger *slog.Logger) health.Options {
	h := cfg.Health
	return health.Options{
		Check: h.Check, Interval: h.Interval, Timeout: h.Timeout, Rise: h.Rise, Fall: h.Fall, RedialDelay: trialEvery,
		DialOptions: dial, Observe: counts.observe, Logger: logger,
	}
}

// runChecks runs checker until the function that it returns is called: those that drain still want to know.
func runChecks(soft context.Context, checker *health.Checker) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(soft))
	var running sync.WaitGroup
	running.Go(func() { checker.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// checkCounts counts how checks have ended. The zero value is ready; its methods are safe for concurrent use.
type checkCounts struct {
	mu      sync.Mutex
	by      map[string]*checkCount // by target
	removed checkCount             // those of targets that were removed, in sum
}

type checkCount struct {
	passed, failed uint64
	took           time.Duration // the last that passed
}

func (c *checkCounts) observe(t *target.Target, ok bool, took time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.by == nil {
		c.by = make(map[string]*checkCount)
	}
	n := c.by[t.String()]
	if n == nil {
		n = new(checkCount)
		c.by[t.String()] = n
	}
	if ok {
		n.passed++
		n.took = took
	} else {
		n.failed++
	}
}

// keep adds what was counted for all but these targets to one sum: those that come and go are not remembered for ever.
func (c *checkCounts) keep(targets []*target.Target) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name, n := range c.by {
		if !slices.ContainsFunc(targets, func(t *target.Target) bool { return t.String() == name }) {
			c.removed.passed += n.passed
			c.removed.failed += n.failed
			delete(c.by, name)
		}
	}
}

// describe fills in what checks have shown of the targets in s, and of those that were removed.
func (c *checkCounts) describe(s *admin.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range s.Targets {
		t := &s.Targets[i]
		if n := c.by[t.Name]; n != nil {
			t.ChecksPassed, t.ChecksFailed = n.passed, n.failed
			t.LatencySeconds = cmp.Or(t.LatencySeconds, n.took.Seconds())
		}
	}
	if n := c.removed; n.passed+n.failed > 0 {
		if s.Removed == nil {
			s.Removed = new(admin.TargetStatus)
		}
		s.Removed.ChecksPassed, s.Removed.ChecksFailed = n.passed, n.failed
	}
}

// refusals are the connections that never came as far as the splitter or the relay.
func refusals(s listen.GuardStats) []admin.RefusedBy {
	return []admin.RefusedBy{{Reason: "denied", Count: s.Denied}, {Reason: "proxy-protocol", Count: s.ProxyErrors}}
}
