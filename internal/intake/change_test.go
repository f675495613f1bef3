package intake

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"linesplit/linebuf"
)

// add appends the result of the next part of a stream.
func (r *result) add(more result) {
	r.out += more.out
	r.lines += more.lines
	r.truncated += more.truncated
	r.closed = more.closed
	for why, n := range more.dropped {
		r.dropped[why].Add(n)
	}
}

// ruledRead is a read and the rules in force during it.
type ruledRead struct {
	n      int // bytes of the read
	max    int
	policy Oversize
}

// However the stream is cut into reads, and however often the rules change, the rules in force at
// the start of a line apply to all of it.
func TestLineKeepsTheRulesItBeganWith(t *testing.T) {
	for seed := range uint64(20000) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		in := make([]byte, rnd.IntN(80))
		for i := range in {
			in[i] = "abc\n"[rnd.IntN(4)]
			if rnd.IntN(3) > 0 {
				in[i] = 'x'
			}
		}
		var ruleOf []ruledRead // by offset: the rules of its read
		var reads []ruledRead
		now := ruledRead{max: 1 + rnd.IntN(12), policy: Oversize(rnd.IntN(3))}
		first := now
		for left := len(in); left > 0; {
			if rnd.IntN(3) == 0 {
				now.max, now.policy = 1+rnd.IntN(12), Oversize(rnd.IntN(3))
			}
			now.n = min(left, 1+rnd.IntN(20))
			left -= now.n
			reads = append(reads, now)
			ruleOf = append(ruleOf, slices.Repeat([]ruledRead{now}, now.n)...)
		}
		var want result
		for at := 0; at < len(in) && !want.closed; {
			n := bytes.IndexByte(in[at:], '\n') + 1
			if n == 0 {
				n = len(in) - at
			}
			want.add(model(in[at:at+n], ruleOf[at].max, ruleOf[at].policy))
			at += n
		}
		got := feedChanging(t, in, first, reads)
		if got.closed && want.closed {
			got.dropped, want.dropped = [NumReasons]linebuf.Count{}, [NumReasons]linebuf.Count{}
		}
		if got != want {
			t.Fatalf("seed %d: %q with %v\ngot  %+v\nwant %+v", seed, in, reads, got, want)
		}
	}
}

// feedChanging is feed with rules that change between reads.
func feedChanging(t *testing.T, in []byte, first ruledRead, reads []ruledRead) (r result) {
	l := rules{max: first.max, policy: first.policy}
	var carried []byte
	for _, read := range reads {
		b := append(carried, in[:read.n]...)
		in = in[read.n:]
		c := l.change(read.max, read.policy, b, len(carried))
		whole, rest := b[:c.whole], b[c.whole:c.whole+c.rest]
		if bytes.Count(whole, newline) != c.lines || bytes.Contains(rest, newline) || len(rest) >= l.max {
			t.Fatalf("whole lines %q (%d), rest %q", whole, c.lines, rest)
		}
		r.add(result{string(whole), c.lines, c.dropped, c.truncated, c.close})
		if r.closed {
			return r
		}
		carried = bytes.Clone(rest)
	}
	if len(carried) > 0 {
		r.add(result{out: string(carried) + "\n", lines: 1})
	}
	return r
}
