package acked

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"github.com/cespare/xxhash/v2"

	"linesplit/linebuf"
)

// Batch is a run of whole lines, each with its newline, that is sent and acknowledged as one.
// Sending it again sends the same bytes with the same [Batch.ID].
type Batch struct {
	lines   []byte
	runs    []linebuf.Run
	count   int // of lines
	watched []watched

	first linebuf.Mark // names the batch in linebuf.Buffer.Batch
	again bool         // it is sent again
	full  bool         // nothing is added any more
}

// watched is a run of lines of a batch with the receipts of those that wait for them. Other lines
// of the run may be none of theirs.
type watched struct {
	from, to int // numbers of the first line, and of the one behind the last
	receipts []*linebuf.Receipt
}

func (b *Batch) reset() {
	clear(b.watched)
	*b = Batch{lines: b.lines[:0], runs: b.runs[:0], watched: b.watched[:0]}
}

// begin begins a batch with the lines that were announced. Where these are too many for one, all of
// theirs have the same name.
func (b *Batch) begin(a *announced) {
	b.first, b.again = a.buffer.Batch, a.again
	if !a.again && !a.begun {
		b.first = a.buffer.Origin
	}
}

func (b *Batch) empty() bool { return len(b.lines) == 0 }

// addMarked adds lines with their marks, and returns their number.
func (b *Batch) addMarked(p []byte, m *marks) (lines int) {
	lines = bytes.Count(p, newline)
	b.lines = append(b.lines, p...)
	for left := lines; left > 0; {
		run := m.take(left)
		b.addRun(run)
		left -= run.Lines
	}
	return lines
}

// add adds lines, all of which have consecutive marks.
func (b *Batch) add(p []byte, run linebuf.Run) {
	b.lines = append(b.lines, p...)
	b.addRun(run)
}

func (b *Batch) addRun(run linebuf.Run) {
	b.count += run.Lines
	if n := len(b.runs) - 1; n >= 0 && b.runs[n].First.Plus(b.runs[n].Lines) == run.First {
		b.runs[n].Lines += run.Lines
	} else {
		b.runs = append(b.runs, run)
	}
}

// watch notes who waits for the last lines that were added, which are of buffer.
func (b *Batch) watch(lines int, buffer *linebuf.Buffer) {
	if receipts := buffer.Watching(nil); receipts != nil {
		b.watched = append(b.watched, watched{b.count - lines, b.count, receipts})
	}
}

// lose tells those that wait for lines that the target has refused them.
func (b *Batch) lose(p Part) {
	for _, w := range b.watched {
		if n := min(w.to, p.from+p.Lines) - max(w.from, p.from); n > 0 {
			for _, r := range w.receipts {
				r.Lose(n)
			}
		}
	}
}

var newline = []byte{'\n'}

// Part is some consecutive lines of a batch, at least one.
type Part struct {
	Bytes []byte // the lines, each with its newline
	Lines int
	batch *Batch
	from  int // number of the first line in the batch
}

// All returns all of the batch.
func (b *Batch) All() Part { return Part{b.lines, b.count, b, 0} }

// Halves returns the first half of the lines of p and the second one. p has at least two.
func (p Part) Halves() (first, second Part) {
	n := p.Lines / 2
	end := p.size(n)
	return Part{p.Bytes[:end], n, p.batch, p.from}, Part{p.Bytes[end:], p.Lines - n, p.batch, p.from + n}
}

// size returns the size of the first lines of p.
func (p Part) size(lines int) (end int) {
	for range lines {
		end += bytes.IndexByte(p.Bytes[end:], '\n') + 1
	}
	return end
}

// ID identifies the lines of p: the mark of the first one and a hash of the marks of all. Two parts
// have the same ID only if they have the same lines.
func (p Part) ID() string {
	h := xxhash.New()
	var first linebuf.Mark
	var b [24]byte
	p.each(func(m linebuf.Mark, lines int) {
		if first.IsZero() {
			first = m
		}
		binary.LittleEndian.PutUint64(b[0:], m.Source)
		binary.LittleEndian.PutUint64(b[8:], m.Number)
		binary.LittleEndian.PutUint32(b[16:], m.Line)
		binary.LittleEndian.PutUint32(b[20:], uint32(lines))
		h.Write(b[:])
	})
	return fmt.Sprintf("%016x-%x-%x-%016x", first.Source, first.Number, first.Line, h.Sum64())
}

// AppendLineID appends what identifies a line to b. It is the same whatever batch the line is in.
func AppendLineID(b []byte, m linebuf.Mark) []byte {
	return fmt.Appendf(b, "%016x-%x-%x", m.Source, m.Number, m.Line)
}

// each calls f for each run of lines of p with consecutive marks, with the mark of the first.
func (p Part) each(f func(m linebuf.Mark, lines int)) {
	skip, left := p.from, p.Lines
	for _, run := range p.batch.runs {
		if skip >= run.Lines {
			skip -= run.Lines
			continue
		}
		n := min(run.Lines-skip, left)
		if n == 0 {
			return
		}
		f(run.First.Plus(skip), n)
		skip, left = 0, left-n
	}
}

// EachLine calls f for each line of p, without its newline, and its mark, until f returns false.
func (p Part) EachLine(f func(line []byte, m linebuf.Mark) bool) {
	rest, on := p.Bytes, true
	p.each(func(m linebuf.Mark, lines int) {
		for i := 0; i < lines && on; i++ {
			end := bytes.IndexByte(rest, '\n')
			on = f(rest[:end], m.Plus(i))
			rest = rest[end+1:]
		}
	})
}
