package spool

import (
	"encoding/binary"
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
	file io.ReaderAt
	id   uint64 // short id of the segment
	size int64  // of the file
	at   int64  // where the next frame is looked for
	next uint32 // lowest sequence number that the next frame can have

	// damage is called with the places of bytes that are neither in a frame nor zero, in order; may
	// be nil. Nothing is known of their content. If reused is set, they count only where a frame
	// was synced, and where they look like the damaged header of one: others may be of an earlier
	// segment.
	damage func(from, to int64)
	reused bool // the file had an earlier segment

	quit    <-chan struct{} // ends the scan once it is closed; may be nil
	stopped bool            // it has

	unreadable int64 // bytes that could not be read
	err        error // of the first of these

	window   []byte // the bytes from offset start on
	start    int64
	buffer   []byte
	gap      gap    // behind the last frame
	doubtful []gap  // earlier gaps with bytes that may be of an earlier segment
	synced   uint32 // highest frame.synced so far
}

// gap is a place where there is no frame.
type gap struct {
	from, past int64  // begin and end of bytes that are not zero; equal if there are none
	next       uint32 // lowest sequence number of a frame that can be missing
	damaged    bool   // a part cannot be read, or looks like the damaged header of a frame
}

// maxDoubtful is the most gaps with bytes that may be of an earlier segment. A crash leaves one for
// each write that was under way.
const maxDoubtful = 4096

// newScanner returns a scanner for a segment file of size bytes.
func newScanner(file io.ReaderAt, id uint64, size int64) *scanner {
	return &scanner{file: file, id: id, size: size, at: headerBlock, buffer: make([]byte, scanAhead)}
}

// frame returns the header of the next frame and the offset at which it begins, or false behind the
// last one. The lines of the frame may go beyond the end of the file.
func (c *scanner) frame() (f frame, at int64, ok bool) {
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
			c.endGap()
			c.at, c.next = at+extent(int(f.length)), f.sequence+1
			return f, at, true
		}
		if len(b) < frameAlign || [frameAlign]byte(b) != [frameAlign]byte{} {
			c.gap.damaged = c.gap.damaged || c.looksDamaged(b)
			c.mark(min(c.at+frameAlign, c.size))
		}
		c.at += frameAlign
	}
	c.endGap()
	return frame{}, 0, false
}

// looksDamaged reports whether b, at a place where there is no frame, looks like the damaged header
// of one. Headers of earlier segments are whole, unless frames of this one cover a part of them:
// then they begin within such a frame.
func (c *scanner) looksDamaged(b []byte) bool {
	if len(b) < frameHeader {
		return false
	}
	first := c.gap.from == c.gap.past
	return shortID(b) == c.id || first && hasMagic(b) && !isWhole(b)
}

// mark counts the bytes from c.at on to an offset as not zero.
func (c *scanner) mark(to int64) {
	if c.gap.from == c.gap.past {
		c.gap.from = c.at
	}
	c.gap.past = to
}

// allDamage reports whether all gaps so far are damage: with the last one those before it, so that
// they come in order.
func (c *scanner) allDamage() bool {
	return !c.reused || c.gap.damaged || len(c.doubtful) > maxDoubtful
}

// endGap passes the bytes of gaps that are damage by now to damage, and keeps those that may be.
func (c *scanner) endGap() {
	c.gap.next = c.next
	if c.gap.from != c.gap.past {
		c.doubtful = append(c.doubtful, c.gap)
	}
	for len(c.doubtful) > 0 && (c.allDamage() || c.doubtful[0].next < c.synced) {
		if c.damage != nil {
			c.damage(c.doubtful[0].from, c.doubtful[0].past)
		}
		c.doubtful = c.doubtful[1:]
	}
	c.gap = gap{}
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
	c.gap.damaged = true
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

// findID looks for a frame of any segment in a file of size bytes whose header is lost, and returns
// its short id.
func findID(file io.ReaderAt, size int64) (uint64, bool) {
	b := make([]byte, scanAhead)
	for at := int64(0); at < size; at += int64(len(b)) {
		n, _ := file.ReadAt(b, at)
		for i := 0; i+frameHeader <= n; i += frameAlign {
			id := binary.LittleEndian.Uint64(b[i+8:])
			if _, ok := decodeFrame(b[i:], id); ok {
				return id, true
			}
		}
	}
	return 0, false
}
