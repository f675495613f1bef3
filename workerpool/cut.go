package workerpool

import (
	"bytes"

	"linesplit/linebuf"
)

// cut moves the lines of b, in order, to at most as many buffers as parts has room for, and returns
// how many it has filled. They are of about equal size. There are fewer parts if lines are long, or
// if the budget has no room for another buffer: then the last part holds the rest. Each part has a
// buffer that fits it. b is the last part, or goes back to the pool.
func cut(pool *linebuf.Pool, b *linebuf.Buffer, parts []*linebuf.Buffer) int {
	rest, lines, n := b.B, b.Lines, 0
	for ; n < len(parts)-1; n++ {
		size := lineEnd(rest, len(rest)/(len(parts)-n))
		if size == len(rest) {
			break
		}
		part := pool.TryGet(size)
		if part == nil {
			break
		}
		part.B = append(part.B, rest[:size]...)
		part.Lines, part.Read = bytes.Count(part.B, newline), b.Read
		parts[n] = part
		rest, lines = rest[size:], lines-part.Lines
	}
	if n > 0 {
		b = keep(pool, b, rest)
		b.Lines = lines
	}
	parts[n] = b
	return n + 1
}

// lineEnd returns the end of the line that holds byte size-1 of b, or of the first line.
func lineEnd(b []byte, size int) int {
	at := max(0, size-1)
	return at + bytes.IndexByte(b[at:], '\n') + 1
}

// keep returns a buffer that holds only rest, the end of b. A small rest does not keep a large
// buffer.
func keep(pool *linebuf.Pool, b *linebuf.Buffer, rest []byte) *linebuf.Buffer {
	if 4*linebuf.ClassSize(len(rest)) <= cap(b.B) {
		if small := pool.TryGet(len(rest)); small != nil {
			small.B, small.Read = append(small.B, rest...), b.Read
			pool.Put(b)
			return small
		}
	}
	b.B = b.B[:copy(b.B, rest)]
	return b
}

var newline = []byte{'\n'}
