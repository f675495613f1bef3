//go:build linux

package section

import (
	"context"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
)

// stage is a running contender and the process that receives what it forwards.
type stage struct {
	target *load.Child
	proxy  *contender.Proxy
	to     []string // addresses for clients, used in turn
}

// startStage starts a target in a role that replies "listening" with its addresses, and a contender
// in front of it. The caller must call stop.
func (b *Bench) startStage(ctx context.Context, s contender.Setup, role string, args ...string) (*stage, error) {
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

// stop ends both. It may be called more than once.
func (s *stage) stop() {
	s.proxy.Stop()
	s.target.Stop()
}
