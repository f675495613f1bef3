//go:build linux

package main

import "context"

// stage is a contender before the process that receives what it forwards.
type stage struct {
	target *child
	proxy  *proxy
	to     []string // where clients connect, in turn
}

// raise starts a target in a role that says where it is "listening", and a contender before it. The caller stops them.
func (b *bench) raise(ctx context.Context, s setup, role string, args ...string) (*stage, error) {
	if s.tls.out {
		args = append(args, "-certs", b.dir)
	}
	target, err := spawn(ctx, role, args...)
	if err != nil {
		return nil, err
	}
	addrs, err := target.await("listening")
	if err != nil {
		target.stop()
		return nil, err
	}
	p, err := b.startProxy(ctx, s, addrs)
	if err != nil {
		target.stop()
		return nil, err
	}
	return &stage{target, p, p.senderAddresses(addrs)}, nil
}

// stop ends both. More than one call is fine.
func (s *stage) stop() {
	s.proxy.stop()
	s.target.stop()
}
