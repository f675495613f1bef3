package spool

import (
	"math"
	"time"

	"linesplit/linebuf"
)

// entry describes a frame of a segment whose index is in memory.
type entry struct {
	at      uint32         // offset in units of frameAlign
	length  uint32         // bytes of lines; 0: there is no such frame
	lines   uint32         // number of lines
	read    int32          // when the lines were read, in seconds after the segment was made
	pending linebuf.Groups // groups that have not confirmed the lines
	out     linebuf.Groups // those of them for which a record covers the frame
}

func (e *entry) offset() int64 { return int64(e.at) * frameAlign }

func (e *entry) count() linebuf.Count {
	return linebuf.Count{Lines: uint64(e.lines), Bytes: uint64(e.length)}
}

// chunk is a part of an index: as many frames as a block of confirmations has bits.
type chunk struct {
	entries [doneFrames]entry
	done    [maxGroups]doneBits // by the groups of the segment file
	dirty   linebuf.Groups      // groups of the file whose block has changed since it was last written
}

// maxFrames is how many frames Append writes to a segment, which bounds the memory of its index to
// about 5 MiB.
const maxFrames = 256 << 10

// maxChunks is the number of chunks for that many frames.
const maxChunks = (maxFrames + doneFrames - 1) / doneFrames

// index has an entry for each frame of a segment.
type index struct {
	chunks []*chunk
	frames uint32 // number of entries
}

// entry returns the entry of a frame with a number below x.frames.
func (x *index) entry(n uint32) *entry {
	return &x.chunks[n/doneFrames].entries[n%doneFrames]
}

// grow makes the index have n entries, the new ones without a frame. It takes chunks from free.
func (x *index) grow(n uint32, free *chunkList) {
	for uint32(len(x.chunks))*doneFrames < n {
		x.chunks = append(x.chunks, free.get())
	}
	x.frames = max(x.frames, n)
}

// chunkList keeps chunks for further use.
type chunkList struct{ free []*chunk }

const maxFreeChunks = 8

func (l *chunkList) get() *chunk {
	n := len(l.free) - 1
	if n < 0 {
		return new(chunk)
	}
	c := l.free[n]
	l.free[n] = nil
	l.free = l.free[:n]
	*c = chunk{}
	return c
}

// put keeps up to maxFreeChunks chunks of an index that is no longer needed.
func (l *chunkList) put(x *index) {
	for _, c := range x.chunks {
		if len(l.free) < maxFreeChunks {
			l.free = append(l.free, c)
		}
	}
	*x = index{}
}

// tally is a number of frames and what is in them.
type tally struct {
	frames uint64
	linebuf.Count
}

func (t *tally) add(e *entry) {
	t.frames++
	t.Count.Add(e.count())
}

func (t *tally) sub(e *entry) {
	t.frames--
	t.Count.Sub(e.count())
}

func (t *tally) addAll(o tally) {
	t.frames += o.frames
	t.Count.Add(o.Count)
}

func (t *tally) subAll(o tally) {
	t.frames -= o.frames
	t.Count.Sub(o.Count)
}

// readDropped is the value of entry.read once the frame is counted as dropped.
const readDropped = math.MinInt32

// toSeconds returns a time for entry.read. A segment may be made long before it gets lines.
func toSeconds(t, created time.Time) int32 {
	return int32(max(readDropped+1, min(math.MaxInt32, int64(t.Sub(created)/time.Second))))
}

// has reports whether a set has a group.
func has(set linebuf.Groups, group int) bool { return set>>group&1 != 0 }

// allGroups returns the set of the groups that have a name.
func allGroups(names []string) (all linebuf.Groups) {
	for i, name := range names {
		if name != "" {
			all |= 1 << i
		}
	}
	return all
}
