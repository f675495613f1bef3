package service

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

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
func (p *process) reloadOn(ctx context.Context, hangup <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hangup:
		}
		systemd.Reloading(p.logger.Logger)
		_, _, err := p.reloadWithin(ctx, reloadTimeout)
		switch {
		case err != nil && ctx.Err() != nil:
			p.logger.Info("reload given up, linesplit ends")
			return
		case isPartial(err):
			p.logger.Error("reload failed in part", "err", err)
		case err != nil:
			p.reloadFailed.Log(p.logger.Logger, slog.LevelError, "reload failed, nothing has changed", slog.Any("err", err))
		}
		systemd.Ready(p.logger.Logger)
	}
}

func (p *process) reloadWithin(ctx context.Context, timeout time.Duration) (changed, needRestart []string, err error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return p.Reload(ctx)
}

// Reload applies what has changed in the file or the environment, and leaves all else as it is,
// such as a target that was drained or added by hand. It is that of admin.Control.
func (p *process) Reload(ctx context.Context) (changed, needRestart []string, err error) {
	changed, needRestart, err = p.reload(ctx)
	if err != nil && !isPartial(err) {
		return nil, nil, err
	}
	p.reloaded.log(p.logger.Logger, needRestart)
	return changed, needRestart, err
}

func (p *process) reload(ctx context.Context) (changed, needRestart []string, err error) {
	next, err := p.read(ctx)
	if err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	defer p.endReload()
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.presentLocked().CheckLost(next); err != nil {
		return nil, nil, fmt.Errorf("%w: %w", admin.ErrInvalid, err)
	}
	if p.named != next.Named() {
		return nil, []string{"service"}, nil
	}
	changed, needRestart, err = p.reloadSetLocked(ctx, next)
	if err == nil || isPartial(err) {
		p.logger.level.Set(p.cfg.Load().LogLevel)
		p.reloaded.note(changed, next.Warnings)
	}
	return changed, needRestart, err
}

// presentLocked returns the configuration in force.
func (p *process) presentLocked() config.Process {
	present := config.Process{Config: *p.cfg.Load()}
	for _, s := range p.all() {
		if !s.left.Load() {
			present.Services = append(present.Services, *s.cfg.Load())
		}
	}
	return present
}

// read returns the present configuration. It keeps other reloads out until endReload is called; if
// it returns an error, the caller does not call that. read gives up when ctx ends, since a file may
// be on a disk that does not answer. It then leaves a goroutine behind, up to maxStuckReads of
// them, which end when the disk has answered, and whose result is not used. Neither other changes
// nor later reloads wait for them.
func (p *process) read(ctx context.Context) (config.Process, error) {
	select {
	case p.reloading <- struct{}{}:
	default:
		select {
		case p.reloading <- struct{}{}:
		case <-ctx.Done():
			return config.Process{}, errors.New("another reload still reads its files")
		}
	}
	cfg, err := p.readFiles(ctx)
	if err != nil {
		p.endReload()
	}
	return cfg, err
}

// readFiles calls reread and gives up when ctx ends.
func (p *process) readFiles(ctx context.Context) (config.Process, error) {
	if n := p.stuckReads.Load(); n >= maxStuckReads {
		return config.Process{}, fmt.Errorf("%d earlier reloads still wait for a file: is one of those that the "+
			"configuration names a pipe, or on a disk that does not answer?", n)
	}
	type answer struct {
		cfg config.Process
		err error
	}
	answers, reread := make(chan answer, 1), p.reread
	p.stuckReads.Add(1)
	go func() {
		cfg, err := reread()
		p.stuckReads.Add(-1) // before the answer: a reload that follows it at once must not find this one
		answers <- answer{cfg, err}
	}()
	select {
	case a := <-answers:
		return a.cfg, a.err
	case <-ctx.Done():
		return config.Process{}, errors.New("a file of the configuration cannot be read in time: " +
			"is one of them a pipe, or on a disk that does not answer?")
	}
}

func (p *process) endReload() { <-p.reloading }
