//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/testrig"
)

// Ten thousand keys over four targets keep their order, each at one target at a time, while targets
// shut down, are killed, stall, hang and die, are drained, added and removed. Nothing is lost, and
// what comes again is a stretch that is repeated in order.
func TestKeysKeepTheirOrderWhateverTargetsDo(t *testing.T) {
	t.Parallel()
	const senders, keysEach = 4, 2500
	s := testrig.NewStage(t)
	l := &keyLedger{t: t, keys: map[string]*keyState{}}
	var targets []*keyTarget
	var flags []testrig.Target
	for range 4 {
		targets = append(targets, startKeyTarget(t, l))
		flags = append(flags, targets[len(targets)-1])
	}
	o := newOperator(s)
	s.StartLineMode(flags, "-admin-token-file", o.token, "-key", "field:1", "-connections", "2",
		"-stall-timeout", "1s", "-failback-probe", "200ms", "-failback-interval", "2s")
	o.connect()

	var mu sync.Mutex // guards sent
	sent := map[string]int{}
	stop := make(chan struct{})
	var running sync.WaitGroup
	for i := range senders {
		running.Go(func() {
			sendKeys(t, s.Process.Listeners[0], i, keysEach, stop, func(key string, n int) {
				mu.Lock()
				defer mu.Unlock()
				sent[key] = n
			})
		})
	}
	end := sync.OnceFunc(func() {
		close(stop)
		running.Wait()
	})
	defer end()
	// flow waits until more lines have come to a target, or to all.
	flow := func(what string, x *keyTarget, n int) {
		t.Helper()
		count := l.lines
		if x != nil {
			count = func() int { return int(x.got.Load()) }
		}
		from := count()
		testrig.WaitFor(t, "lines "+what, func() bool { return count() >= from+n })
	}
	flow("at the start", nil, 20_000)

	time.Sleep(1500 * time.Millisecond) // an earlier FIN is that of a target that never writes
	targets[0].shutDown()
	flow("while a target is down", nil, 3000)
	targets[0].start()
	flow("at a target that is back", targets[0], 300)

	targets[1].kill()
	flow("while a target is dead", nil, 3000)
	targets[1].start()
	flow("at a target that is back", targets[1], 300)

	targets[2].stall.Store(true) // for less than the stall timeout
	time.Sleep(500 * time.Millisecond)
	targets[2].stall.Store(false)
	flow("after a pause", targets[2], 300)

	targets[3].stall.Store(true)
	testrig.WaitFor(t, "keys leave a target that hangs", func() bool {
		return s.Process.Metrics().Sum("linesplit_target_stalls_total") > 0
	})
	targets[3].kill()
	flow("after a target has hung", nil, 3000)
	targets[3].start()
	flow("at a target that is back", targets[3], 300)

	o.do("drain", targets[0].Target())
	o.await(targets[0].Target(), admin.StateDrained)
	flow("while a target is drained", nil, 3000)
	o.do("resume", targets[0].Target())
	flow("at a target that is resumed", targets[0], 300)

	fifth := startKeyTarget(t, l)
	o.do("add", fifth.Target())
	flow("at an added target", fifth, 300)
	o.do("remove", targets[1].Target())
	o.await(targets[1].Target(), "")
	flow("with a target removed", nil, 3000)

	end()
	testrig.WaitFor(t, "all lines", func() bool { return l.has(sent) })
	s.WaitForLedger()
	s.Terminate(0)
	if len(sent) != senders*keysEach {
		t.Errorf("%d keys were sent", len(sent))
	}
	t.Logf("%d lines of %d keys came, %d of them again, %d after a stall", l.total, len(sent), l.again, l.late)
}

// Lines without a key are dropped and counted if so told, and the others arrive.
func TestLinesWithoutKeyAreDroppedAndCounted(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	l := &keyLedger{t: t, keys: map[string]*keyState{}}
	x := startKeyTarget(t, l)
	s.StartLineMode([]testrig.Target{x}, "-key", "field:2", "-key-missing", "drop")
	c, err := net.Dial("tcp", s.Process.Listeners[0])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "none\nkey 1\n\nnone \n")
	c.Close()
	testrig.WaitFor(t, "the count of dropped lines", func() bool {
		return s.Process.Metrics().Sum("linesplit_dropped_lines_total", testrig.Label("reason", "keyless")) == 3
	})
	testrig.WaitFor(t, "the line with a key", func() bool { return l.has(map[string]int{"key": 1}) })
	s.WaitForLedger()
	s.Terminate(0)
	if !strings.Contains(s.Process.Stderr(), "reason=keyless") {
		t.Error("the log does not tell of dropped lines")
	}
}
