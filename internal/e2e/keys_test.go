//go:build linux

package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/testrig"
)

// failInTurn shuts one target down, kills another, pauses a third, and has a fourth hang and die.
// Each time it waits until lines have come to the others, and to the target that is back.
func failInTurn(s *testrig.Stage, l *keyLedger, targets []*keyTarget) {
	s.Helper()
	time.Sleep(1500 * time.Millisecond) // an earlier FIN is that of a target that never writes
	targets[0].shutDown()
	l.flow("while a target is down", nil, 3000)
	targets[0].start()
	l.flow("at a target that is back", targets[0], 300)

	targets[1].kill()
	l.flow("while a target is dead", nil, 3000)
	targets[1].start()
	l.flow("at a target that is back", targets[1], 300)

	targets[2].stall.Store(true) // for less than the stall timeout
	time.Sleep(500 * time.Millisecond)
	targets[2].stall.Store(false)
	l.flow("after a pause", targets[2], 300)

	targets[3].stall.Store(true)
	testrig.WaitFor(s.T, "keys leave a target that hangs", func() bool {
		return s.Process.Metrics().Sum("linesplit_target_stalls_total") > 0
	})
	targets[3].kill()
	l.flow("after a target has hung", nil, 3000)
	targets[3].start()
	l.flow("at a target that is back", targets[3], 300)
}

// Ten thousand keys over four targets keep their order, each at one target at a time, while targets
// shut down, are killed, stall, hang and die, are drained, added and removed. Nothing is lost, and
// what comes again is a stretch that is repeated in order.
func TestKeysKeepTheirOrderWhateverTargetsDo(t *testing.T) {
	testrig.SkipIfShort(t)
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

	all := startKeySenders(t, s.Process.Listeners[0], senders, keysEach)
	l.flow("at the start", nil, 20_000)
	failInTurn(s, l, targets)

	o.do("drain", targets[0].Target())
	o.await(targets[0].Target(), admin.StateDrained)
	l.flow("while a target is drained", nil, 3000)
	o.do("resume", targets[0].Target())
	l.flow("at a target that is resumed", targets[0], 300)

	fifth := startKeyTarget(t, l)
	o.do("add", fifth.Target())
	l.flow("at an added target", fifth, 300)
	o.do("remove", targets[1].Target())
	o.await(targets[1].Target(), "")
	l.flow("with a target removed", nil, 3000)

	all.stop()
	testrig.WaitFor(t, "all lines", func() bool { return l.has(all.sent) })
	s.WaitForLedger()
	s.Terminate(0)
	if len(all.sent) != senders*keysEach {
		t.Errorf("%d keys were sent", len(all.sent))
	}
	t.Logf("%d lines of %d keys came, %d of them again, %d after a stall", l.total, len(all.sent), l.again, l.late)
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
