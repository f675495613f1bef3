package tally

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"linesplit/internal/simulate/record"
)

const (
	batchRecords = 256     // records that are handed to the tally at once
	maxKeptTail  = 4 << 10 // bytes of capacity that are kept for the next unfinished line
)

// Reader cuts the bytes of one connection into lines. It belongs to one goroutine, which calls
// Feed with what it has read and, at the end, End.
type Reader struct {
	// Line, if not nil, is called with each line, newline included, except for lines that were
	// too long. The reader reuses the bytes when it returns.
	Line func(line []byte)

	t        *Tally
	tail     []byte // start of an unfinished line
	reserved int64  // bytes reserved for tail, out of Options.Partial
	skipping bool   // the unfinished line is too long and has been counted

	batch   []arrival // records found and not handed to the tally yet
	counts  counts
	samples []string
}

// Reader returns a reader for one connection.
func (t *Tally) Reader() *Reader { return &Reader{t: t} }

// Feed takes bytes that the application has read. It keeps no reference to b.
func (r *Reader) Feed(b []byte) {
	now := time.Now()
	for {
		i := bytes.IndexByte(b, '\n')
		if i < 0 {
			break
		}
		r.endLine(b[:i+1])
		b = b[i+1:]
		if len(r.batch) == batchRecords {
			r.flush(now)
		}
	}
	r.appendTail(b)
	r.flush(now)
}

// End ends the connection. An unfinished line counts as torn if the end was clean, because many
// receivers would take it for a whole line. If the connection broke, or the receiver itself ended
// it, the unfinished line counts as cut off.
func (r *Reader) End(clean bool) {
	switch {
	case len(r.tail) == 0:
	case clean && r.t.o.EndEndsLine && r.takeTail():
	case clean:
		r.counts.torn++
		r.addSample("torn", r.tail)
	default:
		r.counts.cut++
	}
	r.flush(time.Now())
	r.releaseTail()
}

// takeTail counts the unfinished line as a record, and reports whether it is one.
func (r *Reader) takeTail() bool {
	id, ok := record.Parse(r.tail)
	if ok {
		r.batch = append(r.batch, arrival{id, len(r.tail)})
	}
	return ok
}

// endLine takes the end of a line, newline included.
func (r *Reader) endLine(end []byte) {
	line := end
	if len(r.tail) > 0 || r.skipping || len(end) > r.t.o.MaxLine {
		r.appendTail(end)
		line = r.tail
	}
	if !r.skipping {
		r.line(line)
	}
	r.skipping = false
	r.tail = r.tail[:0]
	if cap(r.tail) > maxKeptTail {
		r.releaseTail()
	}
}

func (r *Reader) line(line []byte) {
	bare := line[:len(line)-1]
	id, ok := record.Parse(bare)
	switch {
	case ok:
		r.batch = append(r.batch, arrival{id, len(line)})
	case r.t.o.Strict || record.Numbered(bare):
		r.counts.corrupt++
		r.addSample("corrupt", bare)
	default:
		r.counts.foreign++
	}
	if r.Line != nil {
		r.Line(line)
	}
}

// addSample keeps a bad line for the report.
func (r *Reader) addSample(what string, line []byte) {
	if len(r.samples) < maxSamples {
		r.samples = append(r.samples, what+": "+sample(line))
	}
}

// appendTail adds part to the unfinished line. A line that is too long is counted now, and the
// rest of it is skipped.
func (r *Reader) appendTail(part []byte) {
	if r.skipping || len(part) == 0 {
		return
	}
	if len(r.tail)+len(part) > r.t.o.MaxLine || !r.reserve(len(r.tail)+len(part)) {
		r.counts.corrupt++
		r.addSample("too long", slices.Concat(r.tail[:min(len(r.tail), maxSampleBytes)],
			part[:min(len(part), maxSampleBytes)]))
		r.skipping = true
		r.releaseTail()
		return
	}
	r.tail = append(r.tail, part...)
}

// reserve makes room for an unfinished line of n bytes. It returns false if the unfinished lines
// of all connections would take more than Options.Partial.
func (r *Reader) reserve(n int) bool {
	if n <= cap(r.tail) {
		return true
	}
	room := int64(max(n, 2*cap(r.tail)))
	more := room - r.reserved
	if r.t.partial.Add(more) > r.t.o.Partial {
		r.t.partial.Add(-more)
		return false
	}
	r.reserved = room
	r.tail = append(make([]byte, 0, room), r.tail...)
	return true
}

// releaseTail frees the memory of the unfinished line.
func (r *Reader) releaseTail() {
	r.t.partial.Add(-r.reserved)
	r.tail, r.reserved = nil, 0
}

// flush hands the tally what has been found so far.
func (r *Reader) flush(now time.Time) {
	if len(r.batch) == 0 && r.counts == (counts{}) {
		return
	}
	r.t.add(now, r.batch, r.counts, r.samples)
	r.batch, r.counts, r.samples = r.batch[:0], counts{}, nil
}

// maxSampleBytes is the number of bytes of a bad line that the report shows.
const maxSampleBytes = 160

func sample(b []byte) string {
	if len(b) <= maxSampleBytes {
		return fmt.Sprintf("%q", b)
	}
	return fmt.Sprintf("%q … %q (%d bytes)", b[:maxSampleBytes/2], b[len(b)-maxSampleBytes/2:], len(b))
}
