//go:build linux

package section

import (
	"context"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
)

// stage is a contender before the process that receives what it forwards.
type stage struct {
	target *load.Child
	proxy  *contender.Proxy
	to     []string // where clients connect, in turn
}

// raise starts a target in a role that says where it is "listening", and a contender before it. The caller stops them.
func (b *Bench) raise(ctx context.Context, s contender.Setup, role string, args ...string) (*stage, error) {
	if s.TLS.Out {
		args = append(args, "-certs", b.Dir)
	}
	target, err := load.Spawn(ctx, role, args...)
	if err != nil {
		return nil, err
	}
	addrs, err := target.Await("listening")
	if err != nil {
		target.Stop()
		return nil, err
	}
	p, err := b.Start(ctx, s, addrs)
	if err != nil {
		target.Stop()
		return nil, err
	}
	return &stage{target, p, p.SenderAddresses(addrs)}, nil
}

// stop ends both. More than one call is fine.
func (s *stage) stop() {
	s.proxy.Stop()
	s.target.Stop()
}
