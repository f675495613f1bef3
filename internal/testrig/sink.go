//go:build linux

package testrig

import (
	"context"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
)

// SinkOptions configure a target. NewSink sets what is left out.
type SinkOptions = sink.Options

// Ways in which the application behind a target reads.
var ( // read-only
	Steady     = sink.Behaviour{} // as fast as possible
	Drip       = sink.Behaviour{Interval: 5 * time.Millisecond, Chunk: 1 << 10}
	Bursts     = sink.Behaviour{Interval: 100 * time.Millisecond} // all that has arrived meanwhile
	HalfClosed = sink.Behaviour{HalfClose: true}                  // sends FIN at once, as `ncat -l` and `nc -N` do
)

// Sink is a target in this process. Its errors fail the test.
type Sink struct {
	*sink.Sink
	tb testing.TB
}

// NewSink starts a target that counts into t what it reads. It listens on an address of its own,
// or on a socket in a directory of its own. It ends with the test at the latest.
func NewSink(tb testing.TB, t *Tally, o SinkOptions) *Sink {
	tb.Helper()
	o.Tally = t.Tally
	if t.foreign != nil {
		o.Output = t.foreign
	}
	if o.Network == "unix" && o.Address == "" {
		o.Address = filepath.Join(shortTempDir(tb), "target.sock")
	}
	s, err := sink.Start(o)
	if err != nil {
		tb.Fatalf("target: %v", err)
	}
	tb.Cleanup(s.Exit)
	return &Sink{s, tb}
}

// shortTempDir returns a directory for sockets, whose paths have at most 107 bytes. It is removed
// when the test ends.
func shortTempDir(tb testing.TB) string {
	tb.Helper()
	dir, err := os.MkdirTemp("", "rig")
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// ListenAlone listens on a free port of a loopback address that no other program uses, so that the
// port can be closed and opened again. See sink.FreshHost.
func ListenAlone() (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
}

// Lines returns how many lines the application has read, duplicates included.
func (s *Sink) Lines() int { return int(s.Sink.Lines()) }

// Accepted returns how many connections the target has ever accepted.
func (s *Sink) Accepted() int { return int(s.Sink.Accepted()) }

// Behave changes how the application reads from now on.
func (s *Sink) Behave(b sink.Behaviour) {
	s.tb.Helper()
	if err := s.Sink.Behave(b); err != nil {
		s.tb.Fatalf("target: %v", err)
	}
}

// Listen makes a target that has ended listen again where it was.
func (s *Sink) Listen() {
	s.tb.Helper()
	if err := s.Restart(); err != nil {
		s.tb.Fatalf("target: %v", err)
	}
}

// Shutdown ends the target in an orderly way: it sends FIN and reads to the FIN of each peer. A
// peer that never sends its FIN fails the test.
func (s *Sink) Shutdown() {
	s.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), Patience)
	defer cancel()
	if err := s.Sink.Shutdown(ctx); err != nil {
		s.tb.Error(err)
	}
}

// Narrow lowers the receive buffers of all open connections for good.
func (s *Sink) Narrow(size int) {
	s.tb.Helper()
	if err := s.Sink.Narrow(size); err != nil {
		s.tb.Fatalf("target: %v", err)
	}
}
