package lane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"linesplit/linebuf"
)

// issued is a record of lines, by group.
type issued struct {
	linebuf.Receipt
	lines    []string
	released map[int]int
}

func (x *issued) Released(_ *linebuf.Receipt, group int) { x.released[group]++ }

// issue gives the lines of b a receipt.
func issue(b *linebuf.Buffer, groups linebuf.Groups) *issued {
	x := &issued{lines: linesOf(b), released: map[int]int{}}
	x.Init(x)
	b.Attach(&x.Receipt, groups)
	return x
}

func linesOf(b *linebuf.Buffer) []string {
	if len(b.B) == 0 {
		return nil
	}
	return strings.Split(strings.TrimSuffix(string(b.B), "\n"), "\n")
}

// Lines of one buffer go to many lanes, behind those of other buffers, while lanes have room or
// not. A receipt is released when its last line has left the last lane, and not before; lines with
// a receipt share no buffer with others.
func TestReceiptsFollowTheirLines(t *testing.T) {
	for seed := range uint64(40) {
		rng := rand.New(rand.NewPCG(seed, 2))
		b := newBench(t, 4<<10, 3, 2)
		s := b.source(false)
		var all []*issued
		has := map[string]bool{} // lines with a receipt
		left := map[string]bool{}
		take := func(l *Lane) {
			buf := l.Pop()
			if buf == nil {
				return
			}
			for _, line := range linesOf(buf) {
				if has[line] != buf.Kept() {
					t.Fatalf("%q is in a buffer that has receipts: %v", line, buf.Kept())
				}
				left[line] = true
			}
			b.pool.Put(buf)
		}
		for n := range 200 {
			var lines []string
			for i := range 1 + rng.IntN(12) {
				lines = append(lines, fmt.Sprint("key", rng.IntN(9), " ", n, ".", i, strings.Repeat("x", rng.IntN(3)*rng.IntN(200))))
			}
			buf := b.buffer(lines...)
			if rng.IntN(3) > 0 {
				all = append(all, issue(buf, 1))
				for _, line := range lines {
					has[line] = true
				}
			}
			for !s.Offer(buf) {
				take(b.lanes()[rng.IntN(6)])
			}
			for range rng.IntN(3) {
				take(b.lanes()[rng.IntN(6)])
			}
			for _, x := range all {
				gone := !slices.ContainsFunc(x.lines, func(line string) bool { return !left[line] })
				if n := x.released[0]; n > 1 || n == 1 && !gone {
					t.Fatalf("seed %d: released %d times; all lines have left: %v", seed, n, gone)
				}
			}
		}
		for _, l := range b.lanes() {
			for !l.Empty() {
				take(l)
			}
		}
		for _, x := range all {
			if x.released[0] != 1 {
				t.Fatalf("seed %d: released %d times in the end", seed, x.released[0])
			}
		}
		b.wantNothingHeld()
	}
}

// Each group releases its own part when its own lanes are empty.
func TestMultiHandsReceiptsOver(t *testing.T) {
	s := newSeveral(t, 1<<20, false, []int{2, 3}, []int64{0, 0})
	buf := s.groups[0].buffer("a 1", "b 1", "c 1", "d 1")
	x := issue(buf, 0b11)
	whole := s.groups[0].buffer("a 2")
	y := issue(whole, 0b11)
	if !s.multi.Offer(buf) || !s.multi.Offer(whole) {
		t.Fatal("no room")
	}
	for i, b := range s.groups {
		if x.released[i]+y.released[i] > 0 {
			t.Errorf("released for group %d before its lanes were empty", i)
		}
		for _, l := range b.lanes() {
			b.drain(l, true)
		}
		if x.released[i] != 1 || y.released[i] != 1 || len(x.released) != i+1 {
			t.Errorf("group %d is empty, and released are %v and %v", i, x.released, y.released)
		}
	}
}

// Lines without a key are dropped and counted: nothing waits for them.
func TestDroppedLinesReleaseTheirReceipt(t *testing.T) {
	b := newBench(t, 1<<20, 2, 1)
	buf := b.buffer(" none", " either")
	x := issue(buf, 1)
	if s := b.source(true); !s.Offer(buf) || s.TakeDropped().Lines != 2 || x.released[0] != 1 {
		t.Errorf("released %d times", x.released[0])
	}
	b.wantNothingHeld()
}
