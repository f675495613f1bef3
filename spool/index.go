package spool

import (
	"math"
	"time"

	"linesplit/linebuf"
)

// entry is what memory has of a frame of a segment in use.
type entry struct {
	at      uint32         // offset in units of frameAlign
	length  uint32         // bytes of lines; 0: there is no such frame
	lines   uint32         // number of lines
	read    int32          // when the lines were read, in milliseconds after the segment was made
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

// put keeps the chunks of an index that is needed no more.
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

// toMillis returns a time for entry.read.
func toMillis(t, created time.Time) int32 {
	return int32(max(readDropped+1, min(math.MaxInt32, t.Sub(created).Milliseconds())))
}

// has reports whether a set has a group.
func has(set linebuf.Groups, group int) bool { return set>>group&1 != 0 }

// allGroups returns the set of the first n groups.
func allGroups(n int) linebuf.Groups { return linebuf.Groups(1<<n - 1) }
