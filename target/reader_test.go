package target

import (
	"io"
	"testing"
)

// flood brings n bytes, as many at a time as fit, and counts the reads.
type flood struct{ n, reads int }

func (f *flood) Read(p []byte) (int, error) {
	if f.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), f.n)
	f.n -= n
	f.reads++
	return n, nil
}

// A target that sent gigabytes back was read in pieces of 512 bytes, which cost a core.
func TestFloodIsDiscardedInLargeReads(t *testing.T) {
	t.Parallel()
	const size = 64 << 20
	f := &flood{n: size}
	if err := new(Conn).discard(f); err != io.EOF {
		t.Error(err)
	}
	if most := size/busyDiscardSize + 2; f.reads > most {
		t.Errorf("%d reads of %d bytes, want at most %d", f.reads, size, most)
	}
}
