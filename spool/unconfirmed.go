package spool

import (
	"errors"
	"io"
	"io/fs"
	"log/slog"

	"linesplit/linebuf"
)

// readConfirmations marks the frames of a segment that groups have confirmed. Where the file is
// missing or damaged, lines are delivered again. After an error the caller tries again.
func (l *loader) readConfirmations(g *segment, f *found) error {
	if g.lost && !g.scanned {
		return nil // the file cannot be trusted to be of this segment
	}
	file, err := l.fs.OpenRead(l.path(doneName(g.header.number)))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil {
		defer file.Close()
		err = l.takeConfirmed(file, g, f)
	}
	if err != nil {
		return l.readFailed(g, "could not read confirmations, without which lines are delivered again", err)
	}
	return nil
}

// takeConfirmed reads the confirmations of a segment from their file.
func (l *loader) takeConfirmed(file File, g *segment, f *found) error {
	bad, err := readAllDone(file, g, f)
	if err != nil {
		return err
	}
	if bad > 0 {
		l.fault("confirmations", "confirmations are damaged: lines are delivered again", nil, g, slog.Int("blocks", bad))
	}
	if g.scanned {
		return nil
	}
	if err := file.Sync(); err != nil { // as the segment itself
		l.faults.syncs.Add(1)
		l.fault("sync", "could not sync the confirmations of an earlier run; a power loss may repeat lines", err, g)
	}
	return nil
}

// readAllDone reads the confirmations of a segment, and returns the number of blocks that are
// damaged.
func readAllDone(file File, g *segment, f *found) (bad int, err error) {
	groups := len(g.header.groups)
	head := make([]byte, doneBlock)
	if n, err := file.ReadAt(head, 0); n == 0 {
		return 0, ignoreEOF(err)
	}
	if !decodeDoneHeader(head, &g.header.id, groups) {
		return 1, nil
	}
	var free chunkList
	for n := range groups * max(len(f.index.chunks), maxChunks) {
		i, inFile := n/groups, n%groups
		bits, ok, past, err := readDone(file, &g.header.id, groups, inFile, i)
		switch {
		case err != nil:
			return bad, err
		case past:
			return bad, nil
		case !ok:
			bad++
		default:
			if past := bits.past(); past > 0 { // the last frames may be missing
				f.index.grow(uint32(i*doneFrames+past), &free)
				f.index.chunks[i].confirm(g, inFile, &bits)
			}
		}
	}
	return bad, nil
}

// confirm sets the frames to confirmed whose bits are set for a group of the segment file.
func (c *chunk) confirm(g *segment, inFile int, bits *doneBits) {
	c.done[inFile] = *bits
	of, gone := g.groups[inFile], linebuf.Groups(0)
	if of == 0 {
		gone = 1 << inFile
	}
	for n := range c.entries {
		if bits.has(n) {
			c.entries[n].pending &^= of
			c.entries[n].out &^= gone
		}
	}
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
