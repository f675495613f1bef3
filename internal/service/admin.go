package service

import (
	"context"
	"sync"

	"linesplit/admin"
	"linesplit/internal/accept"
)

// serveAdmin reloads on hangups and serves the admin listener, if there is one, until stop is
// called, regardless of how ctx ends.
func (s *service) serveAdmin(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	var serving sync.WaitGroup
	stop = func() { cancel(); serving.Wait() }
	serving.Go(func() { s.reloadOn(ctx, s.hangups) })
	if s.in.admin == nil {
		return stop
	}
	s.logger.Info("admin listening", "address", accept.Name(s.in.admin))
	cfg := s.cfg.Load()
	server := admin.New(admin.Options{
		Mode: cfg.Mode.String(), Status: s.Status, Ready: s.ready, Histogram: s.mode.histogram(), Control: s,
		Token: s.in.token, Profiling: cfg.Profiling, Version: s.version, Logger: s.logger.Logger,
	})
	serving.Go(func() {
		if err := server.Serve(ctx, s.in.admin); err != nil {
			s.logger.Error("admin listener failed", "err", err)
		}
	})
	return stop
}
