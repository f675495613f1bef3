package service

import (
	"context"
	"sync"

	"linesplit/admin"
	"linesplit/internal/accept"
)

// serveAdmin reloads on hangups and serves the admin listener, if there is one, until stop is
// called, regardless of how ctx ends.
func (p *process) serveAdmin(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	stop = func() { cancel(); serving.Wait() }
	serving.Go(func() { p.reloadOn(ctx, p.hangups) })
	if p.admin == nil {
		return stop
	}
	p.logger.Info("admin listening", "address", accept.Name(p.admin))
	server := admin.New(p.adminOptions())
	serving.Go(func() {
		if err := server.Serve(ctx, p.admin); err != nil {
			p.logger.Error("admin listener failed", "err", err)
		}
	})
	return stop
}

func (p *process) adminOptions() admin.Options {
	o := admin.Options{
		Ready: p.ready, Token: p.token, Profiling: p.cfg.Load().Profiling, Version: p.version, Logger: p.logger.Logger,
	}
	if p.named {
		o.Process = p
		return o
	}
	o.Mode, o.Status = p.all()[0].cfg.Load().Mode.String(), p.statusOfFirst
	o.Histogram, o.Control = presentHistogram{p.all()[0].mode.histogram(), p}, present{p}
	o.SpoolSync = presentSyncs{admin.NewSpoolSync(), p}
	return o
}

// Services implements admin.Process.
func (p *process) Services() (all []admin.Service) {
	for _, s := range p.all() {
		one := admin.Service{Name: s.title(), Control: control{s, p}}
		if s.failed == nil {
			one.Histogram, one.SpoolSync = s.mode.histogram(), s.mode.spoolSyncs()
		}
		all = append(all, one)
	}
	return all
}

// SharedPorts implements admin.Process.
func (p *process) SharedPorts() admin.SharedPorts { return p.shared.ports.totals() }

// Config implements admin.Process.
func (p *process) Config() []admin.Setting { return p.cfg.Load().Shown }
