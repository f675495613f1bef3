package workerpool

import "linesplit/linebuf"

// cut moves the lines of b, in order, to at most as many buffers as parts has room for, and returns
// how many it has filled. They are of about equal size. There are fewer parts if lines are long, or
// if the budget has no room for another buffer: then the last part holds the rest. Each part has a
// buffer that fits it. b is the last part, or goes back to the pool.
func cut(pool *linebuf.Pool, b *linebuf.Buffer, parts []*linebuf.Buffer) int {
	rest, lines, n := b.B, b.Lines, 0
	for ; n < len(parts)-1; n++ {
		size := b.Framing.End(rest, max(1, len(rest)/(len(parts)-n))) // of at least one line
		if size == len(rest) {
			break
		}
		part := pool.TryGetLike(b, size)
		if part == nil {
			break
		}
		part.B = append(part.B, rest[:size]...)
		part.Lines, part.Read, part.Framing = b.Framing.Count(part.B), b.Read, b.Framing
		part.MarkLike(b, b.Lines-lines)
		parts[n] = part
		rest, lines = rest[size:], lines-part.Lines
	}
	if n > 0 {
		b.Skip(b.Lines - lines)
		b = keep(pool, b, rest)
		b.Lines = lines
	}
	parts[n] = b
	return n + 1
}

// keep returns a buffer that holds only rest, the end of b. A small rest does not keep a large
// buffer.
func keep(pool *linebuf.Pool, b *linebuf.Buffer, rest []byte) *linebuf.Buffer {
	if 4*int64(linebuf.ClassSize(len(rest))) <= b.Memory() {
		if small := pool.TryGetLike(b, len(rest)); small != nil {
			small.B, small.Read, small.Framing = append(small.B, rest...), b.Read, b.Framing
			small.MarkLike(b, 0)
			pool.Put(b)
			return small
		}
	}
	if b.Shared() {
		b.B = rest
	} else {
		b.B = b.B[:copy(b.B, rest)]
	}
	return b
}
