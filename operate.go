package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"linesplit/admin"
	"linesplit/relay"
	"linesplit/target"
	"linesplit/workerpool"
)

// operated is a mode as the controller works with it. All its methods are safe for concurrent use.
type operated interface {
	// describe fills in what the mode knows of a Status.
	describe(*admin.Status)
	connections(limit int) []admin.Connection
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

	mu  sync.Mutex // one change at a time
	cfg config     // what is in force, but for what the API has changed
}

func newController(cfg config, mode operated, in *inbound, ready func() (bool, string), logger *logs) *controller {
	return &controller{mode: mode, in: in, ready: ready, logger: logger, started: time.Now(), again: cfg.again, cfg: cfg}
}

// Status implements admin.Control.
func (c *controller) Status() admin.Status {
	s := admin.Status{Mode: c.config().Mode.String(), Version: buildVersion(), Started: c.started, Listeners: c.in.names()}
	s.Ready, s.Reason = c.ready()
	c.mode.describe(&s)
	return s
}

func (c *controller) config() config {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.cfg
}

// Connections implements admin.Control.
func (c *controller) Connections(limit int) []admin.Connection { return c.mode.connections(limit) }

// Config implements admin.Control.
func (c *controller) Config() []admin.Setting { return c.config().Shown }

// Add implements admin.Control.
func (c *controller) Add(_ context.Context, address string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, err := c.cfg.parseTarget(address)
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
		{workerpool.ErrUnknown, admin.ErrUnknown}, {relay.ErrUnknown, admin.ErrUnknown},
		{workerpool.ErrExists, admin.ErrExists}, {relay.ErrExists, admin.ErrExists},
		{workerpool.ErrLast, admin.ErrLast}, {relay.ErrLast, admin.ErrLast},
	} {
		if errors.Is(err, known.is) {
			return fmt.Errorf("%w: %w", known.means, err)
		}
	}
	return fmt.Errorf("%w: %w", admin.ErrInvalid, err)
}

// Reload implements admin.Control: what has changed in the file, or the environment, is changed here, and all else is left as it is; a
// target that was drained or added by hand, for one.
func (c *controller) Reload(context.Context) (changed, needRestart []string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	next, err := c.again()
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	changed, needRestart = differences(c.cfg, next)
	if len(changed) > 0 {
		if err := c.adoptLocked(next); err != nil {
			return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
		}
	}
	c.cfg = next.keeping(c.cfg, needRestart)
	return changed, needRestart, nil
}

func (c *controller) adoptLocked(next config) error {
	if err := c.mode.adopt(c.cfg, next); err != nil {
		return err
	}
	if c.cfg.canFollow("proxy-protocol-from", next) {
		if err := c.in.guard.Set(next.Access.lists()); err != nil {
			return err // it was said to be possible: a fault of ours, and one that leaves the lists as they were
		}
	}
	c.logger.level.Set(next.LogLevel)
	c.logger.drain.Store(int64(next.DrainTimeout))
	return nil
}

// reloadOn reloads whenever hangup brings something, until ctx ends.
func (c *controller) reloadOn(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		tellReloading(c.logger.Logger)
		changed, needRestart, err := c.Reload(ctx)
		level := slog.LevelInfo
		switch {
		case err != nil:
			c.logger.Error("reload failed, nothing has changed", "err", err)
		case len(needRestart) > 0:
			level = slog.LevelWarn
			fallthrough
		default:
			c.logger.Log(ctx, level, "reloaded", "changed", strings.Join(changed, " "), "need_restart", strings.Join(needRestart, " "))
		}
		tellReady(c.logger.Logger)
	}
}
