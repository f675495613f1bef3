package lane

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/cespare/xxhash/v2"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// bench is a set of lanes of some targets.
type bench struct {
	t      *testing.T
	pool   *linebuf.Pool
	routes *Routes
	homes  []Home
	woken  map[*Lane]int
}

func newBench(t *testing.T, limit int64, targets, lanes int) *bench {
	b := &bench{t: t, pool: linebuf.NewPool(0), woken: map[*Lane]int{}}
	b.routes = New(b.pool, limit)
	for i := range targets {
		b.homes = append(b.homes, b.home(fmt.Sprint("target-", i), lanes))
	}
	b.routes.Assign(b.homes)
	return b
}

func (b *bench) home(name string, lanes int) Home {
	h := Home{Name: name, Weight: 1}
	for range lanes {
		var l *Lane
		l = b.routes.NewLane(func(bool) { b.woken[l]++ })
		h.Lanes = append(h.Lanes, l)
	}
	return h
}

func (b *bench) lanes() (all []*Lane) {
	for _, h := range b.homes {
		all = append(all, h.Lanes...)
	}
	return all
}

// source returns a source for lines "KEY NUMBER". A line that begins with a blank has no key.
func (b *bench) source(drop bool) *Source {
	return b.routes.NewSource(func(line []byte) (uint64, bool) {
		key, _, _ := bytes.Cut(line, []byte{' '})
		return xxhash.Sum64(key), len(key) > 0
	}, drop, 0)
}

func (b *bench) buffer(lines ...string) *linebuf.Buffer {
	text := strings.Join(lines, "\n") + "\n"
	buf := b.pool.MustGet(len(text))
	buf.B = append(buf.B, text...)
	buf.Lines, buf.Read = len(lines), time.Now()
	return buf
}

// drain takes everything out of a lane, and confirms it if told so.
func (b *bench) drain(l *Lane, confirm bool) (lines []string) {
	for buf := l.Pop(); buf != nil; buf = l.Pop() {
		got := strings.Split(strings.TrimSuffix(string(buf.B), "\n"), "\n")
		if len(got) != buf.Lines || buf.Read.IsZero() {
			b.t.Errorf("a buffer counts %d lines, has %q, was read at %v", buf.Lines, buf.B, buf.Read)
		}
		lines = append(lines, got...)
		b.pool.Put(buf)
	}
	if confirm {
		l.Confirmed().Add(uint64(len(lines)))
	}
	return lines
}

// where returns the lane that has the line, nil if none does. It takes everything out of all lanes.
func (b *bench) where(line string) (at *Lane) {
	for _, l := range b.lanes() {
		if slices.Contains(b.drain(l, true), line) {
			at = l
		}
	}
	return at
}

func (b *bench) wantNothingHeld() {
	b.t.Helper()
	if n := b.pool.InUse(); n != 0 {
		b.t.Errorf("%d bytes of buffers were not given back", n)
	}
}

// Lines of a key stay in order and in one lane, whatever is between them.
func TestScatterKeepsKeysInOrder(t *testing.T) {
	b := newBench(t, 1<<20, 4, 3)
	s := b.source(false)
	for n := range 50 {
		var lines []string
		for k := range 40 {
			lines = append(lines, fmt.Sprintf("key%d %d", k*n%40, n))
		}
		if !s.Offer(b.buffer(lines...)) {
			t.Fatal("no room")
		}
	}
	at, last, total := map[string]*Lane{}, map[string]int{}, 0
	used := 0
	for _, l := range b.lanes() {
		lines := b.drain(l, false)
		if len(lines) > 0 {
			used++
		}
		if b.woken[l] == 0 && len(lines) > 0 {
			t.Error("a lane was filled and not woken")
		}
		for _, line := range lines {
			key, number, _ := strings.Cut(line, " ")
			n, _ := strconv.Atoi(number)
			if at[key] != nil && at[key] != l || n < last[key] {
				t.Fatalf("%s: number %d after %d, in the same lane: %v", key, n, last[key], at[key] == l)
			}
			at[key], last[key] = l, n
			total++
		}
	}
	if total != 50*40 || used < 10 {
		t.Errorf("%d lines in %d lanes", total, used)
	}
	b.wantNothingHeld()
}

// A lane without room leaves its lines with the sender, and takes no others' room.
func TestFullLaneHoldsUpOnlyItsKeys(t *testing.T) {
	b := newBench(t, 1024, 2, 1)
	s := b.source(false)
	slow := b.laneOf("slow")
	quick := "quick"
	for b.laneOf(quick) == slow {
		quick += "x"
	}
	for i := range 100 {
		if buf := b.buffer(fmt.Sprint("slow ", i, strings.Repeat("s", 200))); !s.Offer(buf) {
			b.pool.Put(buf)
			break
		}
	}
	if full := slow.Stats(); full.FullSince.IsZero() || full.Queued.Bytes > 1024 {
		t.Fatalf("the lane holds %+v", full)
	}
	held := b.buffer("slow 1000"+strings.Repeat("s", 500), quick+" 1", "slow 1001"+strings.Repeat("s", 500), quick+" 2")
	room := b.routes.Room()
	if s.Offer(held) {
		t.Fatal("there was room")
	}
	if want := "slow 1000" + strings.Repeat("s", 500) + "\nslow 1001" + strings.Repeat("s", 500) + "\n"; string(held.B) != want || held.Lines != 2 {
		t.Errorf("the sender is left with %d lines %q", held.Lines, held.B)
	}
	select {
	case <-room:
		t.Error("room was announced although there is none")
	default:
	}
	for _, l := range b.lanes() {
		if l != slow {
			if got := b.drain(l, false); !slices.Equal(got, []string{quick + " 1", quick + " 2"}) {
				t.Errorf("the other lane has got %q", got)
			}
		}
	}
	b.drain(slow, false)
	select {
	case <-room:
	default:
		t.Error("room was not announced")
	}
	if !s.Offer(held) {
		t.Error("a buffer that is larger than the limit found no room in an empty lane")
	}
	if got := b.drain(slow, false); len(got) != 2 {
		t.Errorf("got %q", got)
	}
	b.wantNothingHeld()
}

// laneOf returns the lane of a key.
func (b *bench) laneOf(key string) *Lane {
	s := b.source(false)
	line := key + " where"
	if !s.Offer(b.buffer(line)) {
		b.t.Fatal("no room")
	}
	return b.where(line)
}

func TestLinesWithoutKey(t *testing.T) {
	b := newBench(t, 1<<20, 2, 2)
	drop := b.source(true)
	if !drop.Offer(b.buffer(" none", "a 1", " none either")) {
		t.Fatal("no room")
	}
	if got, want := drop.TakeDropped(), (linebuf.Count{Lines: 2, Bytes: 19}); got != want {
		t.Errorf("dropped %+v, want %+v", got, want)
	}
	if got := drop.TakeDropped(); got != (linebuf.Count{}) {
		t.Errorf("dropped %+v again", got)
	}
	if !drop.Offer(b.buffer(" none", " none")) {
		t.Error("a buffer of lines that are dropped was left")
	}
	b.where("")
	any := b.source(false)
	got := map[*Lane]int{}
	for range 8 {
		any.Offer(b.buffer(" none"))
		for _, l := range b.lanes() {
			got[l] += len(b.drain(l, false))
		}
	}
	for _, l := range b.lanes() {
		if got[l] != 2 {
			t.Errorf("lanes get %v of eight lines without a key, want two each", got)
			break
		}
	}
	b.wantNothingHeld()
}

// Lines of several framings that have one key share a lane, but no buffer: it tells in one way only
// where its lines end.
func TestFramingsDoNotMix(t *testing.T) {
	b := newBench(t, 1<<20, 2, 2)
	s := b.source(false)
	octet := func(lines ...string) *linebuf.Buffer {
		buf := b.buffer(lines...)
		buf.Framing, buf.B = framing.Octet, buf.B[:0]
		for _, line := range lines {
			buf.B = append(framing.AppendHeader(buf.B, len(line)), line...)
		}
		return buf
	}
	offers := []*linebuf.Buffer{
		b.buffer("a 1", "b 1"), octet("a 2", "b 2\n\n"), octet("a 3"), b.buffer("a 4"), octet("b 3", "a 5"),
	}
	for _, buf := range offers {
		if !s.Offer(buf) {
			t.Fatal("no room")
		}
	}
	got := map[string][]string{}
	for _, l := range b.lanes() {
		for buf := l.Pop(); buf != nil; buf = l.Pop() {
			if n := buf.Framing.Count(buf.B); n != buf.Lines {
				t.Errorf("a buffer counts %d lines, %q has %d", buf.Lines, buf.B, n)
			}
			for rest := buf.B; len(rest) > 0; {
				line, size := buf.Framing.First(rest)
				got[string(line[:1])] = append(got[string(line[:1])], string(line))
				rest = rest[size:]
			}
			b.pool.Put(buf)
		}
	}
	want := map[string][]string{"a": {"a 1", "a 2", "a 3", "a 4", "a 5"}, "b": {"b 1", "b 2\n\n", "b 3"}}
	if !maps.EqualFunc(got, want, slices.Equal[[]string]) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// Lines that come while a worker is busy share its buffers, so that it writes many at once.
func TestLinesGatherInBuffers(t *testing.T) {
	b := newBench(t, 1<<20, 1, 1)
	s := b.source(false)
	for i := range 1000 {
		s.Offer(b.buffer(fmt.Sprint("k ", i, strings.Repeat("x", 200))))
	}
	l, buffers := b.homes[0].Lanes[0], 0
	for buf := l.Pop(); buf != nil; buf = l.Pop() {
		buffers++
		b.pool.Put(buf)
	}
	if buffers > 20 {
		t.Errorf("%d buffers for 1000 lines", buffers)
	}
	b.wantNothingHeld()
}

func TestScatterAllocatesNothing(t *testing.T) {
	b := newBench(t, 1<<20, 4, 4)
	s := b.source(false)
	var lines []string
	for i := range 200 {
		lines = append(lines, fmt.Sprint("key", i, " ", strings.Repeat("x", 100)))
	}
	text := strings.Join(lines, "\n") + "\n"
	cycle := func() {
		buf := b.pool.MustGet(len(text))
		buf.B = append(buf.B, text...)
		buf.Lines, buf.Read = len(lines), time.Now()
		s.Offer(buf)
		for _, h := range b.homes {
			for _, l := range h.Lanes {
				for got := l.Pop(); got != nil; got = l.Pop() {
					b.pool.Put(got)
				}
			}
		}
	}
	for range 20 {
		cycle()
	}
	if n := testing.AllocsPerRun(100, cycle); n > 0 {
		t.Errorf("%v allocations per buffer", n)
	}
}

// BenchmarkScatter scatters 128 KiB of lines of 600 bytes to 16 lanes.
func BenchmarkScatter(b *testing.B) {
	pool := linebuf.NewPool(0)
	routes := New(pool, 4<<20)
	var homes []Home
	for i := range 4 {
		h := Home{Name: fmt.Sprint("target-", i), Weight: 1}
		for range 4 {
			h.Lanes = append(h.Lanes, routes.NewLane(func(bool) {}))
		}
		homes = append(homes, h)
	}
	routes.Assign(homes)
	s := routes.NewSource(func(line []byte) (uint64, bool) { return xxhash.Sum64(line[:10]), true }, false, 0)
	var text []byte
	for i := range 218 {
		text = fmt.Appendf(text, "key%07d %s\n", i, strings.Repeat("x", 588))
	}
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		buf := pool.MustGet(len(text))
		buf.B = append(buf.B, text...)
		buf.Lines = 218
		s.Offer(buf)
		for _, h := range homes {
			for _, l := range h.Lanes {
				for got := l.Pop(); got != nil; got = l.Pop() {
					pool.Put(got)
				}
			}
		}
	}
}
