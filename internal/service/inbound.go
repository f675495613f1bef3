package service

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/internal/config"
	"linesplit/listen"
	"linesplit/tlsconf"
)

// inbound holds everything that listens, and the guard that decides which peers may connect.
type inbound struct {
	reuse     bool // a new process may share the ports
	inherited *listen.Inherited
	ports     *ports
	guard     *listen.Guard
	listeners []net.Listener
	packets   []net.PacketConn // udp:// in connection mode
	opened    []opened         // all of them
	passedOn  atomic.Bool      // other services have the sockets
}

// openOptions are what opening a listener takes besides its address.
type openOptions struct {
	mode     config.Mode
	tls      *tls.Config // nil if no listener speaks TLS itself
	wanted   listen.Wanted
	heritage *heritage // nil: all sockets are new
	before   *inbound  // of the service whose place is taken; nil: there is none
}

// openInbound opens all listeners that cfg names, or none. o has heritage and before.
func openInbound(ctx context.Context, cfg config.Config, sh *shared, handshakes *tlsconf.Handshakes, logger *slog.Logger,
	o openOptions) (*inbound, error) {
	var err error
	if o.tls, err = serverTLS(cfg, logger); err != nil {
		return nil, err
	}
	o.mode, o.wanted = cfg.Mode, cfg.Wanted
	in := &inbound{reuse: cfg.ReusePort, inherited: sh.inherited, ports: &sh.ports}
	in.guard = &listen.Guard{
		Allow: cfg.Access.Allow, Deny: cfg.Access.Deny, ProxyFrom: cfg.Access.ProxyFrom, Logger: logger,
		Handshakes: handshakes,
	}
	for _, spec := range cfg.Listen {
		open := in.openListener
		if spec.TLS() && cfg.Routes() {
			open = in.openRouted
		}
		if in.reuse && !spec.Inherited() {
			spec = spec.ReusePort()
		}
		if err := open(ctx, spec, o); err != nil {
			return nil, errors.Join(openError{err, spec}, in.close())
		}
	}
	return in, nil
}

// tryPorts returns an error if a shared port cannot be opened, before any is; see process.open.
func tryPorts(ctx context.Context, specs []listen.Spec) error {
	var errs []error
	for _, spec := range specs {
		errs = append(errs, spec.ReusePort().Try(ctx))
	}
	return errors.Join(errs...)
}

func (in *inbound) openListener(ctx context.Context, spec listen.Spec, o openOptions) error {
	if found, err := in.inherit(spec, o); found {
		return err
	}
	datagrams := o.mode == config.ConnectionMode
	if spec.Inherited() {
		listeners, packets, err := in.inherited.Open(spec, o.tls, in.guard, datagrams)
		for _, ln := range listeners {
			in.addListener(spec, ln)
		}
		for _, pc := range packets {
			in.addPackets(spec, pc)
		}
		return err
	}
	if datagrams && spec.UDP() {
		pc, err := listen.OpenPacket(ctx, spec, in.guard)
		if err == nil {
			in.addPackets(spec, pc)
		}
		return err
	}
	ln, err := listen.Open(ctx, spec, o.tls, in.guard)
	if err == nil {
		in.addListener(spec, ln)
	}
	return err
}

// serverTLS returns nil if no listener speaks TLS itself.
func serverTLS(cfg config.Config, logger *slog.Logger) (*tls.Config, error) {
	if !cfg.ListensTLS() || cfg.TLSPassthrough {
		return nil, nil
	}
	files := cfg.ServerTLS
	files.Logger = logger
	server, err := tlsconf.NewServer(files)
	if err != nil {
		return nil, fmt.Errorf("TLS towards clients: %w", err)
	}
	return server.Config(), nil
}

func (in *inbound) announce(logger *slog.Logger) {
	for _, name := range in.names() {
		logger.Info("listening", "listener", name)
	}
	for _, l := range in.datagramListeners() {
		warnOfSmallBuffer(logger, l)
	}
}

// names returns the actual addresses, as -listen takes them.
func (in *inbound) names() (all []string) {
	for _, ln := range in.listeners {
		all = append(all, accept.Name(ln))
	}
	for _, pc := range in.packets {
		all = append(all, packetsName(pc))
	}
	return all
}

// serve calls stream for each listener and packets for each packet connection, in a goroutine of
// its own each, and returns their errors when all have returned. Both close what they get.
func (in *inbound) serve(stream func(net.Listener) error, packets func(net.PacketConn) error) error {
	in.startRouting()
	errs := make([]error, len(in.listeners)+len(in.packets))
	var serving sync.WaitGroup
	for i, ln := range in.listeners {
		serving.Go(func() { errs[i] = stream(ln) })
	}
	for i, pc := range in.packets {
		serving.Go(func() { errs[len(in.listeners)+i] = packets(pc) })
	}
	serving.Wait()
	return errors.Join(errs...)
}

// describe adds what the guard has counted before the mode got the connections.
func (in *inbound) describe(t *admin.Totals) {
	s, h := in.guard.Stats(), in.guard.Handshakes.Stats()
	t.Handshakes, t.HandshakesWaiting = uint64(h.Running), uint64(h.Waiting)
	t.HandshakesDisplaced = h.Displaced
	t.Probes = h.Probes + s.Probes
	t.Refused = append([]admin.RefusedBy{{Reason: reasonDenied, Count: s.Denied}, {Reason: reasonProxy, Count: s.ProxyErrors}}, t.Refused...)
	in.describeRouted(t)
}

// Reasons for which a guard refuses clients.
const (
	reasonDenied = "denied"
	reasonProxy  = "proxy-protocol"
)

func (in *inbound) close() error {
	var errs []error
	for _, ln := range in.listeners {
		errs = append(errs, ln.Close())
	}
	for _, pc := range in.packets {
		errs = append(errs, pc.Close())
	}
	return errors.Join(errs...)
}
