package workerpool

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/linekey"
	"linesplit/linebuf"
)

// keyedRig sends lines with keys: each buffer has some lines of each key.
type keyedRig struct {
	*rig
	outlet *KeyedOutlet
	keys   int
}

func newKeyedRig(t *testing.T, o Options, keys int, peers ...*peer) *keyedRig {
	t.Helper()
	rule, err := linekey.Parse("field:2")
	if err != nil {
		t.Fatal(err)
	}
	o.Keys.Rule = rule
	if o.Connections == 0 {
		o.Connections = 2
	}
	r := newRig(t, o, peers)
	return &keyedRig{r, r.pool.NewKeyedOutlet(), keys}
}

// buffer returns a buffer with one line of each key.
func (r *keyedRig) buffer() *linebuf.Buffer {
	b := r.buffers.MustGet(r.keys * 64)
	for k := range r.keys {
		line := fmt.Sprintf("%06d:%06d k%03d %s", r.nBufs, r.seq, k, strings.Repeat("x", k%20))
		r.source[line] = r.seq // lines of different keys may overtake each other
		r.seq++
		b.B = append(append(b.B, line...), '\n')
	}
	b.Lines, b.Read = r.keys, time.Now()
	r.nBufs++
	r.bytes += len(b.B)
	return b
}

// sendKeys offers n buffers, which all have room.
func (r *keyedRig) sendKeys(n int) {
	r.t.Helper()
	for range n {
		if !r.outlet.Offer(r.buffer()) {
			r.t.Fatal("no room")
		}
		r.outlet.Flush()
		synctest.Wait()
	}
}

// keyOf returns the key and the number of a line.
func keyOf(line []byte) (key string, seq int) {
	fields := bytes.Fields(line)
	fmt.Sscanf(string(fields[0]), "%06d:%06d", new(int), &seq)
	return string(fields[1]), seq
}

// homes returns the target of each key, and demands that each has one.
func (r *keyedRig) homes() map[string]*peer {
	r.t.Helper()
	at := map[string]*peer{}
	for _, p := range r.peers {
		for i := 0; p.conn(i) != nil; i++ {
			for line := range bytes.Lines(p.conn(i).state().sent) {
				key, _ := keyOf(line)
				if at[key] != nil && at[key] != p {
					r.t.Fatalf("%s went to %s and to %s", key, at[key].name, p.name)
				}
				at[key] = p
			}
		}
	}
	if len(at) != r.keys {
		r.t.Fatalf("%d of %d keys were sent", len(at), r.keys)
	}
	return at
}

// wantKeysInOrder demands that the lines of each key are in order on each connection, without a
// gap.
func (r *keyedRig) wantKeysInOrder() {
	r.t.Helper()
	for _, p := range r.peers {
		for i := 0; p.conn(i) != nil; i++ {
			last := map[string]int{}
			for line := range bytes.Lines(p.conn(i).state().sent) {
				if line[len(line)-1] != '\n' {
					continue
				}
				key, seq := keyOf(line)
				if before, ok := last[key]; ok && seq != before+r.keys {
					r.t.Fatalf("%s[%d]: line %d of %s comes after line %d", p.name, i, seq, key, before)
				}
				last[key] = seq
			}
		}
	}
}

func (r *keyedRig) finishInOrder() Stats {
	r.t.Helper()
	s := r.finish(5 * time.Minute)
	r.wantKeysInOrder()
	return s
}

// keyAt returns a key that a target has.
func (r *keyedRig) keyAt(p *peer) string {
	r.t.Helper()
	for key, at := range r.homes() {
		if at == p {
			return key
		}
	}
	r.t.Fatalf("%s has no key", p.name)
	return ""
}

// elsewhere reports whether lines of a key have gone to another target than p.
func (r *keyedRig) elsewhere(key string, p *peer) bool {
	for _, other := range r.peers {
		if other != p && r.hasKey(other, key) {
			return true
		}
	}
	return false
}

// hasKey reports whether lines of a key have gone to p.
func (r *keyedRig) hasKey(p *peer, key string) bool {
	for i := 0; p.conn(i) != nil; i++ {
		if bytes.Contains(p.conn(i).state().sent, []byte(" "+key+" ")) {
			return true
		}
	}
	return false
}

// only returns a buffer with lines of one key.
func (r *keyedRig) only(key string) *linebuf.Buffer {
	b := r.buffers.MustGet(64 << 10)
	for len(b.B) < 60<<10 {
		line := fmt.Sprintf("%06d:%06d %s %s", r.nBufs, r.seq, key, strings.Repeat("x", 1000))
		r.source[line] = r.seq // lines of different keys may overtake each other
		r.seq++
		b.B = append(append(b.B, line...), '\n')
		b.Lines++
	}
	b.Read = time.Now()
	r.nBufs++
	r.bytes += len(b.B)
	return b
}
