package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/dustin/go-humanize"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/systemd"
)

// reloadTimeout bounds the time for reading the files of the configuration.
const reloadTimeout = 20 * time.Second

// maxStuckReads bounds how many reloads may have given up on a file that does not answer. Each of
// them holds a thread.
const maxStuckReads = 16

// reloadOn reloads at each value of hangup, until ctx ends.
func (s *service) reloadOn(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		systemd.Reloading(s.logger.Logger)
		_, _, err := s.reloadWithin(ctx, reloadTimeout)
		switch {
		case err != nil && ctx.Err() != nil:
			s.logger.Info("reload given up, linesplit ends")
			return
		case err != nil:
			s.reloadFailed.Log(s.logger.Logger, slog.LevelError, "reload failed, nothing has changed", slog.Any("err", err))
		}
		systemd.Ready(s.logger.Logger)
	}
}

func (s *service) reloadWithin(ctx context.Context, timeout time.Duration) (changed, needRestart []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return s.Reload(ctx)
}

// Reload implements admin.Control: it applies what has changed in the file or the environment, and
// leaves all else as it is, such as a target that was drained or added by hand.
func (s *service) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	changed, needRestart, err = s.reload(ctx)
	if err != nil {
		return nil, nil, err
	}
	s.reloaded.log(s.logger.Logger, needRestart)
	return changed, needRestart, nil
}

func (s *service) reload(ctx context.Context) (changed, needRestart []string, err error) {
	next, err := s.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	defer s.endReload()
	s.mu.Lock()
	defer s.mu.Unlock()
	old := *s.cfg.Load()
	if err := (config.Process{Config: old, Services: []config.Config{old}}).CheckLost(
		config.Process{Config: next, Services: []config.Config{next}}); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if next.Mode != old.Mode {
		_, needRestart = config.Diff(old, next)
		return nil, needRestart, nil
	}
	targets, _ := s.mode.inForce()
	running := old.WithTargets(targets)
	changed, needRestart = config.Diff(running, next)
	next = next.Keeping(running, needRestart)
	if !next.MaxLineFits() {
		return nil, nil, fmt.Errorf("%w: -max-line must be at most a quarter of -memory, which stays at %s until a restart",
			admin.ErrInvalid, humanize.IBytes(uint64(next.Memory)))
	}
	if err := checkDescriptors(next, len(next.Targets)); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if len(changed) > 0 {
		if err := s.adoptLocked(old, next); err != nil {
			return nil, nil, asAdmin(err)
		}
	}
	s.cfg.Store(&next)
	s.reloaded.note(changed, next.Warnings)
	return changed, needRestart, nil
}

// read returns the present configuration. It keeps other reloads out until endReload is called; if
// it returns an error, the caller does not call that. read gives up when ctx ends, since a file may
// be on a disk that does not answer. It then leaves a goroutine behind, up to maxStuckReads of
// them, which end when the disk has answered, and whose result is not used. Neither other changes
// nor later reloads wait for them.
func (s *service) read(ctx context.Context) (config.Config, error) {
	select {
	case s.reloading <- struct{}{}:
	default:
		select {
		case s.reloading <- struct{}{}:
		case <-ctx.Done():
			return config.Config{}, errors.New("another reload still reads its files")
		}
	}
	cfg, err := s.readFiles(ctx)
	if err != nil {
		s.endReload()
	}
	return cfg, err
}

// readFiles calls reread and gives up when ctx ends.
func (s *service) readFiles(ctx context.Context) (config.Config, error) {
	if n := s.stuckReads.Load(); n >= maxStuckReads {
		return config.Config{}, fmt.Errorf("%d earlier reloads still wait for a file: is one of those that the "+
			"configuration names a pipe, or on a disk that does not answer?", n)
	}
	type answer struct {
		cfg config.Config
		err error
	}
	answers, reread := make(chan answer, 1), s.reread
	s.stuckReads.Add(1)
	go func() {
		cfg, err := reread()
		s.stuckReads.Add(-1) // before the answer: a reload that follows it at once must not find this one
		answers <- answer{cfg, err}
	}()
	select {
	case a := <-answers:
		return a.cfg, a.err
	case <-ctx.Done():
		return config.Config{}, errors.New("a file of the configuration cannot be read in time: " +
			"is one of them a pipe, or on a disk that does not answer?")
	}
}

func (s *service) endReload() { <-s.reloading }

// adoptLocked applies next, of which Keeping has removed all that needs a restart.
func (s *service) adoptLocked(old, next config.Config) error {
	dial, err := dialOptions(next, &s.own, s.logger.Logger)
	if err != nil {
		return err
	}
	if err := s.mode.adopt(old, next, dial); err != nil {
		return err
	}
	s.checks.reconfigure(next, dial)
	s.watchTargets()
	if err := s.in.guard.Set(next.Access); err != nil { // impossible after Keeping
		return err
	}
	s.logger.level.Set(next.LogLevel)
	return nil
}
