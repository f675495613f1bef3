//go:build linux

package section

import (
	"context"
	"net"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/internal/veth"
)

// setting is a contender and where its targets are.
type setting struct {
	contender.Setup
	far *veth.Namespace // of the targets; nil if they are on the loopback
}

// spawnTarget starts a target in a role.
func (s setting) spawnTarget(ctx context.Context, role string, args ...string) (target *load.Child, err error) {
	if s.far == nil {
		return load.Spawn(ctx, role, args...)
	}
	args = append(args, "-listen", net.JoinHostPort(s.far.FarIP, "0"))
	s.far.Do(func() { target, err = load.Spawn(ctx, role, args...) })
	return target, err
}

// stage is a running contender and the process that receives what it forwards.
type stage struct {
	target *load.Child
	proxy  *contender.Proxy
	to     []string // addresses for clients, used in turn
}

// startStage starts a target in a role that replies "listening" with its addresses, and a contender
// in front of it. The caller must call stop.
func (b *Bench) startStage(ctx context.Context, s setting, role string, args ...string) (*stage, error) {
	if s.TLS.Out {
		args = append(args, "-certs", b.Dir)
	}
	target, err := s.spawnTarget(ctx, role, args...)
	if err != nil {
		return nil, err
	}
	addrs, err := target.Await("listening")
	if err != nil {
		target.Stop()
		return nil, err
	}
	p, err := b.Start(ctx, s.Setup, addrs)
	if err != nil {
		target.Stop()
		return nil, err
	}
	return &stage{target, p, p.SenderAddresses(addrs)}, nil
}

// stop ends both. It may be called more than once.
func (s *stage) stop() {
	s.proxy.Stop()
	s.target.Stop()
}
