package tally

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"linesplit/internal/simulate/record"
)

const (
	batchRecords = 256     // that are handed to the tally at once
	keptCapacity = 4 << 10 // bytes of a finished line's room that are kept for the next one
)

// Reader cuts the bytes of one connection into lines. It belongs to one goroutine. Feed and End are all it takes; End must be called.
type Reader struct {
	// Line, if it is not nil, is called with each line, its newline included, except for those that were too long. The bytes are the
	// reader's again when it returns.
	Line func(line []byte)

	t        *Tally
	tail     []byte // of an unfinished line
	charged  int64  // bytes of the tally's Partial that tail takes
	skipping bool   // the unfinished line was too long, and has been counted

	batch []arrival // for the tally
	rest  counts
	bad   []string
}

// Reader returns a reader for one connection.
func (t *Tally) Reader() *Reader { return &Reader{t: t} }

// Feed takes what the application has read. It keeps nothing of b.
func (r *Reader) Feed(b []byte) {
	now := time.Now()
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		r.finish(b[:i+1])
		b = b[i+1:]
		if len(r.batch) == batchRecords {
			r.hand(now)
		}
	}
	r.keep(b)
	r.hand(now)
}

// End says how the connection ended. What stands behind its last newline is a torn line if the end was clean: many a receiver would take
// it for a whole one. It is none, but cut off, where the connection broke, or where the receiver itself has ended it.
func (r *Reader) End(clean bool) {
	switch {
	case len(r.tail) == 0:
	case clean && r.t.o.EndEndsLine && r.whole():
	case clean:
		r.rest.torn++
		r.show("torn", r.tail)
	default:
		r.rest.cut++
	}
	r.hand(time.Now())
	r.release()
}

// whole takes the unfinished line for a record if it is one.
func (r *Reader) whole() bool {
	id, ok := record.Parse(r.tail)
	if ok {
		r.batch = append(r.batch, arrival{id, len(r.tail)})
	}
	return ok
}

// finish takes the end of a line, with its newline.
func (r *Reader) finish(end []byte) {
	line := end
	if len(r.tail) > 0 || r.skipping || len(end) > r.t.o.MaxLine {
		r.keep(end)
		line = r.tail
	}
	if !r.skipping {
		r.line(line)
	}
	r.skipping = false
	r.tail = r.tail[:0]
	if cap(r.tail) > keptCapacity {
		r.release()
	}
}

func (r *Reader) line(line []byte) {
	bare := line[:len(line)-1]
	id, ok := record.Parse(bare)
	switch {
	case ok:
		r.batch = append(r.batch, arrival{id, len(line)})
	case r.t.o.Strict || record.Numbered(bare):
		r.rest.corrupt++
		r.show("corrupt", bare)
	default:
		r.rest.foreign++
	}
	if r.Line != nil {
		r.Line(line)
	}
}

// show keeps a bad line for the report.
func (r *Reader) show(what string, line []byte) {
	if len(r.bad) < maxSamples {
		r.bad = append(r.bad, what+": "+sample(line))
	}
}

// keep adds part to the unfinished line. One that is too long is counted now, and the rest of it passed over.
func (r *Reader) keep(part []byte) {
	if r.skipping || len(part) == 0 {
		return
	}
	if len(r.tail)+len(part) > r.t.o.MaxLine || !r.grow(len(r.tail)+len(part)) {
		r.rest.corrupt++
		r.show("too long", slices.Concat(r.tail[:min(len(r.tail), sampled)], part[:min(len(part), sampled)]))
		r.skipping = true
		r.release()
		return
	}
	r.tail = append(r.tail, part...)
}

// grow makes room for a line of n bytes. It is false where all connections together hold too much.
func (r *Reader) grow(n int) bool {
	if n <= cap(r.tail) {
		return true
	}
	room := int64(max(n, 2*cap(r.tail)))
	more := room - r.charged
	if r.t.partial.Add(more) > r.t.o.Partial {
		r.t.partial.Add(-more)
		return false
	}
	r.charged = room
	r.tail = append(make([]byte, 0, room), r.tail...)
	return true
}

// release gives the unfinished line's room back.
func (r *Reader) release() {
	r.t.partial.Add(-r.charged)
	r.tail, r.charged = nil, 0
}

// hand gives the tally what has been found so far.
func (r *Reader) hand(now time.Time) {
	if len(r.batch) == 0 && r.rest == (counts{}) {
		return
	}
	r.t.add(now, r.batch, r.rest, r.bad)
	r.batch, r.rest, r.bad = r.batch[:0], counts{}, nil
}

// sampled is how many bytes of a bad line are shown.
const sampled = 160

func sample(b []byte) string {
	if len(b) <= sampled {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q … %q (%d bytes)", b[:sampled/2], b[len(b)-sampled/2:], len(b))
}
