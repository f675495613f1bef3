package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/admin"
	"linesplit/internal/systemd"
	"linesplit/target"
	"linesplit/workerpool"
)

// operated is a mode as the controller works with it. All its methods are safe for concurrent use.
type operated interface {
	// describe fills in what the mode knows of a Status.
	describe(*admin.Status)
	connections(limit int) []admin.Connection
	// inForce returns what the API may have changed: the targets, and in connection mode the rule.
	inForce() (targets []target.Address, balance string)
	addTarget(target.Address) error
	removeTarget(name string) error
	drainTarget(name string) error
	resumeTarget(name string) error
	setWeight(name string, weight int) error
	setBalance(rule string) error
	// adopt goes over from one configuration to another, of which it heeds what can change while it runs. If it returns an error nothing
	// has changed.
	adopt(old, next config) error
}

// controller is what the admin API, the status page and signals show and change, over either mode.
type controller struct {
	mode    operated
	in      *inbound
	ready   func() (bool, string)
	logger  *logs
	started time.Time
	again   func() (config, error) // reads the configuration anew

	reloading chan struct{} // holds one while a reload goes on; it is not held up by mu, nor does it hold up those who change something else

	mu  sync.Mutex             // held by whoever changes something
	cfg atomic.Pointer[config] // what is in force, but for what the API has changed; replaced as a whole, under mu
}

func newController(cfg config, mode operated, in *inbound, ready func() (bool, string), logger *logs) *controller {
	c := &controller{mode: mode, in: in, ready: ready, logger: logger, started: time.Now(), again: cfg.again, reloading: make(chan struct{}, 1)}
	c.cfg.Store(&cfg)
	return c
}

// Status implements admin.Control.
func (c *controller) Status() admin.Status {
	s := admin.Status{Mode: c.cfg.Load().Mode.String(), Version: buildVersion(), Started: c.started, Listeners: c.in.names(), LogDropped: c.logger.dropped()}
	s.Ready, s.Reason = c.ready()
	c.mode.describe(&s)
	return s
}

// Connections implements admin.Control.
func (c *controller) Connections(limit int) []admin.Connection { return c.mode.connections(limit) }

// Config implements admin.Control.
func (c *controller) Config() []admin.Setting {
	cfg := c.cfg.Load()
	all := slices.Clone(cfg.Shown)
	targets, balance := c.mode.inForce()
	for i, s := range all {
		now, was := "", ""
		switch s.Name {
		case "balance":
			now, was = balance, cfg.Forward.Balance
		case "target":
			now, was = written(targets), written(cfg.Targets)
		}
		if now != was {
			all[i].Value, all[i].Source = now, admin.SourceAPI
		}
	}
	return all
}

// written is a list as -target takes it, in an order of its own.
func written(targets []target.Address) string {
	var all []string
	for _, a := range targets {
		all = append(all, a.Written())
	}
	slices.Sort(all)
	return strings.Join(all, ",")
}

// Add implements admin.Control.
func (c *controller) Add(_ context.Context, address string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, err := c.cfg.Load().parseTarget(address)
	if err != nil {
		return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	return asAdmin(c.mode.addTarget(a))
}

// Remove implements admin.Control.
func (c *controller) Remove(_ context.Context, name string) error {
	return c.change(func() error { return c.mode.removeTarget(name) })
}

// Drain implements admin.Control.
func (c *controller) Drain(_ context.Context, name string) error {
	return c.change(func() error { return c.mode.drainTarget(name) })
}

// Resume implements admin.Control.
func (c *controller) Resume(_ context.Context, name string) error {
	return c.change(func() error { return c.mode.resumeTarget(name) })
}

// SetWeight implements admin.Control.
func (c *controller) SetWeight(_ context.Context, name string, weight int) error {
	return c.change(func() error { return c.mode.setWeight(name, weight) })
}

// SetBalance implements admin.Control.
func (c *controller) SetBalance(_ context.Context, rule string) error {
	return c.change(func() error { return c.mode.setBalance(rule) })
}

func (c *controller) change(do func() error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return asAdmin(do())
}

// asAdmin gives errors the kinds that the API knows. Those of no known kind are about a value that is not valid.
func asAdmin(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, admin.ErrNotInMode) {
		return err
	}
	for _, known := range []struct{ is, means error }{
		{target.ErrUnknown, admin.ErrUnknown},
		{target.ErrExists, admin.ErrExists},
		{target.ErrLast, admin.ErrLast},
		{workerpool.ErrEnding, admin.ErrDraining},
	} {
		if errors.Is(err, known.is) {
			return fmt.Errorf("%w: %w", known.means, err)
		}
	}
	return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
}

// Reload implements admin.Control: what has changed in the file, or the environment, is changed here, and all else is left as it is; a
// target that was drained or added by hand, for one.
func (c *controller) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	changed, needRestart, err = c.reload(ctx)
	if err != nil {
		return nil, nil, err
	}
	level := slog.LevelInfo
	if len(needRestart) > 0 {
		level = slog.LevelWarn
	}
	c.logger.Log(ctx, level, "reloaded", "changed", strings.Join(changed, " "), "need_restart", strings.Join(needRestart, " "))
	return changed, needRestart, nil
}

func (c *controller) reload(ctx context.Context) (changed, needRestart []string, err error) {
	next, err := c.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	defer c.readable()
	c.mu.Lock()
	defer c.mu.Unlock()
	old := *c.cfg.Load()
	if next.Mode != old.Mode { // nothing of the one is of use in the other
		return nil, []string{"mode"}, nil
	}
	targets, _ := c.mode.inForce()
	there := old.having(targets)
	changed, needRestart = differences(there, next)
	next = next.keeping(there, needRestart)
	if next.MaxLine > next.Memory/4 {
		return nil, nil, fmt.Errorf("%w: -max-line must be at most a quarter of -memory, which stays at %s until a restart", admin.ErrInvalid, humanize.IBytes(uint64(next.Memory)))
	}
	if len(changed) > 0 {
		if err := c.adoptLocked(old, next); err != nil {
			return nil, nil, asAdmin(err)
		}
	}
	c.cfg.Store(&next)
	return changed, needRestart, nil
}

// read returns the configuration as it is now, and keeps other reloads out until readable is called. It gives up when ctx ends: a file may
// have become a pipe, or be on a disk that does not answer. The goroutine that waits for it is left behind then, and keeps others out until
// that file has answered.
func (c *controller) read(ctx context.Context) (config, error) {
	select {
	case c.reloading <- struct{}{}:
	case <-ctx.Done():
		return config{}, errors.New("another reload still waits for a file: is one of those that the configuration names a pipe, or on a disk that does not answer?")
	}
	type answer struct {
		cfg config
		err error
	}
	answers := make(chan answer)
	go func() {
		cfg, err := c.again()
		select {
		case answers <- answer{cfg, err}:
		case <-ctx.Done():
			c.readable()
		}
	}()
	select {
	case a := <-answers:
		if a.err != nil {
			c.readable()
		}
		return a.cfg, a.err
	case <-ctx.Done():
		return config{}, errors.New("a file of the configuration cannot be read in time: is one of them a pipe, or on a disk that does not answer?")
	}
}

func (c *controller) readable() { <-c.reloading }

func (c *controller) adoptLocked(old, next config) error {
	if err := c.mode.adopt(old, next); err != nil {
		return err
	}
	if err := c.in.guard.Set(next.Access.lists()); err != nil { // keeping saw to it that this is possible
		return err
	}
	c.logger.level.Set(next.LogLevel)
	c.logger.drain.Store(int64(next.DrainTimeout))
	return nil
}

// reloadPatience is how long a file of the configuration may take to be read.
const reloadPatience = 20 * time.Second

func (c *controller) reloadWithin(ctx context.Context, patience time.Duration) (changed, needRestart []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return c.Reload(ctx)
}

// reloadOn reloads whenever hangup brings something, until ctx ends.
func (c *controller) reloadOn(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		systemd.Reloading(c.logger.Logger)
		if _, _, err := c.reloadWithin(ctx, reloadPatience); err != nil {
			c.logger.Error("reload failed, nothing has changed", "err", err)
		}
		systemd.Ready(c.logger.Logger)
	}
}
