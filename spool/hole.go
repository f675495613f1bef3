package spool

import (
	"log/slog"

	"linesplit/linebuf"
)

// hole is a run of frames that are missing in a segment. They were reserved, since others follow,
// or a group has confirmed others that followed. Some are damaged, which the scanner reports where
// it can tell that they were written. The others were not written before a crash, or are damaged.
type hole struct {
	first, past uint32 // number of the first one, and of the one behind the last one
	from, to    int64  // where they were; equal if nothing follows
	frames      uint32 // number of those that are not confirmed by all groups
	damaged     bool   // what is there is reported as damage
	doubtful    bool   // or will be, once a later frame tells that the first one was synced
}

// maxHoles is the most holes of a segment that are told apart; the last one has all further ones.
const maxHoles = 1000

// addHole adds a hole that lies behind the others, unless it is empty or reported already.
func addHole(holes []hole, h hole) []hole {
	n := len(holes)
	switch {
	case h.first == h.past || h.damaged:
	case n < maxHoles:
		return append(holes, h)
	default:
		last := &holes[n-1]
		last.past, last.to, last.frames = h.past, h.to, last.frames+h.frames
	}
	return holes
}

// isReported reports whether what is in the hole is reported as damage, after the scan of a segment
// whose first synced frames are known to be.
func (h *hole) isReported(synced uint32) bool { return h.damaged || h.doubtful && h.first < synced }

// countMissing counts the frames of a hole that not all groups in a set have confirmed.
func (h *hole) countMissing(x *index, groups linebuf.Groups) {
	h.frames = 0
	for n := h.first; n < h.past; n++ {
		c, confirmed := x.chunks[n/doneFrames], true
		for group := range maxGroups {
			confirmed = confirmed && (!has(groups, group) || c.done[group].has(int(n%doneFrames)))
		}
		if !confirmed && x.entry(n).length == 0 {
			h.frames++
		}
	}
}

// reportHoles logs the frames that are missing in a segment. If its file was used before, their
// lines may be among the bytes in their places, which are copied to quarantine.
func (l *loader) reportHoles(g *segment, f *found) {
	f.last.past, f.last.to = f.index.frames, g.size
	var groups linebuf.Groups // that the spool still has
	for i := range f.header.groups {
		if g.groups[i] != 0 || g.lost {
			groups |= 1 << i
		}
	}
	for _, h := range addHole(f.holes, f.last) {
		h.countMissing(&f.index, groups)
		if h.frames == 0 || h.isReported(f.synced) {
			continue
		}
		var name string
		var err error
		if f.header.reused && h.from < h.to {
			name, err = l.keepBytes(&f.header, g, f.file, h.from, h.to, rawSuffix)
		}
		l.fault("missing frames", "frames of a segment are missing: a crash came before they were written, or they are damaged",
			err, g, slog.Uint64("frames", uint64(h.frames)), slog.Int64("from", h.from), slog.Int64("to", h.to),
			slog.String("kept", name))
	}
}
