//go:build linux

package e2e

import (
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/testrig"
)

// keyFlow is senders of keys, and the ledger that judges where their lines come.
type keyFlow struct {
	*testing.T
	ledger  *keyLedger
	mu      sync.Mutex // guards sent
	sent    map[string]int
	running sync.WaitGroup
	stop    func()
}

func newKeyFlow(t *testing.T) *keyFlow {
	return &keyFlow{T: t, ledger: &keyLedger{t: t, keys: map[string]*keyState{}}, sent: map[string]int{}}
}

// start lets senders write the lines of this many keys each, until finish.
func (f *keyFlow) start(addr string, senders, keys int) {
	stop := make(chan struct{})
	f.stop = sync.OnceFunc(func() {
		close(stop)
		f.running.Wait()
	})
	f.Cleanup(f.stop)
	for i := range senders {
		f.running.Go(func() {
			sendKeys(f.T, addr, i, keys, stop, func(key string, n int) {
				f.mu.Lock()
				defer f.mu.Unlock()
				f.sent[key] = n
			})
		})
	}
}

// at waits until n more lines have come to a target.
func (f *keyFlow) at(x *keyTarget, n int64) {
	f.Helper()
	from := x.got.Load()
	testrig.WaitFor(f.T, "lines at "+x.Target(), func() bool { return x.got.Load() >= from+n })
}

// finish demands that all lines arrive, once each.
func (f *keyFlow) finish(s *testrig.Stage) {
	f.Helper()
	f.stop()
	testrig.WaitFor(f.T, "all lines", func() bool { return f.ledger.has(f.sent) })
	s.WaitForLedger()
	s.Terminate(0)
	if l := f.ledger; l.again > 0 {
		f.Errorf("%d of %d lines came again", l.again, l.total)
	}
}

// Reloads change weights and numbers of connections, add targets and remove them: keys keep their
// order, and no line is lost or comes twice.
func TestKeysKeepTheirOrderThroughReloads(t *testing.T) {
	t.Parallel()
	s, flow := testrig.NewStage(t), newKeyFlow(t)
	var targets []*keyTarget
	for range 4 {
		targets = append(targets, startKeyTarget(t, flow.ledger))
	}
	f := &settingsFile{Stage: s, path: filepath.Join(t.TempDir(), "linesplit.conf")}
	list := func(options ...string) string {
		var all []string
		for i, o := range options {
			if o != "-" {
				all = append(all, targets[i].Target()+o)
			}
		}
		return "target " + strings.Join(all, ",")
	}
	f.write(list("", "", "", "-"), "key field:1", "connections 2")
	f.run(6)
	flow.start(s.Process.Listeners[0], 2, 500)
	for i, targetsNow := range []string{
		list("?weight=1", "?weight=2", "?weight=5", "-"),
		list("?weight=5", "?weight=2", "?weight=1", "-"),
		list("?weight=5", "?weight=2", "?weight=1", "?weight=2"),
		list("?weight=5", "-", "?weight=1", "?weight=2"),
		list("?connections=4", "", "", ""),
		list("", "", "-", "?connections=1"),
		list("", "", "", ""),
	} {
		f.write(targetsNow, "key field:1", "connections 2")
		if line := f.reload(); !strings.Contains(line, "msg=reloaded") {
			t.Fatalf("reload %d: %s", i, line)
		}
		for i, x := range targets {
			if strings.Contains(targetsNow, x.Target()) {
				flow.at(x, 200)
			} else {
				testrig.WaitFor(t, "a removed target goes", func() bool {
					return !strings.Contains(s.Process.Metrics().Dump(), `linesplit_target_up{target="`+x.Target()+`"`)
				})
				flow.at(targets[(i+1)%4], 200)
			}
		}
	}
	testrig.WaitFor(t, "the connections that the last list wants", func() bool {
		return s.Process.Metrics().Sum("linesplit_target_connections") == 8
	})
	flow.finish(s)
}

// A file lists the targets: keys keep their order as it changes, and no line is lost or comes
// twice.
func TestKeysKeepTheirOrderAsAFileChanges(t *testing.T) {
	t.Parallel()
	s, flow := testrig.NewStage(t), newKeyFlow(t)
	var targets []*keyTarget
	for range 3 {
		targets = append(targets, startKeyTarget(t, flow.ledger))
	}
	f := listFile{s, filepath.Join(t.TempDir(), "targets.yaml")}
	putList(f, targets[:2]...)
	s.Process = s.StartLinesplit(nil, "-target", "file://"+f.path+"?refresh=1s", "-key", "field:1", "-connections", "2")
	flow.start(s.Process.Listeners[0], 2, 500)
	flow.at(targets[0], 200)
	flow.at(targets[1], 200)
	putList(f, targets...)
	flow.at(targets[2], 200)
	gone := targets[0]
	putList(f, targets[1:]...)
	gone.shutDown() // a target that is down and not listed goes at once
	testrig.WaitFor(t, "a target that is not listed goes", func() bool {
		return !strings.Contains(s.Process.Metrics().Dump(), `linesplit_target_up{target="`+gone.Target()+`"`)
	})
	for _, x := range slices.Backward(targets[1:]) {
		flow.at(x, 200)
	}
	gone.start()
	putList(f, targets...)
	flow.at(gone, 200)
	flow.finish(s)
}
