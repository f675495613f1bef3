package service

import (
	"cmp"
	"context"
	"crypto/x509"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"linesplit/admin"
	"linesplit/health"
	"linesplit/internal/config"
	"linesplit/target"
	"linesplit/tlsconf"
)

// redialDelay is the wait before the first background dial of a target that failed dials alone
// have marked down.
const redialDelay = time.Second

// dialOptions returns how both modes and health checks reach targets.
func dialOptions(cfg config.Config, mayConnect func(network, address string) error, logger *slog.Logger) (target.Options, error) {
	o := target.Options{Timeout: cfg.DialTimeout, MayConnect: mayConnect}
	files := cfg.TargetTLS
	files.Logger = logger
	client, err := tlsconf.NewClient(files)
	if err != nil {
		return o, fmt.Errorf("TLS towards targets: %w", err)
	}
	o.TLS = client.Config
	loadSystemRoots(cfg)
	return o, nil
}

// loadSystemRoots loads the system's certificate authorities if targets are judged by them. Go
// loads them once, at the first handshake: if no descriptor were free then, every later handshake
// would fail too.
func loadSystemRoots(cfg config.Config) {
	if files := cfg.TargetTLS; files.CA == "" && !files.SkipVerify && cfg.DialsTLS() {
		x509.SystemCertPool() // an error is that of each handshake
	}
}

// checks are the health checks of a run and their counts. The zero value checks nothing.
type checks struct {
	checker     *health.Checker // nil: nothing is checked
	onlyBackups bool            // nor are other targets than backups redialled
	counts      checkCounts
	logger      *slog.Logger
}

// newChecks starts nothing yet. In line mode without -health only backups are watched, which are
// redialled while they are down: other targets that are down are dialled by the workers themselves.
func newChecks(cfg config.Config, dial target.Options, targets []*target.Target, logger *slog.Logger) *checks {
	c := &checks{logger: logger, onlyBackups: cfg.Mode == config.LineMode && !cfg.Health.Check.Enabled()}
	c.checker = health.New(c.watched(targets), c.options(cfg, dial))
	return c
}

// watched returns those of the targets that are checked or redialled.
func (c *checks) watched(targets []*target.Target) []*target.Target {
	if !c.onlyBackups {
		return targets
	}
	return slices.DeleteFunc(slices.Clone(targets), func(t *target.Target) bool { return !t.Address.Backup })
}

func (c *checks) options(cfg config.Config, dial target.Options) health.Options {
	o := cfg.Health
	o.RedialDelay = redialDelay
	o.DialOptions = dial
	o.Observe = c.counts.observe
	o.Logger = c.logger
	return o
}

// run checks until stop is called, also after soft has ended: the mode needs the results until its
// drain has ended.
func (c *checks) run(soft context.Context) (stop func()) {
	if c.checker == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(context.WithoutCancel(soft))
	var running sync.WaitGroup
	running.Go(func() { c.checker.Run(ctx) })
	return func() { cancel(); running.Wait() }
}

// reconfigure replaces all settings of the checks.
func (c *checks) reconfigure(cfg config.Config, dial target.Options) {
	if c.checker != nil {
		c.checker.Reconfigure(c.options(cfg, dial))
	}
}

// watch replaces the list of targets that are checked.
func (c *checks) watch(targets []*target.Target) {
	if c.checker != nil {
		c.checker.Watch(c.watched(targets))
		c.counts.keep(targets)
	}
}

// describe fills in the results of the checks.
func (c *checks) describe(s *admin.Status) { c.counts.describe(s) }

// checkCounts counts checks by their results. The zero value is ready; its methods are safe for
// concurrent use.
type checkCounts struct {
	mu      sync.Mutex
	by      map[string]*checkCount // by target
	removed checkCount             // sum over targets that were removed
}

type checkCount struct {
	passed, failed uint64
	took           time.Duration // of the last check that passed
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

// keep moves the counts of all but these targets to one sum, so that targets that come and go take
// no memory for ever.
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

// describe fills in the counts of the targets in s, and of those that were removed.
func (c *checkCounts) describe(s *admin.Status) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range s.Targets {
		t := &s.Targets[i]
		if n := c.by[t.Name]; n != nil {
			t.ChecksPassed, t.ChecksFailed = n.passed, n.failed
			t.LatencySeconds = cmp.Or(t.LatencySeconds, seconds(n.took))
		}
	}
	if n := c.removed; n.passed+n.failed > 0 {
		if s.Removed == nil {
			s.Removed = new(admin.TargetStatus)
		}
		s.Removed.ChecksPassed, s.Removed.ChecksFailed = n.passed, n.failed
	}
}
