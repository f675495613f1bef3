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

// Run is lines with consecutive marks.
type Run struct {
	First Mark // of the first line
	Lines int
}

// MarkRuns gives the lines of b their marks where they are of several runs. b keeps the slice,
// which must not change any more.
func (b *Buffer) MarkRuns(runs []Run) {
	b.runs, b.Origin = runs, Mark{}
	if len(runs) > 0 {
		b.Origin = runs[0].First
	}
}

// Runs returns the runs of the lines of b from the first one on, or nil if all have consecutive
// marks from Origin on. The caller does not change the slice.
func (b *Buffer) Runs() []Run { return b.runs }

// unmark takes the marks from b.
func (b *Buffer) unmark() { b.Origin, b.Batch, b.runs = Mark{}, Mark{}, nil }

// Skip notes that the first n lines have been taken out of b: its origin is that of the next line.
func (b *Buffer) Skip(n int) { b.MarkLike(b, n) }

// MarkLike gives b, into which the lines of like from the n-th on were copied, their marks.
func (b *Buffer) MarkLike(like *Buffer, n int) {
	b.Batch = like.Batch
	if like.runs == nil {
		b.Origin, b.runs = like.Origin.Plus(n), nil
		return
	}
	b.MarkRuns(skipRuns(like.runs, n))
}

// skipRuns returns what is behind the first n lines of runs.
func skipRuns(runs []Run, n int) []Run {
	for len(runs) > 0 && n >= runs[0].Lines {
		n -= runs[0].Lines
		runs = runs[1:]
	}
	if n == 0 || len(runs) == 0 {
		return runs
	}
	first := Run{runs[0].First.Plus(n), runs[0].Lines - n}
	return append([]Run{first}, runs[1:]...)
}
