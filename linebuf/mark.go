package linebuf

// Mark identifies a line: the same line has the same mark each time that it is sent, and no other
// line has it. The zero value marks none.
type Mark struct {
	// Source is a random number: the lines of one source were numbered by one process, or are in
	// one file.
	Source uint64
	// Number is that of a run of lines within the source.
	Number uint64
	// Line is the number of the line within the run, from 0.
	Line uint32
}

// IsZero reports whether m marks no line.
func (m Mark) IsZero() bool { return m == Mark{} }

// Plus returns the mark of the line that is n lines behind the one that m marks.
func (m Mark) Plus(n int) Mark {
	if !m.IsZero() {
		m.Line += uint32(n)
	}
	return m
}

// Skip notes that the first n lines have been taken out of b: its origin is that of the next line.
func (b *Buffer) Skip(n int) { b.Origin = b.Origin.Plus(n) }

// MarkLike gives b, into which the lines of like from the n-th on were copied, their marks.
func (b *Buffer) MarkLike(like *Buffer, n int) { b.Origin, b.Batch = like.Origin.Plus(n), like.Batch }
