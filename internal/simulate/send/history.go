package send

// What the marks of a connection cover at least: twice what a Linux kernel keeps of unacknowledged bytes at most.
const (
	markSpan  = 64 << 10
	markCount = 128
)

// mark says how many bytes and whole lines a connection had been given at some point.
type mark struct{ bytes, lines uint64 }

// marks remembers roughly where the lines of a connection lie, back to some 8 MiB ago. The zero value is a connection that was given
// nothing.
type marks struct {
	ring [markCount]mark
	n    int  // marks set, ever
	end  mark // of all that was given
}

// add notes what was given to the connection.
func (m *marks) add(bytes, lines int) {
	if m.n == 0 || m.end.bytes-m.last().bytes >= markSpan {
		m.ring[m.n%markCount] = m.end
		m.n++
	}
	m.end.bytes += uint64(bytes)
	m.end.lines += uint64(lines)
}

func (m *marks) last() mark { return m.ring[(m.n-1)%markCount] }

// beyond returns how many lines at most have bytes among the last n, but of those that lie before the marks none.
func (m *marks) beyond(n uint64) uint64 {
	if n == 0 || m.n == 0 {
		return 0
	}
	oldest := max(0, m.n-markCount)
	for i := m.n - 1; i > oldest; i-- {
		if at := m.ring[i%markCount]; at.bytes+n <= m.end.bytes {
			return m.end.lines - at.lines
		}
	}
	return m.end.lines - m.ring[oldest%markCount].lines
}
