//go:build linux

package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"linesplit/admin"
	"linesplit/internal/ctl"
	"linesplit/internal/testrig"
)

// keyedChildren are four targets in processes of their own, and a key that each of them has.
type keyedChildren struct {
	*operator
	children []*testrig.Child
	keys     []string
	sent     atomic.Int64 // lines
}

func startKeyedChildren(t *testing.T, args ...string) *keyedChildren {
	s := testrig.NewForeignStage(t)
	k := &keyedChildren{operator: newOperator(s), keys: make([]string, 4)}
	var targets []testrig.Target
	for range k.keys {
		k.children = append(k.children, testrig.StartChild(t, s.Tally))
		targets = append(targets, k.children[len(k.children)-1])
	}
	s.StartLineMode(targets, append([]string{"-admin-token-file", k.token, "-key", "until:space", "-connections", "1",
		"-queue", "1"}, args...)...)
	k.connect()
	conn := k.dial()
	defer conn.Close()
	for i, found := 0, 0; found < len(k.keys); i++ {
		key := fmt.Sprint("key", i)
		at := k.send(conn, key)
		if k.keys[at] == "" {
			k.keys[at] = key
			found++
		}
	}
	return k
}

func (k *keyedChildren) dial() net.Conn {
	k.Helper()
	conn, err := net.Dial("tcp", k.Process.Listeners[0])
	if err != nil {
		k.Fatal(err)
	}
	return conn
}

func (k *keyedChildren) lines() (n []int) {
	for _, c := range k.children {
		n = append(n, c.Lines())
	}
	return n
}

// send sends one line, waits until it has arrived, and returns where.
func (k *keyedChildren) send(conn net.Conn, key string) (at int) {
	k.Helper()
	before := k.lines()
	k.sent.Add(1)
	if _, err := fmt.Fprintln(conn, key, "a line"); err != nil {
		k.Fatal(err)
	}
	testrig.WaitFor(k.T, "the line of "+key, func() bool {
		for i, n := range k.lines() {
			if n > before[i] {
				at = i
				return true
			}
		}
		return false
	})
	return at
}

// flood sends lines of one key until it is stopped. stop returns when the last of them has been
// taken.
func (k *keyedChildren) flood(key string) (stop func()) {
	conn := k.dial()
	lines := strings.Repeat(key+strings.Repeat(" some words", 50)+"\n", 100)
	over := make(chan struct{})
	var running sync.WaitGroup
	k.Cleanup(func() { // for a test that has failed
		conn.Close()
		running.Wait()
	})
	running.Go(func() {
		defer conn.Close()
		for {
			select {
			case <-over:
				return
			default:
			}
			_, err := conn.Write([]byte(lines))
			switch {
			case errors.Is(err, net.ErrClosed):
				return
			case err != nil:
				k.Errorf("the sender of %s: %v", key, err)
				return
			}
			k.sent.Add(100)
		}
	})
	return sync.OnceFunc(func() {
		close(over)
		running.Wait()
	})
}

// lanes returns what the API tells of a target's lanes.
func (k *keyedChildren) lanes(at int) admin.TargetLanes {
	k.Helper()
	var status admin.Status
	if err := json.Unmarshal(k.do("status"), &status); err != nil {
		k.Fatal(err)
	}
	for _, t := range status.Targets {
		if t.Name == k.children[at].Target() && t.Lines != nil && t.Lines.Lanes != nil {
			return *t.Lines.Lanes
		}
	}
	k.Fatalf("no lanes of %s in %+v", k.children[at].Target(), status.Targets)
	return admin.TargetLanes{}
}

// wantNamed demands that linesplit ctl names the target as the one that holds up senders, and no
// other.
func (k *keyedChildren) wantNamed(at int) {
	k.Helper()
	var table bytes.Buffer
	if err := ctl.Run(k.Context(), k.client, &table, false, []string{"targets"}); err != nil {
		k.Fatal(err)
	}
	full := regexp.MustCompile(`\b1 for \d+m?s`)
	for i, c := range k.children {
		for line := range strings.Lines(table.String()) {
			if named := full.MatchString(line); strings.Contains(line, c.Target()) && named != (i == at) {
				k.Errorf("target %d, full lanes shown: %v\n%s", i, named, table.String())
			}
		}
	}
	if !strings.Contains(table.String(), "FULL LANES") {
		k.Errorf("no column of lanes:\n%s", table.String())
	}
}

// finish demands that all lines have arrived.
func (k *keyedChildren) finish() {
	k.Helper()
	testrig.WaitFor(k.T, "all lines", func() bool {
		sum := 0
		for _, n := range k.lines() {
			sum += n
		}
		return sum >= int(k.sent.Load())
	})
	k.WaitForLedger()
	k.Terminate(0)
}

// One of four targets is stopped while a sender floods its key: only that sender waits, whose lane
// is named, and the keys of the other targets flow on, without any of the first.
func TestStoppedTargetHoldsUpOnlyItsKeys(t *testing.T) {
	t.Parallel()
	k := startKeyedChildren(t, "-key-down", "wait", "-stall-timeout", "1s")
	k.children[0].Suspend()
	stop := k.flood(k.keys[0])
	testrig.WaitFor(t, "a full lane", func() bool {
		l := k.lanes(0)
		return l.Full == 1 && time.Since(l.FullSince) > time.Second // and not full for a moment
	})
	k.wantNamed(0)
	conn := k.dial()
	defer conn.Close()
	full := time.Now()
	for n := 0; n < 20 || time.Since(full) < 3*time.Second; n++ { // longer than the stall timeout
		for i, key := range k.keys[1:] {
			if at := k.send(conn, key); at != i+1 {
				t.Fatalf("%s went to target %d, and not to %d", key, at, i+1)
			}
		}
	}
	if l := k.lanes(0); l.Full != 1 || time.Since(l.FullSince) < 2*time.Second || l.Queued.Bytes > 256<<10 {
		t.Errorf("lanes of the stopped target: %+v", l)
	}
	k.wantNamed(0)
	k.children[0].Resume()
	stop()
	conn.Close()
	k.finish()
}

// With -key-down move, the keys of the stopped target go elsewhere after the stall timeout, and
// senders go on.
func TestKeysOfStoppedTargetMove(t *testing.T) {
	t.Parallel()
	k := startKeyedChildren(t, "-stall-timeout", "1s")
	k.children[0].Suspend()
	stop := k.flood(k.keys[0])
	defer stop()
	before := k.lines()
	testrig.WaitFor(t, "lines of the stopped target at another one", func() bool {
		sum := 0
		for i, n := range k.lines() {
			sum += n - before[i]
		}
		return sum > 10_000
	})
	testrig.WaitFor(t, "no lane is full for long", func() bool {
		l := k.lanes(0)
		return l.Full == 0 || time.Since(l.FullSince) < 500*time.Millisecond
	})
	stop()
	k.children[0].Resume()
	k.finish()
}
