package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"

	"linesplit/listen"
	"linesplit/tlsconf"
)

// inbound is where senders and clients arrive, in either mode: what listens, and who may pass.
type inbound struct {
	guard     *listen.Guard
	listeners []net.Listener
	packets   []net.PacketConn // udp:// in connection mode
}

// openInbound opens everything that cfg names, or nothing.
func openInbound(ctx context.Context, cfg config, logger *slog.Logger) (*inbound, error) {
	config, err := serverTLS(cfg, logger)
	if err != nil {
		return nil, err
	}
	in := &inbound{guard: &listen.Guard{Allow: cfg.Access.Allow, Deny: cfg.Access.Deny, ProxyFrom: cfg.Access.ProxyFrom, Logger: logger}}
	for _, spec := range cfg.Listen {
		if err := in.add(ctx, spec, config, cfg.Mode); err != nil {
			return nil, errors.Join(err, in.close())
		}
	}
	return in, nil
}

func (in *inbound) add(ctx context.Context, spec listen.Spec, config *tls.Config, m mode) error {
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
	for _, ln := range in.listeners {
		logger.Info("listening", "listener", listen.Name(ln))
	}
	for _, pc := range in.packets {
		logger.Info("listening", "listener", "udp://"+pc.LocalAddr().String())
	}
}

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
