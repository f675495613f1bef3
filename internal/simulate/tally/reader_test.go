package tally

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"linesplit/internal/simulate/record"
)

// A stream gives the same report however it is cut into pieces.
func TestFeedInPieces(t *testing.T) {
	stream := join(join(records(1, 50)...), []byte("foreign\n\n\n"), altered(records(2, 1)[0], 5), []byte("rest"))
	whole := New(Options{})
	r := whole.Reader()
	r.Feed(stream)
	r.End(true)
	for _, step := range []int{1, 2, 3, 99, 100, 101, len(stream) - 1} {
		tally := New(Options{})
		var lines []byte
		r := tally.Reader()
		r.Line = func(line []byte) { lines = append(lines, line...) }
		for rest := stream; len(rest) > 0; rest = rest[min(step, len(rest)):] {
			r.Feed(rest[:min(step, len(rest))])
		}
		r.End(true)
		ignored := cmpopts.IgnoreFields(Report{}, "Latency")
		if diff := cmp.Diff(whole.Report(nil), tally.Report(nil), ignored); diff != "" {
			t.Errorf("step %d: %s", step, diff)
		}
		if string(lines) != strings.TrimSuffix(string(stream), "rest") {
			t.Errorf("step %d: Line got other lines", step)
		}
		if n := tally.partial.Load(); n != 0 {
			t.Errorf("step %d: %d bytes still count as unfinished", step, n)
		}
	}
}

func TestLongLines(t *testing.T) {
	const maxLine = 1000
	fits, tooLong := bytes.Repeat([]byte("x"), maxLine-1), bytes.Repeat([]byte("x"), maxLine)
	for _, step := range []int{1, 7, maxLine - 1, maxLine, maxLine + 1, 1 << 20} {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			tally := New(Options{MaxLine: maxLine})
			r := tally.Reader()
			stream := join(fits, []byte("\n"), tooLong, []byte("\n"), bytes.Repeat(tooLong, 50), []byte("\n"),
				records(1, 1)[0], tooLong, tooLong)
			for rest := stream; len(rest) > 0; rest = rest[min(step, len(rest)):] {
				r.Feed(rest[:min(step, len(rest))])
			}
			r.End(true)
			got := tally.Report(nil)
			// the last line counts only as corrupt, not also as torn
			want := Report{Sent: 1, Received: 1, Distinct: 1, Foreign: 1, Corrupt: 3}
			ignored := cmpopts.IgnoreFields(Report{}, "Bytes", "Senders", "Latency", "Samples")
			if diff := cmp.Diff(want, got, ignored); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A thousand connections each send an endless line.
func TestUnfinishedLinesShareALimit(t *testing.T) {
	const maxPartial = 1 << 20
	tally := New(Options{Partial: maxPartial})
	piece := bytes.Repeat([]byte("x"), 4<<10)
	readers := make([]*Reader, 1000)
	for i := range readers {
		readers[i] = tally.Reader()
	}
	for range 10 {
		for _, r := range readers {
			r.Feed(piece)
			if n := tally.partial.Load(); n > maxPartial {
				t.Fatalf("%d bytes of unfinished lines", n)
			}
		}
	}
	line := records(1, 1)[0]
	for _, r := range readers {
		r.Feed([]byte("\n"))
		r.Feed(line)
		r.End(true)
	}
	got := tally.Report(nil)
	if n := tally.partial.Load(); n != 0 || got.Received != 1000 || got.Corrupt < 900 ||
		got.Corrupt+got.Foreign != 1000 {
		t.Errorf("%d bytes are left; %+v", n, got)
	}
}

// FuzzReader compares a reader that is fed in pieces with a naive model.
func FuzzReader(f *testing.F) {
	f.Add(join(records(1, 3)...), uint16(7), true)
	f.Add([]byte("\n\n\x00\xff\r\n"), uint16(1), false)
	f.Add(bytes.Repeat([]byte("long"), 300), uint16(100), true)
	f.Fuzz(func(t *testing.T, stream []byte, step uint16, clean bool) {
		const maxLine = 700
		tally := New(Options{MaxLine: maxLine})
		r := tally.Reader()
		for rest := stream; len(rest) > 0; {
			n := min(len(rest), 1+int(step))
			r.Feed(rest[:n])
			rest = rest[n:]
		}
		r.End(clean)
		got := tally.Report(nil)

		var want Report
		lines := bytes.SplitAfter(stream, []byte("\n"))
		for _, line := range lines[:len(lines)-1] {
			bare := line[:len(line)-1]
			_, whole := record.Parse(bare)
			switch {
			case len(line) > maxLine:
				want.Corrupt++
			case whole:
				want.Received++
			case record.Numbered(bare):
				want.Corrupt++
			default:
				want.Foreign++
			}
		}
		switch rest := len(lines[len(lines)-1]); {
		case rest == 0:
		case rest > maxLine:
			want.Corrupt++
		case clean:
			want.Torn++
		default:
			want.Cut++
		}
		ignored := cmpopts.IgnoreFields(Report{}, "Sent", "Bytes", "Distinct", "Lost", "Duplicated", "DuplicatedBytes",
			"OutOfOrder", "Senders", "Latency", "Samples")
		if diff := cmp.Diff(want, got, ignored); diff != "" {
			t.Error(diff)
		}
		if n := tally.partial.Load(); n != 0 {
			t.Errorf("%d bytes still count as unfinished", n)
		}
	})
}

func BenchmarkFeed(b *testing.B) {
	var stream []byte
	for _, line := range records(1, 200) {
		stream = append(stream, line...)
	}
	r := New(Options{}).Reader()
	b.SetBytes(int64(len(stream)))
	b.ReportAllocs()
	for b.Loop() {
		r.Feed(stream)
	}
}
