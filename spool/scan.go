package spool

import (
	"errors"
	"fmt"
	"io"
)

const (
	scanAhead = 64 << 10 // bytes that a scanner reads at a time where frames are small or missing
	scanPage  = 4 << 10  // bytes that it reads at a time where frames are large, or reading fails
)

// scanner finds the frames of a segment, in order, by their headers alone. Where there is no frame
// it goes on at the next place at which one can begin.
type scanner struct {
	file   io.ReaderAt
	id     uint64 // short id of the segment
	number uint64 // of the segment
	size   int64  // of the file
	at     int64  // where the next frame is looked for
	next   uint32 // lowest sequence number that the next frame can have

	// damage is called with the places of bytes that are neither in a frame nor zero; may be nil.
	// Nothing is known of their content. If reused is set, they count only where a frame was
	// synced, from what looks like the damaged header of one, and where they cannot be read: others
	// may be of an earlier segment.
	damage func(from, to int64)
	reused bool // the file had an earlier segment

	quit    <-chan struct{} // ends the scan once it is closed; may be nil
	stopped bool            // it has

	unreadable int64 // bytes that could not be read
	err        error // of the first of these

	hole hole // in front of the last frame, or behind it at the end; empty if no frame is missing there

	window   []byte // the bytes from offset start on
	start    int64
	buffer   []byte
	begin    int64  // end of the last frame, or of what was reported behind it
	gap      gap    // behind that
	doubtful []gap  // earlier ones with bytes that may be of an earlier segment
	synced   uint32 // highest frame.synced so far
}

// gap is a place without frames, or a part of one.
type gap struct {
	from, past int64  // begin and end of bytes that are not zero; equal if there are none
	next       uint32 // lowest sequence number of a frame that can be missing
	damaged    bool   // it cannot be read, or begins with the damaged header of a frame
}

// maxDoubtful is the most gaps with bytes that may be of an earlier segment. A crash leaves one for
// each write that was under way.
const maxDoubtful = 4096

// newScanner returns a scanner for a segment file of size bytes. Of the header it uses the id, the
// number and whether the file had an earlier segment.
func newScanner(file io.ReaderAt, h *header, size int64) *scanner {
	return &scanner{file: file, id: h.id.short(), number: h.number, reused: h.reused, size: size, at: headerBlock,
		buffer: make([]byte, scanAhead)}
}

// frame returns the header of the next frame and the offset at which it begins, or false behind the
// last one. The lines of the frame may go beyond the end of the file.
func (c *scanner) frame() (f frame, at int64, ok bool) {
	c.begin = c.at
	c.hole = hole{first: c.next, past: c.next, from: c.at, to: c.at}
	for c.at < c.size {
		b := c.peek()
		if c.stopped {
			break
		}
		if len(b) == 0 {
			c.skipUnreadable()
			continue
		}
		f, ok := decodeFrame(b, c.id)
		if ok && f.sequence >= c.next && int64(f.sequence) <= (c.at-headerBlock)/extent(1) {
			at = c.at
			c.synced = max(c.synced, f.synced)
			if c.next < min(f.sequence, c.synced) { // even if all is zero
				c.gap.from, c.gap.past = c.begin, at
			}
			c.endGap()
			c.hole.past, c.hole.to = f.sequence, at
			c.at, c.next = at+extent(int(f.length)), f.sequence+1
			return f, at, true
		}
		if len(b) < frameAlign || [frameAlign]byte(b) != [frameAlign]byte{} {
			c.divide(b)
			c.mark(min(c.at+frameAlign, c.size))
		}
		c.at += frameAlign
	}
	c.endGap()
	return frame{}, 0, false
}

// divide ends a gap where b, at a place without a frame, looks like the damaged header of one, or
// like a header of an earlier segment: that cannot be within a frame that was damaged.
func (c *scanner) divide(b []byte) {
	const idEnd = 16 // of the header of a frame
	if !c.reused || len(b) < idEnd {
		return
	}
	whole := len(b) >= frameHeader // unless the file ends here
	ours := shortID(b) == c.id || whole && hasMagic(b) && segmentNumber(b) == c.number
	if ours || whole && c.gap.damaged && hasMagic(b) && isWhole(b) {
		c.startGap(ours)
	}
}

// startGap ends a gap in front of c.at, where another one starts.
func (c *scanner) startGap(damaged bool) {
	c.endGap()
	c.begin, c.gap.damaged = c.at, damaged
}

// mark counts the bytes from c.at on to an offset as not zero.
func (c *scanner) mark(to int64) {
	if c.gap.from == c.gap.past {
		c.gap.from = c.at
	}
	c.gap.past = to
}

// endGap reports what is damage by now, and keeps what may be.
func (c *scanner) endGap() {
	for len(c.doubtful) > 0 && (c.doubtful[0].next < c.synced || len(c.doubtful) == maxDoubtful) {
		c.report(c.doubtful[0])
		c.doubtful = c.doubtful[1:]
	}
	c.gap.next = c.next
	switch {
	case c.gap.from == c.gap.past:
	case c.reused && !c.gap.damaged && c.gap.next >= c.synced:
		c.doubtful = append(c.doubtful, c.gap)
		c.hole.doubtful = true
	default:
		c.report(c.gap)
		c.hole.damaged = true
	}
	c.gap = gap{}
}

// report passes the bytes of a gap to damage.
func (c *scanner) report(g gap) {
	if c.damage != nil {
		c.damage(g.from, g.past)
	}
}

// peek returns the bytes from c.at on, at least frameAlign unless the file ends, or none if they
// cannot be read.
func (c *scanner) peek() []byte {
	need := min(frameAlign, c.size-c.at)
	end := c.start + int64(len(c.window))
	if c.at >= c.start && c.at+need <= end {
		return c.window[c.at-c.start:]
	}
	n := scanAhead
	if c.at > end {
		n = scanPage // the last frame went beyond the window: this one may as well
	}
	if c.read(n) >= need || n > scanPage && c.read(scanPage) >= need {
		return c.window
	}
	return nil
}

// read fills the window with up to n bytes from c.at on, and returns their number.
func (c *scanner) read(n int) int64 {
	select {
	case <-c.quit:
		c.stopped = true
		return 0
	default:
	}
	n = int(min(int64(n), c.size-c.at))
	got, err := c.file.ReadAt(c.buffer[:n], c.at)
	if got < n && c.err == nil {
		c.err = err
	}
	c.window, c.start = c.buffer[:got], c.at
	return int64(got)
}

// skipUnreadable goes to the end of a page that cannot be read.
func (c *scanner) skipUnreadable() {
	to := min((c.at+scanPage)&^(scanPage-1), c.size)
	if c.reused {
		c.startGap(true)
	}
	c.mark(to)
	c.unreadable += to - c.at
	c.at = to
}

// errPayload is the error of a frame whose lines are not as they were written.
var errPayload = errors.New("the lines of the frame are damaged")

// readLines reads the lines of a frame that begins at an offset into b, whose length is that of the
// lines. It returns how many bytes it has read, and errPayload if their checksum is wrong.
func readLines(file io.ReaderAt, at int64, f *frame, b []byte) (int, error) {
	n, err := file.ReadAt(b, at+frameHeader)
	switch {
	case n == len(b):
		if checksum(b) != f.checksum {
			return n, errPayload
		}
		return n, nil
	case err == io.EOF:
		return n, errPayload
	}
	return n, fmt.Errorf("read %d bytes at %d: %w", len(b), at+frameHeader, err)
}

// findID looks for a frame of a segment in its file of size bytes, whose header is lost, and
// returns its short id. Others may have had the file before.
func findID(file io.ReaderAt, number uint64, size int64) (uint64, bool) {
	b := make([]byte, scanAhead)
	for at := int64(0); at < size; at += int64(len(b)) {
		n, _ := file.ReadAt(b, at)
		for i := 0; i+frameHeader <= n; i += frameAlign {
			id := shortID(b[i:])
			if f, ok := decodeFrame(b[i:], id); ok && (f.segment == number || f.segment == 0) {
				return id, true
			}
		}
	}
	return 0, false
}
