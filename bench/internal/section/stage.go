//go:build linux

package section

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"

	"linesplit/bench/internal/contender"
	"linesplit/bench/internal/load"
	"linesplit/bench/internal/procstat"
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
	setup  contender.Setup
	target *load.Child
	addrs  []string // of the target
	proxy  *contender.Proxy
	to     []string // addresses for clients, used in turn
}

// startStage starts a target in a role that replies "listening" with its addresses, and a contender
// in front of it, with a new folder for lines if it keeps them on disk. The caller must call stop.
func (b *Bench) startStage(ctx context.Context, s setting, role string, args ...string) (*stage, error) {
	st := &stage{setup: s.Setup}
	if err := b.start(ctx, st, s, role, args); err != nil {
		st.stop()
		return nil, err
	}
	return st, nil
}

// start starts the target and the contender of a stage. The caller stops both, also after an error.
func (b *Bench) start(ctx context.Context, st *stage, s setting, role string, args []string) (err error) {
	if contender.KeepsLines(s.Name) {
		if st.setup.Spool, err = os.MkdirTemp(b.Disk, "lines-"); err != nil {
			return fmt.Errorf("folder for lines: %w", err)
		}
	}
	if s.TLS.Out {
		args = append(args, "-certs", b.Dir)
	}
	if st.target, err = s.spawnTarget(ctx, role, args...); err != nil {
		return err
	}
	if st.addrs, err = st.target.Await("listening"); err != nil {
		return err
	}
	return b.startProxy(ctx, st)
}

// startProxy starts the contender of a stage, or starts it again after a kill.
func (b *Bench) startProxy(ctx context.Context, st *stage) (err error) {
	if st.proxy, err = b.Start(ctx, st.setup, st.addrs); err != nil {
		return err
	}
	st.to = st.proxy.SenderAddresses(st.addrs)
	return nil
}

// stop ends the target and the contender, and removes the lines that the contender has on disk. It
// may be called more than once.
func (s *stage) stop() {
	if s.proxy != nil {
		s.proxy.Stop()
	}
	if s.target != nil {
		s.target.Stop()
	}
	if folder := s.setup.Spool; folder != "" {
		s.setup.Spool = ""
		os.RemoveAll(folder)
		procstat.SyncFileSystem(filepath.Dir(folder)) // the next contender finds a disk at rest
	}
}
