package workerpool

import (
	"bytes"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"linesplit/linebuf"
)

// keeper takes what a pool hands over at its end.
type keeper struct {
	mu    sync.Mutex
	all   []*linebuf.Buffer
	lines uint64 // that were taken so far
}

func (k *keeper) keep(b *linebuf.Buffer) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.all = append(k.all, b)
}

// take gives back what was handed over, and returns its lines.
func (k *keeper) take(r *rig) (lines []string) {
	r.t.Helper()
	for _, b := range k.all {
		n := 0
		for line := range bytes.Lines(b.B) {
			text := string(bytes.TrimSuffix(line, []byte{'\n'}))
			if _, sent := r.source[text]; !sent {
				r.t.Errorf("a line that is handed over was not sent: %q", text)
			}
			lines = append(lines, text)
			n++
		}
		if n != b.Lines {
			r.t.Errorf("a buffer counts %d lines, and has %d", b.Lines, n)
		}
		r.buffers.Put(b)
	}
	k.all = nil
	k.lines += uint64(len(lines))
	return lines
}

// wantAllKept demands that the pool has handed over each line that it has not confirmed, and that
// it holds nothing any more.
func (k *keeper) wantAllKept(r *rig, s Stats) (lines []string) {
	r.t.Helper()
	lines = k.take(r)
	seen := map[string]bool{}
	for _, line := range lines {
		if seen[line] {
			r.t.Errorf("%q is handed over twice", line)
		}
		seen[line] = true
	}
	if all := uint64(r.seq); k.lines != s.Kept.Lines || k.lines+s.confirmed().Lines != all || s.Taken.Lines != all {
		r.t.Errorf("%d of %d lines are handed over, %+v", k.lines, all, s)
	}
	if r.err != nil || s.Retained != (linebuf.Count{}) || r.buffers.InUse() != 0 {
		r.t.Errorf("Run: %v; %+v retained, %d bytes in use", r.err, s.Retained, r.buffers.InUse())
	}
	return lines
}

// A pool that is stopped hands over what is not confirmed, from the first line that was not read in
// full on: written, half written, and in the channel.
func TestKeepGetsWhatIsNotConfirmed(t *testing.T) {
	inBubble(t, "in order", func(t *testing.T) {
		k := &keeper{}
		a := newPeer("a")
		a.exact, a.sendBuf, a.onAccept = true, 1200, limitFirst(4050, 2550)
		r := newRig(t, Options{Connections: 1, Keep: k.keep}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		if waiting := len(r.lines); waiting == 0 {
			t.Fatal("nothing is left in the channel")
		}
		s := r.stop(time.Second)
		lines := k.wantAllKept(r, s)
		if len(lines) != 75 || !slices.IsSorted(lines) {
			t.Errorf("%d lines, in order: %v", len(lines), slices.IsSorted(lines))
		}
		r.lines <- r.buffer(3, 100, 0) // by a sender that has not ended yet
		r.pool.KeepRest()
		k.wantAllKept(r, r.pool.Stats())
	})
}

func TestKeepGetsWhatIsToBeSentAgain(t *testing.T) {
	inBubble(t, "after a failure", func(t *testing.T) {
		k := &keeper{}
		a := newPeer("a")
		a.exact, a.onAccept = true, limitFirst(noLimit, 2550)
		r := newRig(t, Options{Connections: 1, Keep: k.keep}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		a.set(func() { a.refuse = true })
		a.conn(0).reset()
		r.pass(time.Second)
		s := r.stop(time.Second)
		if lines := k.wantAllKept(r, s); len(lines) != 75 {
			t.Errorf("%d lines", len(lines))
		}
	})
	inBubble(t, "by several workers", func(t *testing.T) {
		k := &keeper{}
		var peers []*peer
		for i := range 3 {
			p := newPeer(fmt.Sprint("p", i))
			p.holdReads = true
			peers = append(peers, p)
		}
		r := newRig(t, Options{Connections: 3, Keep: k.keep}, peers)
		for range 20 {
			r.sendFullBuffers()
		}
		r.pass(time.Second)
		peers[1].conn(1).reset()
		k.wantAllKept(r, r.stop(time.Second))
	})
}

// Lines with keys wait in lanes, in the hands of the goroutine that scatters those of the channel,
// and in the channel.
func TestKeepGetsWhatIsInLanes(t *testing.T) {
	inBubble(t, "in the order of the keys", func(t *testing.T) {
		k := &keeper{}
		peers := fourPeers()
		r := newKeyedRig(t, Options{Queue: 1, Keep: k.keep}, 40, peers...)
		r.sendKeys(2)
		for _, p := range peers {
			p.set(func() { p.holdAcks, p.sendBuf = true, 0 })
		}
		r.sendKeys(3)
		r.pass(time.Second)
		for range 4 { // the second one has no room in its lane
			r.lines <- r.only("k001")
		}
		r.pass(time.Second)
		if n := len(r.lines); n == 0 || n > 3 { // the pool has one in its hands
			t.Fatalf("%d buffers are in the channel", n)
		}
		s := r.stop(time.Second)
		last := map[string]int{}
		for _, line := range k.wantAllKept(r.rig, s) {
			key, seq := keyOf([]byte(line))
			if before, any := last[key]; any && seq < before {
				t.Fatalf("%s: line %d comes behind line %d", key, seq, before)
			}
			last[key] = seq
		}
	})
}

// Without Keep, what is left stays counted, and Run says so.
func TestWithoutKeep(t *testing.T) {
	inBubble(t, "lines are retained", func(t *testing.T) {
		a := newPeer("a")
		a.holdReads = true
		r := newRig(t, Options{Connections: 1}, []*peer{a})
		r.sendFullBuffers()
		r.pass(time.Second)
		if s := r.stop(time.Second); s.Retained.Lines != 100 || s.Kept.Lines != 0 || r.err == nil {
			t.Errorf("%+v, %v", s, r.err)
		}
	})
}
