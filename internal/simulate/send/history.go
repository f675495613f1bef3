package send

// The history of a connection covers at least 8 MiB, twice the most unacknowledged bytes that a
// Linux kernel keeps.
const (
	historyStep = 64 << 10
	historySize = 128
)

// position is a number of bytes and whole lines that had been written to a connection at some
// time.
type position struct{ bytes, lines uint64 }

// lineHistory remembers roughly where the lines of a connection begin, some 8 MiB back. The zero
// value is a connection to which nothing was written.
type lineHistory struct {
	ring [historySize]position
	n    int      // positions ever recorded
	end  position // all that was written
}

// add records a write to the connection.
func (h *lineHistory) add(bytes, lines int) {
	if h.n == 0 || h.end.bytes-h.last().bytes >= historyStep {
		h.ring[h.n%historySize] = h.end
		h.n++
	}
	h.end.bytes += uint64(bytes)
	h.end.lines += uint64(lines)
}

func (h *lineHistory) last() position { return h.ring[(h.n-1)%historySize] }

// linesInLast returns the highest number of lines that can have bytes among the last n. Lines
// before the history are not counted.
func (h *lineHistory) linesInLast(n uint64) uint64 {
	if n == 0 || h.n == 0 {
		return 0
	}
	oldest := max(0, h.n-historySize)
	for i := h.n - 1; i > oldest; i-- {
		if at := h.ring[i%historySize]; at.bytes+n <= h.end.bytes {
			return h.end.lines - at.lines
		}
	}
	return h.end.lines - h.ring[oldest%historySize].lines
}
