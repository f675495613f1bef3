//go:build !linux

package relay

import (
	"context"
	"time"

	"linesplit/relay/internal/traffic"
	"linesplit/relay/internal/upstream"
)

// There are no event loops on this system: goroutines carry all connections.

type acceptors []struct{}

func (*serving) acceptOnLoops() (acceptors, error) { return nil, nil }
func (acceptors) serve(context.Context)            {}

func (*serving) startOnLoop(*conn) bool { return false }

type (
	links struct{}
	link  struct{}
)

func (*link) abort(traffic.End)                       {}
func (*link) abortAt(*upstream.Backend, traffic.End)  {}
func (*link) checkSilence(now time.Time, set *Tuning) {}

func (*serving) makeLinks() []links             { return nil }
func (*serving) eachLink(func(*link))           {}
func (*serving) describeLinks(int) []Connection { return nil }
