package delivery

import (
	"time"

	"linesplit/linebuf"
)

// segment is a run of whole lines that is kept until it is confirmed: the content of buf from
// off on. Its owner owns buf, whose framing tells where the lines end.
type segment struct {
	buf   *linebuf.Buffer
	off   int
	lines int
	end   uint64 // position behind its last byte, on the connection that it was last given to
	// refused counts lines beside these, or right behind them, that the target's framing could not
	// hold. They are done when the segment is: nothing may take them for proof that lines before
	// them are confirmed.
	refused int
}

func (s *segment) bytes() []byte { return s.buf.B[s.off:] }
func (s *segment) len() int      { return len(s.buf.B) - s.off }
func (s *segment) start() uint64 { return s.end - uint64(s.len()) }

func (s *segment) count() linebuf.Count {
	return linebuf.Count{Lines: uint64(s.lines), Bytes: uint64(s.len())}
}

// window holds the segments that were written to one connection and are not confirmed, oldest
// first. The zero value is empty. It allocates only while it grows beyond twice its greatest
// length so far.
type window struct {
	list []segment // list[head:] are held
	head int
	mem  int64 // capacity of all buffers held, in bytes
	held linebuf.Count
}

func (w *window) empty() bool { return w.head == len(w.list) }

func (w *window) oldest() *segment { return &w.list[w.head] }
func (w *window) newest() *segment { return &w.list[len(w.list)-1] }

func (w *window) push(s segment) {
	w.list, w.head = compact(w.list, w.head)
	w.list = append(w.list, s)
	w.mem += s.buf.Memory()
	w.held.Add(s.count())
}

// compact moves list[head:] to the front if there is no room at the end and enough at the
// front.
func compact(list []segment, head int) ([]segment, int) {
	if len(list) < cap(list) || head < len(list)/2 {
		return list, head
	}
	n := copy(list, list[head:])
	clear(list[n:])
	return list[:n], 0
}

func (w *window) pop() segment {
	s := w.list[w.head]
	w.list[w.head] = segment{}
	w.head++
	w.mem -= s.buf.Memory()
	w.held.Sub(s.count())
	if w.empty() {
		w.list, w.head = w.list[:0], 0
	}
	return s
}

// trim removes the lines before pos, the start of a line within the oldest segment, and returns
// their count.
func (w *window) trim(pos uint64) linebuf.Count {
	off := w.oldest().trim(pos)
	w.held.Sub(off)
	return off
}

// maxMerge is the size in bytes of the largest segment that is copied behind its predecessor,
// so that a trickle of lines does not hold a read buffer for each.
const maxMerge = 4 << 10

// mergeWithin is the longest time between the reads of lines that share a buffer: a buffer that
// went on growing would never reach the resend age.
const mergeWithin = time.Second

// mergeNewest copies the newest segment behind the one before it if it is small and fits, and
// returns the buffer that this freed, else nil. The merged buffer holds the receipts of both. A
// buffer that is charged to a group, such as one whose content others share, is replaced by a
// larger one from the pool where that saves memory.
func (w *window) mergeNewest(pool *linebuf.Pool) *linebuf.Buffer {
	if len(w.list)-w.head < 2 {
		return nil
	}
	last, prev := &w.list[len(w.list)-1], &w.list[len(w.list)-2]
	if last.len() > maxMerge || last.buf.Read.Sub(prev.buf.Read) > mergeWithin || !prev.buf.MayInherit(last.buf) {
		return nil
	}
	if room := cap(prev.buf.B) - len(prev.buf.B); last.len() > room && !w.copyForMerge(prev, last, pool) {
		return nil
	}
	prev.buf.B = append(prev.buf.B, last.bytes()...)
	prev.buf.Inherit(last.buf)
	prev.lines += last.lines
	prev.refused += last.refused
	prev.end = last.end
	buf := last.buf
	w.mem -= buf.Memory()
	*last = segment{}
	w.list = w.list[:len(w.list)-1]
	return buf
}

// copyForMerge gives prev a buffer of its own that has room for last behind it, and reports whether
// it has. That must not take more memory than the two hold now: the budget of a group is checked
// before its machines are given lines, and lines that are read a second apart are never merged.
func (w *window) copyForMerge(prev, last *segment, pool *linebuf.Pool) bool {
	size := prev.len() + last.len()
	if !prev.buf.Charged() || size > maxMerge ||
		int64(linebuf.ClassSize(size)) > prev.buf.Memory()+last.buf.Memory() {
		return false
	}
	own := pool.TryGetLike(prev.buf, size)
	if own == nil {
		return false
	}
	own.B, own.Lines, own.Read, own.Framing = append(own.B, prev.bytes()...), prev.lines, prev.buf.Read, prev.buf.Framing
	w.mem += own.Memory() - prev.buf.Memory()
	pool.Put(prev.buf)
	prev.buf, prev.off = own, 0
	return true
}

// lineStart returns the start of the line that holds the byte at pos, a position within the
// segment.
func (s *segment) lineStart(pos uint64) uint64 {
	return s.start() + uint64(s.buf.Framing.Start(s.bytes(), int(pos-s.start())))
}

// trim removes the lines before pos, the start of a line within the segment, and returns their
// count.
func (s *segment) trim(pos uint64) linebuf.Count {
	n := int(pos - s.start())
	off := s.countOf(s.bytes()[:n])
	s.buf.Skip(int(off.Lines))
	s.off += n
	s.lines -= int(off.Lines)
	return off
}

// countOf counts the lines that end in b, a part of the segment that begins with a line.
func (s *segment) countOf(b []byte) linebuf.Count {
	return linebuf.Count{Lines: uint64(s.buf.Framing.Count(b)), Bytes: uint64(len(b))}
}

// begun counts the lines of which at least one byte lies before pos and none before from. Both
// may lie outside the segment; from is the start of a line if it lies within.
func (s *segment) begun(from, pos uint64) linebuf.Count {
	lo, hi := s.clip(from), s.clip(pos)
	if lo >= hi {
		return linebuf.Count{}
	}
	b := s.bytes()
	return s.countOf(b[lo:s.buf.Framing.End(b, hi)])
}

// after counts the lines that do not lie before pos in full.
func (w *window) after(pos uint64) (n linebuf.Count) {
	for i := len(w.list) - 1; i >= w.head && w.list[i].end > pos; i-- {
		s := &w.list[i]
		if pos <= s.start() {
			n.Add(s.count())
			continue
		}
		n.Add(s.countOf(s.bytes()[s.lineStart(pos)-s.start():]))
	}
	return n
}

// clip returns pos as an offset into the segment's bytes, clamped to its start and end.
func (s *segment) clip(pos uint64) int {
	start := s.start()
	return int(min(max(pos, start), s.end) - start)
}
