package httpsource

import (
	"bytes"
	"context"
	"io"

	"linesplit/linebuf"
)

const (
	firstBuffer = 16 << 10 // of a body whose size is not known, in bytes
	nextBuffer  = 64 << 10
)

// body reads the records of a request into buffers of whole lines, which it owns.
type body struct {
	s       *Server
	ctx     context.Context // of waits for memory
	maxLine int
	max     int64 // bytes of all records

	buffers []*linebuf.Buffer // whole lines
	part    *linebuf.Buffer   // being filled; begins with the start of a line; nil at the beginning and the end
	lines   int               // in buffers
	bytes   int64             // read
	taken   int64             // of Server.room
}

// errTooLarge is the error for a body of more than the most bytes.
type errTooLarge struct{ max int64 }

func (e errTooLarge) Error() string { return "too large" }

// errBusy is the error for memory that was not there in time.
type errBusy struct{ error }

// errLong is the error for a record that is too long.
type errLong struct{ record int }

func (e errLong) Error() string { return "too long" }

// take waits for n bytes of the memory for bodies.
func (c *body) take(n int64) error {
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	if err := c.s.room.take(ctx, n); err != nil {
		return errBusy{err}
	}
	c.taken += n
	return nil
}

// buffer returns an empty buffer of at least size bytes.
func (c *body) buffer(size int) (*linebuf.Buffer, error) {
	size = linebuf.ClassSize(size)
	if err := c.take(int64(size)); err != nil {
		return nil, err
	}
	if b := c.s.o.Pool.TryGet(size); b != nil {
		return b, nil
	}
	ctx, cancel := context.WithTimeout(c.ctx, patience)
	defer cancel()
	b, err := c.s.o.Pool.Get(ctx, size)
	if err != nil {
		return nil, errBusy{err}
	}
	return b, nil
}

// put gives back a buffer whose lines are in another one, or in none.
func (c *body) put(b *linebuf.Buffer) {
	n := b.Memory()
	c.s.o.Pool.Put(b)
	c.taken -= n
	c.s.room.give(n)
}

// read reads r to its end. size is the expected number of bytes, -1 if that is not known.
func (c *body) read(r io.Reader, size int64) (err error) {
	first := firstBuffer
	if size >= 0 {
		first = int(min(size+1, nextBuffer)) // with a newline that may be missing
	}
	if c.part, err = c.buffer(first); err != nil {
		return err
	}
	for {
		if len(c.part.B) == cap(c.part.B) {
			if err := c.makeRoom(); err != nil {
				return err
			}
		}
		n, err := r.Read(c.part.B[len(c.part.B):cap(c.part.B)])
		c.part.B = c.part.B[:len(c.part.B)+n]
		if c.bytes += int64(n); c.bytes > c.max {
			return errTooLarge{c.max}
		}
		switch {
		case err == io.EOF:
			return c.end()
		case err != nil:
			return err
		}
	}
}

// makeRoom moves the start of a line, which is at the end of the full buffer, to a new one.
func (c *body) makeRoom() error {
	whole := bytes.LastIndexByte(c.part.B, '\n') + 1
	rest := c.part.B[whole:]
	if len(rest) >= c.maxLine { // its newline is yet to come
		return c.checkThen(whole, errLong{c.lines + 1 + bytes.Count(c.part.B[:whole], newline)})
	}
	b, err := c.buffer(max(nextBuffer, 2*len(rest)))
	if err != nil {
		return err
	}
	b.B = append(b.B, rest...)
	full := c.part
	c.part = b
	if whole == 0 {
		c.put(full)
		return nil
	}
	full.B = full.B[:whole]
	return c.add(full)
}

// checkThen returns the error for the first of the whole lines that is too long, or err.
func (c *body) checkThen(whole int, err error) error {
	if long := c.check(c.part.B[:whole]); long != nil {
		return long
	}
	return err
}

// end adds the last buffer. A last line without a newline gets one.
func (c *body) end() error {
	b := c.part
	if n := len(b.B); n > 0 && b.B[n-1] != '\n' {
		if n == cap(b.B) {
			if err := c.makeRoom(); err != nil {
				return err
			}
			b = c.part
		}
		b.B = append(b.B, '\n')
	}
	c.part = nil
	if len(b.B) == 0 {
		c.put(b)
		return nil
	}
	return c.add(c.fit(b))
}

// fit returns b, or its lines in a buffer of their size if b is far larger and there is memory: it
// may be kept for long.
func (c *body) fit(b *linebuf.Buffer) *linebuf.Buffer {
	size := linebuf.ClassSize(len(b.B))
	if int64(4*size) > b.Memory() {
		return b
	}
	small := c.s.o.Pool.TryGet(size)
	if small == nil {
		return b
	}
	small.B = append(small.B, b.B...)
	given := b.Memory() - small.Memory()
	c.s.o.Pool.Put(b)
	c.taken -= given
	c.s.room.give(given)
	return small
}

var newline = []byte{'\n'}

// add adds a buffer of whole lines.
func (c *body) add(b *linebuf.Buffer) error {
	c.buffers = append(c.buffers, b)
	if err := c.check(b.B); err != nil {
		return err
	}
	b.Lines = bytes.Count(b.B, newline)
	c.lines += b.Lines
	return nil
}

// check returns an error for the first line that is too long.
func (c *body) check(lines []byte) error {
	if len(lines) <= c.maxLine {
		return nil
	}
	for record := c.lines + 1; len(lines) > 0; record++ {
		n := bytes.IndexByte(lines, '\n') + 1
		if n > c.maxLine {
			return errLong{record}
		}
		lines = lines[n:]
	}
	return nil
}

// position returns the number of the record that is being read.
func (c *body) position() int {
	if c.part == nil {
		return c.lines + 1
	}
	return c.lines + bytes.Count(c.part.B, newline) + 1
}

// release gives back the memory of bodies, and the buffers that were not handed over.
func (c *body) release() {
	for _, b := range append(c.buffers, c.part) {
		if b != nil {
			c.s.o.Pool.Put(b) // no client waits for its receipt
		}
	}
	c.buffers, c.part = nil, nil
	c.s.room.give(c.taken)
	c.taken = 0
}
