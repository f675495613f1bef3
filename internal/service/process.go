package service

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/admin"
	"linesplit/internal/config"
	"linesplit/internal/loglimit"
	"linesplit/internal/loop"
	"linesplit/internal/systemd"
	"linesplit/linebuf"
	"linesplit/listen"
	"linesplit/relay"
)

// process is one run: its services, and what they share. Its methods are safe for concurrent use
// once open has returned.
type process struct {
	logger  *logs
	version string
	hangups <-chan os.Signal // Options.Hangups

	shared *shared
	admin  net.Listener // nil for none
	token  *admin.Token // for the admin listener's clients; nil for none

	reread    func() (config.Process, error) // reads the configuration anew
	reloading chan struct{}                  // holds one value while a file is read or applied; see read

	reloaded     reloadLog
	reloadFailed loglimit.Limiter // of reloads by SIGHUP

	stuckReads atomic.Int32 // calls of reread that have not returned

	services atomic.Pointer[[]*service]    // in the order of the file, those that leave last; stored under mu
	cfg      atomic.Pointer[config.Config] // what services share, in force; stored under mu
	named    bool                          // services have names
	partial  bool                          // -start-partial at the start

	mu         sync.Mutex      // held during every change of cfg and services
	soft, hard context.Context // of the run; guarded by mu
	running    int             // services that have not ended; guarded by mu
	ended      []*service      // those that have, without their account; guarded by mu
	errs       []error         // of those that have, at most maxErrors; guarded by mu
	done       bool            // guarded by mu: no service runs any more
	over       chan struct{}   // closed when done
}

// maxErrors bounds how many errors of services that have ended are kept for the end of the run.
const maxErrors = 16

// shared is what the services of a process use together.
type shared struct {
	version     string
	started     time.Time
	logger      *logs
	memory      *linebuf.Memory
	loops       loop.Shared
	carrier     *relay.Carrier
	descriptors descriptors
	inherited   *listen.Inherited
	ports       ports
	rounds      rounds
	admin       net.Listener // of the process; nil for none
	// drainTimeout returns the time that the drain of the process has.
	drainTimeout func() time.Duration
}

// newProcess opens nothing yet.
func newProcess(cfg config.Process, version string, logger *logs) *process {
	p := &process{
		logger: logger, version: version, named: cfg.Named(), partial: cfg.StartPartial, reread: cfg.Reread,
		reloading: make(chan struct{}, 1), reloaded: newReloadLog(), reloadFailed: loglimit.Limiter{Burst: reloadBurst},
		over: make(chan struct{}),
	}
	p.shared = &shared{
		version: version, started: time.Now(), logger: logger, memory: linebuf.NewMemory(cfg.Memory),
		carrier:      relay.NewCarrier(),
		drainTimeout: p.drainTimeout,
		ports:        ports{logger: logger.Logger, named: cfg.Named()},
	}
	p.shared.descriptors.limit = descriptorLimit()
	p.cfg.Store(&cfg.Config)
	var services []*service
	for _, c := range cfg.Services {
		services = append(services, newService(c, p.shared))
	}
	p.services.Store(&services)
	return p
}

// all returns the services. The slice must not be modified.
func (p *process) all() []*service { return *p.services.Load() }

func (p *process) run(ctx context.Context, started func(Running)) error {
	soft, hard, stop := shutdownContexts(ctx, p.drainTimeout, p.logger.Logger)
	defer stop()
	if err := p.open(soft); err != nil {
		return err
	}
	return p.serve(soft, hard, started)
}

// open makes the services and opens all listeners. It opens all of them or none. The admin listener
// comes first: with -reuse-port, clients that connect here while something else cannot be opened
// are reset, and the older process would have served them.
func (p *process) open(ctx context.Context) (err error) {
	p.shared.inherited = listen.NewInherited(systemd.InheritedFiles())
	defer func() {
		if err != nil {
			p.close()
		}
	}()
	for _, s := range p.all() {
		s.register() // each has to know what the others need
	}
	if err := p.openAdmin(ctx); err != nil {
		return err
	}
	if err := p.openEach(func(s *service) error { return s.tryPorts(ctx) }); err != nil {
		return err
	}
	if err := p.openEach(func(s *service) error { return s.open(ctx, openOptions{}) }); err != nil {
		return err
	}
	return p.shared.inherited.Close()
}

// openEach calls open for each service. With -start-partial, one may fail as long as another does
// not.
func (p *process) openEach(open func(*service) error) error {
	var errs []error
	for _, s := range p.all() {
		if s.failed != nil {
			continue
		}
		err := open(s)
		if err != nil && !p.partial {
			return s.about(err)
		}
		if err != nil {
			s.fail(err)
			errs = append(errs, s.about(err))
		}
	}
	if slices.ContainsFunc(p.all(), (*service).works) {
		return nil
	}
	return errors.Join(errs...)
}

// close closes what open has opened.
func (p *process) close() {
	p.shared.inherited.Close() // its error names sockets that nothing has asked for, which does not matter now
	if p.admin != nil {
		p.admin.Close()
	}
	for _, s := range p.all() {
		s.close()
	}
}

func (p *process) openAdmin(ctx context.Context) (err error) {
	cfg := p.cfg.Load()
	if cfg.Admin == "" {
		return nil
	}
	if cfg.AdminToken != "" {
		if p.token, err = admin.LoadToken(cfg.AdminToken, p.logger.Logger); err != nil {
			return err
		}
	}
	files := cfg.AdminTLS
	files.Logger = p.logger.Logger
	ln, err := admin.Listen(ctx, cfg.Admin, files)
	if err == nil {
		p.admin, p.shared.admin = ln, ln
	}
	return err
}

// serve lets the services work until soft ends, or until the last finite listener has ended. Then
// it drains. It returns, with all listeners closed, when everything is finished or soon after hard
// has ended, and has logged the account of each service last. The error tells what was not
// finished.
func (p *process) serve(soft, hard context.Context, started func(Running)) error {
	p.carry(soft, hard, started)
	p.reloaded.limit.Flush()
	p.reloadFailed.Flush()
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, s := range p.ended {
		p.keepLocked(s.about(s.report()))
	}
	return errors.Join(p.errs...)
}

// carry is serve up to the accounts.
//
// Consumers start first and stop last: the admin server is there until the services have ended.
func (p *process) carry(soft, hard context.Context, started func(Running)) {
	stopNotifying := func() {}
	defer func() { stopNotifying() }()
	p.mu.Lock() // reloads wait until all services work
	stopAdmin := p.serveAdmin(soft)
	defer stopAdmin()
	listeners := p.launchAllLocked(soft, hard)
	p.mu.Unlock()
	stopEnding := context.AfterFunc(soft, func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.endLocked()
	})
	defer stopEnding()
	if started != nil {
		started(Running{Listeners: listeners, Status: p.statusOfFirst})
	}
	stopNotifying = systemd.Notify(soft, hard, func() { p.ready() }, p.logger.Logger)
	<-p.over
}

// statusOfFirst returns the status of the first service.
func (p *process) statusOfFirst() admin.Status {
	if all := p.all(); len(all) > 0 {
		return all[0].Status()
	}
	return admin.Status{}
}

// launchAllLocked starts the services that are open, and returns their listeners.
func (p *process) launchAllLocked(soft, hard context.Context) (listeners []string) {
	p.shared.loops.Enter(p.cfg.Load().Loops, p.logger.Logger)
	p.soft, p.hard = soft, hard
	for _, s := range p.all() {
		if s.works() {
			s.in.activate()
		}
	}
	for _, s := range p.all() {
		if s.works() {
			listeners = append(listeners, s.in.names()...)
			p.launchLocked(s)
		}
	}
	return listeners
}

// launchLocked starts a service, which is open.
func (p *process) launchLocked(s *service) {
	s.in.announce(s.logger)
	p.running++
	soft, hard := p.soft, p.hard
	go func() { p.noteEnd(s, s.carry(soft, hard)) }()
}

// noteEnd notes that a service has ended. Its account comes at once if others go on, else at the
// end of the run.
func (p *process) noteEnd(s *service, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keepLocked(s.about(err))
	s.over.Store(true)
	s.shared.rounds.remove(s)
	if s.left.Load() {
		services := slices.DeleteFunc(slices.Clone(p.all()), func(other *service) bool { return other == s })
		p.services.Store(&services)
		s.unregister()
		p.rebalanceLocked()
	}
	if p.running--; p.goesOnLocked() {
		err := s.about(s.report())
		p.keepLocked(err)
		if err != nil {
			s.logger.Error("service ended", "err", err)
		}
		return
	}
	p.ended = append(p.ended, s)
	p.endLocked()
}

// goesOnLocked reports whether the run goes on: a service works, or one that could not be started
// may do so after a reload.
func (p *process) goesOnLocked() bool {
	return p.soft.Err() == nil && (p.running > 0 || slices.ContainsFunc(p.all(), func(s *service) bool { return s.failed != nil }))
}

// endLocked ends the run once no service runs any more.
func (p *process) endLocked() {
	if p.running == 0 && !p.done {
		p.done = true
		p.shared.loops.Leave()
		close(p.over)
	}
}

// keepLocked keeps an error for the end of the run.
func (p *process) keepLocked(err error) {
	if err != nil && len(p.errs) < maxErrors {
		p.errs = append(p.errs, err)
	}
}

// rebalanceLocked lets all services know that others have come or gone.
func (p *process) rebalanceLocked() {
	for _, s := range p.all() {
		s.rebalance()
	}
}

// ready reports whether work can come in and go out everywhere, and if not, why.
func (p *process) ready() (bool, string) {
	for _, s := range p.all() {
		if s.left.Load() || p.named && s.over.Load() {
			continue
		}
		if ok, why := s.ready(); !ok {
			if s.name != "" {
				why = fmt.Sprintf("service %s: %s", s.name, why)
			}
			return false, why
		}
	}
	return true, ""
}

// drainTimeout returns the longest -drain-timeout of all services as they are now.
func (p *process) drainTimeout() (longest time.Duration) {
	for _, s := range p.all() {
		longest = max(longest, s.cfg.Load().DrainTimeout)
	}
	return longest
}
