package acked

import (
	"context"
	"errors"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
	"linesplit/target"
)

// record keeps what is sent, with its IDs.
type record struct {
	mu      sync.Mutex // guards the fields below
	batches []string
	ids     []string
}

func (r *record) send(_ context.Context, p Part) ([]Refused, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, strings.ReplaceAll(string(p.Bytes), "\n", " "))
	r.ids = append(r.ids, p.ID())
	return nil, nil
}

// sent returns the batches so far.
func (r *record) sent() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.batches)
}

// Batches end at their limits, and otherwise when the first line has waited for the linger time.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got record
		c := newFake(t, "?batch-lines=3&linger=20ms", nil, got.send)
		write(t, c, buffer("a"), false)
		write(t, c, buffer("b", "c"), false)
		synctest.Wait()
		write(t, c, buffer("d", "e"), false)
		write(t, c, buffer("f", "g"), false) // has no room beside these
		synctest.Wait()
		if want := []string{"a b c ", "d e "}; !slices.Equal(got.sent(), want) {
			t.Fatalf("%q, want %q", got.batches, want)
		}
		time.Sleep(19 * time.Millisecond)
		synctest.Wait()
		if len(got.sent()) != 2 {
			t.Fatalf("%q before the time", got.batches)
		}
		time.Sleep(2 * time.Millisecond)
		synctest.Wait()
		if want := []string{"a b c ", "d e ", "f g "}; !slices.Equal(got.sent(), want) {
			t.Fatalf("%q, want %q", got.batches, want)
		}
		if p := c.Progress(); p.Acked != 14 || p.Known != 14 || p.Read != 14 || p.Written != 14 || !p.Exact {
			t.Errorf("%+v", p)
		}
	})
}

// A buffer that is larger than a batch goes in several batches of whole lines.
func TestLargeBuffer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got record
		c := newFake(t, "?batch-lines=2", nil, got.send)
		write(t, c, buffer("a", "b", "c", "d", "e"), false)
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"a b ", "c d ", "e "}; !slices.Equal(got.sent(), want) {
			t.Fatalf("%q, want %q", got.batches, want)
		}
	})
}

// What has been sent once is sent again in the same batches with the same IDs, however slowly the
// buffers come, and what is new does not mix with it.
func TestBatchesAreRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second record
		a, b, large, last := buffer("a"), buffer("b"), buffer("c", "d", "e", "f"), buffer("g")
		c := newFake(t, "?batch-lines=3", nil, first.send)
		for _, x := range []*linebuf.Buffer{a, b, large, last} {
			write(t, c, x, false)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		c = newFake(t, "?batch-lines=3", nil, second.send)
		write(t, c, a, true)
		time.Sleep(time.Second) // longer than the linger time
		write(t, c, b, false)
		write(t, c, large, false)
		write(t, c, buffer("new"), false)
		write(t, c, last, false)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if want := []string{"a b ", "c d e ", "f ", "new ", "g "}; !slices.Equal(second.batches, want) {
			t.Fatalf("%q, want %q", second.batches, want)
		}
		if want := []string{"a b ", "c d e ", "f g "}; !slices.Equal(first.batches, want) {
			t.Fatalf("%q, want %q", first.batches, want)
		}
		if !slices.Equal(first.ids[:2], second.ids[:2]) {
			t.Errorf("IDs %q, and then %q", first.ids, second.ids)
		}
		ids := slices.Concat(first.ids, second.ids[2:])
		slices.Sort(ids)
		if len(slices.Compact(ids)) != 6 {
			t.Errorf("different lines have the same ID: %q", ids)
		}
	})
}

// A spool returns the lines of a batch in one buffer after a restart. They are sent as the batch
// that they were, with the lines of none before or behind them. Batches are noted before they are
// sent, those that are in no spool as well: the spool knows.
func TestBatchOfAnEarlierRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		marks := []linebuf.Mark{{Source: 7, Number: 3}, {Source: 7, Number: 1}}
		a, b := buffer("a", "b"), buffer("c")
		a.Origin, b.Origin = marks[0], marks[1]
		runs := []linebuf.Run{{First: marks[0], Lines: 2}, {First: marks[1], Lines: 1}}
		together := buffer("a", "b", "c")
		together.MarkRuns(runs)
		together.Batch = marks[0]

		var got record
		var noted [][]linebuf.Run
		c := newNoting(t, "?linger=20ms", got.send, func(first linebuf.Mark, runs []linebuf.Run) {
			if first != runs[0].First {
				t.Errorf("a batch with the name %v has %v", first, runs)
			}
			noted = append(noted, slices.Clone(runs))
		})
		write(t, c, a, false)
		write(t, c, b, false)
		time.Sleep(time.Second)
		synctest.Wait()
		write(t, c, buffer("before"), false)
		write(t, c, together, false)
		write(t, c, buffer("behind"), false)
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"a b c ", "before ", "a b c ", "behind "}; !slices.Equal(got.sent(), want) {
			t.Fatalf("%q, want %q", got.batches, want)
		}
		if got.ids[0] != got.ids[2] {
			t.Errorf("IDs %q", got.ids)
		}
		if len(noted) != 4 || !slices.Equal(noted[0], runs) || !slices.Equal(noted[2], runs) {
			t.Errorf("noted %v", noted)
		}
	})
}

// Lines that are announced for a batch which is sent before they are written belong to the next
// one. They had the mark of the earlier one, so that the two were sent again as one batch, with
// another ID.
func TestBatchIsSentBeforeAnnouncedLinesAreWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got record
		c := newFake(t, "", nil, got.send)
		a, b := buffer("a"), buffer("b")
		write(t, c, a, false)
		c.Announce(b, len(b.B), false)
		time.Sleep(time.Second)
		synctest.Wait()
		if n, err := c.TryWrite(b.B); n != len(b.B) || err != nil {
			t.Fatal(n, err)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"a ", "b "}; !slices.Equal(got.sent(), want) || a.Batch == b.Batch {
			t.Errorf("%q, marks %v and %v", got.batches, a.Batch, b.Batch)
		}
	})
}

// A batch may begin within a buffer. It had the mark of the buffer, which moved when the lines
// before it were confirmed, and that of buffers that had joined it did not: it was sent again in
// two parts.
func TestBatchThatBeginsWithinABufferIsRepeated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var first, second record
		large, small := buffer("a", "b", "c", "d"), buffer("e")
		c := newFake(t, "?batch-lines=3", nil, first.send)
		write(t, c, large, false)
		write(t, c, small, false)
		time.Sleep(time.Second)
		synctest.Wait()
		large.B, large.Lines = large.B[6:], 1 // the first batch is confirmed
		large.Skip(3)
		c = newFake(t, "?batch-lines=3", nil, second.send)
		if large.Batch != small.Batch {
			t.Errorf("marks %v and %v", large.Batch, small.Batch)
		}
		write(t, c, large, true)
		write(t, c, small, false)
		time.Sleep(time.Second)
		synctest.Wait()
		if want := []string{"a b c ", "d e "}; !slices.Equal(first.sent(), want) || !slices.Equal(second.sent(), want[1:]) {
			t.Fatalf("%q, and then %q", first.sent(), second.sent())
		}
		if first.ids[1] != second.ids[0] {
			t.Errorf("IDs %q, and then %q", first.ids, second.ids)
		}
	})
}

// A connection that is to be left sends what it has at once, and waits for the target only shortly.
// What it holds back is not outstanding at the target.
func TestLeftConnectionHurries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var sent []time.Duration
		c := newFake(t, "?linger=1m", nil, func(ctx context.Context, _ Part) ([]Refused, error) {
			sent = append(sent, time.Since(began))
			return nil, sleep(ctx, time.Hour)
		})
		write(t, c, buffer("a"), false)
		time.Sleep(10 * time.Second)
		if p := c.Progress(); p.Written != 2 || p.Unsent != 2 {
			t.Errorf("%+v", p)
		}
		must(t, c.CloseWrite())
		must(t, c.CloseWrite())
		p := waitFor(t, c, acknowledged(2))
		if took := time.Since(began); p.Err != nil || p.Unsent != 0 || len(sent) != 1 || sent[0] != 10*time.Second || took != 10*time.Second+hurried {
			t.Errorf("%+v after %v, sent after %v", p, took, sent)
		}
	})
}

// A failed connection returns its error from Write, also to one that waits, and knows what had been
// acknowledged.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		broken := errors.New("broken")
		n := 0
		c := newFake(t, "?batch-lines=1", nil, func(context.Context, Part) ([]Refused, error) {
			if n++; n == 2 {
				time.Sleep(time.Second)
				return nil, broken
			}
			return nil, nil
		})
		b := buffer("a", "b", "c", "d")
		c.Announce(b, len(b.B), false)
		written, err := c.Write(b.B, func() error { return nil })
		if !errors.Is(err, broken) {
			t.Errorf("%d, %v", written, err)
		}
		if p := c.Progress(); p.Err != broken || p.Known != 2 || p.Acked != 2 || p.Written != uint64(written) {
			t.Errorf("%+v after %d", p, written)
		}
	})
}

// A write that waits ends with the error of its waiting function.
func TestWriteGivesUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFake(t, "?batch-lines=1", nil, func(ctx context.Context, _ Part) ([]Refused, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		})
		enough := errors.New("enough")
		waits := 0
		b := buffer("a", "b", "c")
		c.Announce(b, len(b.B), false)
		n, err := c.Write(b.B, func() error {
			if waits++; waits == 3 {
				return enough
			}
			return nil
		})
		if n != 4 || err != enough {
			t.Errorf("%d, %v", n, err)
		}
	})
}

// Refused lines count as read and as rejected. With reject=block they are sent until they are
// taken.
func TestRefused(t *testing.T) {
	for _, mode := range []string{"drop", "block"} {
		t.Run(mode, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refusals := 3
				var sent []string
				c := newFake(t, "?reject="+mode, testRejects(t, io.Discard), func(_ context.Context, p Part) (all []Refused, err error) {
					sent = append(sent, string(p.Bytes))
					if refusals--; refusals < 0 {
						return nil, nil
					}
					for p.Lines > 1 {
						p, _ = p.Halves()
					}
					return []Refused{{p, "no"}}, nil
				})
				write(t, c, buffer("first", "second"), false)
				time.Sleep(time.Minute)
				synctest.Wait()
				p := c.Progress()
				if p.Known != 13 || p.Err != nil {
					t.Errorf("%+v", p)
				}
				want, lines, bytes := []string{"first\nsecond\n"}, uint64(1), uint64(6)
				if mode == target.RejectBlock {
					want, lines, bytes = append(want, "first\n", "first\n", "first\n"), 0, 0
				}
				if !slices.Equal(sent, want) || p.RejectedLines != lines || p.RejectedBytes != bytes {
					t.Errorf("%q: %+v", sent, p)
				}
			})
		})
	}
}

// waiting counts nothing: it only gives its receipt to buffers.
type waiting struct{ linebuf.Receipt }

func (w *waiting) Released(*linebuf.Receipt, int) {}

// What waits for lines learns how many of them the target has refused, before they count as read.
func TestRefusedLinesAreLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newFake(t, "?reject=drop", testRejects(t, io.Discard), func(_ context.Context, p Part) ([]Refused, error) {
			first, second := p.Halves()
			_, second = second.Halves()
			return []Refused{{first, "no"}, {second, "no"}}, nil
		})
		var all [4]waiting
		for i := range all {
			all[i].InitWatching(&all[i])
			b := buffer("one", "two")
			b.Watch(&all[i].Receipt, 1)
			write(t, c, b, false)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if p := c.Progress(); p.Acked != 32 || p.RejectedLines != 2 {
			t.Errorf("%+v", p)
		}
		for i, want := range []int{2, 2, 0, 2} {
			if got := all[i].Lost(); got != want {
				t.Errorf("receipt %d has %d lost lines, want %d", i, got, want)
			}
		}
	})
}
