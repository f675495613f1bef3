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
	// be nil. Nothing is known of their content.
	damage func(from, to int64)

	quit    <-chan struct{} // ends the scan once it is closed; may be nil
	stopped bool            // it has

	unreadable int64 // bytes that could not be read
	err        error // of the first of these

	window    []byte // the bytes from offset start on
	start     int64
	buffer    []byte
	odd, past int64 // begin and end of bytes that belong to no frame; equal if there are none
}

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
			c.report()
			c.at, c.next = at+extent(int(f.length)), f.sequence+1
			return f, at, true
		}
		if len(b) < frameAlign || [frameAlign]byte(b) != [frameAlign]byte{} {
			c.mark(min(c.at+frameAlign, c.size))
		}
		c.at += frameAlign
	}
	c.report()
	return frame{}, 0, false
}

// mark counts the bytes from c.at on to an offset as odd.
func (c *scanner) mark(to int64) {
	if c.odd == c.past {
		c.odd = c.at
	}
	c.past = to
}

// report passes the odd bytes before c.at to damage.
func (c *scanner) report() {
	if c.odd != c.past && c.damage != nil {
		c.damage(c.odd, c.past)
	}
	c.odd, c.past = 0, 0
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
