package simulate

import (
	"bytes"
	"math/bits"
	"sync"

	"linesplit/simulate/record"
)

// maxSeq bounds the memory of a tally: 32 MiB for each sender.
const maxSeq = 1 << 28

// tally accounts for every line that the receiving applications have read, over all targets. Safe for concurrent use.
type tally struct {
	mu      sync.Mutex
	seen    [][]uint64 // by sender: one bit for each sequence number
	arrived Count      // whole lines, repeated ones included
	again   Count      // of these, lines that had arrived before
	torn    uint64     // lines that are not, byte for byte, what a sender sent
}

func newTally(senders int) *tally {
	return &tally{seen: make([][]uint64, senders)}
}

// add takes whole lines, each with its newline, and returns how many of them are whole records.
func (t *tally) add(lines []byte) (whole uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(lines) > 0 {
		n := bytes.IndexByte(lines, '\n') + 1
		if n == 0 {
			n = len(lines)
		}
		if t.addLineLocked(lines[:n]) {
			whole++
		}
		lines = lines[n:]
	}
	return whole
}

func (t *tally) addLineLocked(line []byte) bool {
	id, ok := record.Parse(bytes.TrimSuffix(line, []byte{'\n'}))
	if !ok || int(id.Sender) >= len(t.seen) || id.Seq >= maxSeq {
		t.torn++
		return false
	}
	size := Count{Lines: 1, Bytes: uint64(len(line))}
	t.arrived = t.arrived.plus(size)
	if t.markLocked(id.Sender, id.Seq) {
		t.again = t.again.plus(size)
	}
	return true
}

// markLocked notes that a line is here and says whether it had been here before.
func (t *tally) markLocked(sender uint32, seq uint64) bool {
	word, bit := int(seq/64), uint64(1)<<(seq%64)
	set := t.seen[sender]
	if word >= len(set) {
		set = append(set, make([]uint64, max(word+1, 2*len(set))-len(set))...)
		t.seen[sender] = set
	}
	before := set[word]&bit != 0
	set[word] |= bit
	return before
}

// tear counts a line that ended in mid-line though nobody killed its receiver.
func (t *tally) tear() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.torn++
}

// missing returns how many of the first sent lines of a sender have never arrived.
func (t *tally) missing(sender int, sent uint64) uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	var here uint64
	for word, set := range t.seen[sender] {
		if first := uint64(word) * 64; first+64 <= sent {
			here += uint64(bits.OnesCount64(set))
		} else if first < sent {
			here += uint64(bits.OnesCount64(set & (1<<(sent-first) - 1)))
		}
	}
	return sent - here
}

// counts returns the totals so far.
func (t *tally) counts() (arrived, again Count, torn uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.arrived, t.again, t.torn
}
