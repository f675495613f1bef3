package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"time"

	"linesplit/admin"
	"linesplit/internal/accept"
	"linesplit/internal/systemd"
	"linesplit/listen"
	"linesplit/tlsconf"
)

// handOverTime is how long a process goes on accepting after it has stepped aside: what is on its way to it arrives within some round
// trips.
const handOverTime = time.Second

// inbound is where senders and clients arrive, in either mode: what listens, and who may pass.
type inbound struct {
	admin     net.Listener // nil for none
	token     *admin.Token // of those who come there; nil for none
	reuse     bool         // the places may have passed to a new process
	inherited *listen.Inherited
	guard     *listen.Guard
	listeners []net.Listener
	packets   []net.PacketConn // udp:// in connection mode
}

// openInbound opens everything that cfg names, or nothing. The admin listener comes first: with -reuse-port, whoever connects here while
// something else cannot be opened would have been served by the older process, and is reset.
func openInbound(ctx context.Context, cfg config, logger *slog.Logger) (*inbound, error) {
	config, err := serverTLS(cfg, logger)
	if err != nil {
		return nil, err
	}
	in := &inbound{reuse: cfg.ReusePort, inherited: listen.NewInherited(systemd.InheritedFiles())}
	in.guard = &listen.Guard{Allow: cfg.Access.Allow, Deny: cfg.Access.Deny, ProxyFrom: cfg.Access.ProxyFrom, Logger: logger}
	if err := in.openAdmin(ctx, cfg, logger); err != nil {
		return nil, errors.Join(err, in.close())
	}
	if err := in.try(ctx, cfg.Listen); err != nil {
		return nil, errors.Join(err, in.close())
	}
	for _, spec := range cfg.Listen {
		if err := in.add(ctx, spec, config, cfg.Mode); err != nil {
			return nil, errors.Join(err, in.close())
		}
	}
	if err := in.inherited.Close(); err != nil {
		return nil, errors.Join(err, in.close())
	}
	return in, nil
}

func (in *inbound) openAdmin(ctx context.Context, cfg config, logger *slog.Logger) (err error) {
	if cfg.Admin == "" {
		return nil
	}
	if cfg.AdminToken != "" {
		if in.token, err = admin.LoadToken(cfg.AdminToken, logger); err != nil {
			return err
		}
	}
	files := cfg.AdminTLS
	files.Logger = logger
	ln, err := admin.Listen(ctx, cfg.Admin, files)
	if err == nil {
		in.admin = ln
	}
	return err
}

// try finds out, where places are shared, whether all can be opened before the first is; see openInbound.
func (in *inbound) try(ctx context.Context, all []listen.Spec) error {
	if !in.reuse {
		return nil
	}
	var errs []error
	for _, spec := range all {
		errs = append(errs, spec.ReusePort().Try(ctx))
	}
	return errors.Join(errs...)
}

func (in *inbound) add(ctx context.Context, spec listen.Spec, config *tls.Config, m mode) error {
	if spec.Inherited() {
		listeners, packets, err := in.inherited.Open(spec, config, in.guard, m == connectionMode)
		in.listeners = append(in.listeners, listeners...)
		in.packets = append(in.packets, packets...)
		return err
	}
	if in.reuse {
		spec = spec.ReusePort()
	}
	if m == connectionMode && spec.UDP() {
		pc, err := listen.OpenPacket(ctx, spec, in.guard)
		if err == nil {
			in.packets = append(in.packets, pc)
		}
		return err
	}
	ln, err := listen.Open(ctx, spec, config, in.guard)
	if err == nil {
		in.listeners = append(in.listeners, ln)
	}
	return err
}

// serverTLS returns nil where no listener speaks TLS.
func serverTLS(cfg config, logger *slog.Logger) (*tls.Config, error) {
	if !cfg.listensTLS() {
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

// announce logs what listens, and where.
func (in *inbound) announce(logger *slog.Logger) {
	for _, name := range in.names() {
		logger.Info("listening", "listener", name)
	}
}

// names are the actual addresses, as -listen takes them.
func (in *inbound) names() (all []string) {
	for _, ln := range in.listeners {
		all = append(all, accept.Name(ln))
	}
	for _, pc := range in.packets {
		all = append(all, "udp://"+pc.LocalAddr().String())
	}
	return all
}

// handOver returns a context that ends when accepting is to end: with soft or, where a new process may have taken over the ports, a while
// after that, with new connections going there meanwhile.
func (in *inbound) handOver(soft, hard context.Context, logger *slog.Logger) (accepting context.Context, stop func()) {
	if !in.reuse {
		return soft, func() {}
	}
	accepting, cancel := context.WithCancel(context.WithoutCancel(soft))
	callOff := accept.After(soft, func() {
		defer cancel()
		for _, ln := range in.listeners {
			if l, ok := ln.(interface{ StepAside() error }); ok {
				if err := l.StepAside(); err != nil {
					logger.Warn("cannot step aside for another process", "listener", accept.Name(ln), "err", err)
				}
			}
		}
		accept.Pause(hard, handOverTime)
	})
	return accepting, func() { callOff(); cancel() }
}

func (in *inbound) close() error {
	in.inherited.Close() // it says what nobody wanted, which is no matter now
	var errs []error
	if in.admin != nil {
		errs = append(errs, in.admin.Close())
	}
	for _, ln := range in.listeners {
		errs = append(errs, ln.Close())
	}
	for _, pc := range in.packets {
		errs = append(errs, pc.Close())
	}
	return errors.Join(errs...)
}
