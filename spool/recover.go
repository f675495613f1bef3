package spool

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"

	"linesplit/linebuf"
)

// scan reads the headers of the frames of a segment, and its confirmations.
func (l *loader) scan(g *segment) (*found, error) {
	file, err := l.fs.OpenRead(l.path(segmentName(g.header.number)))
	if errors.Is(err, fs.ErrNotExist) {
		l.fault("missing", "a segment has disappeared, and its lines with it", nil, g)
		return nil, err
	}
	if err != nil {
		l.fault("open", "could not open a segment; its lines wait", err, g)
		return nil, err
	}
	f := &found{file: file, header: g.header}
	if g.lost && !g.scanned {
		l.recoverHeader(g, f)
	}
	if !l.scanFrames(g, f) {
		file.Close()
		return nil, context.Canceled
	}
	l.readConfirmations(g, f)
	l.countFrames(g, f)
	if !g.scanned && f.left.frames > 0 && !f.keep && g.size-f.end >= waste {
		l.shortenEarlier(g, f.end)
	}
	return f, nil
}

// shortenEarlier gives back the disk space behind the last frame of a segment of an earlier run.
func (l *loader) shortenEarlier(g *segment, end int64) {
	f, err := l.fs.Open(l.path(segmentName(g.header.number)))
	if err != nil {
		l.fault("trim", "could not open a segment to shorten it", err, g)
		return
	}
	l.shorten(g, f, end)
	f.Close()
}

// recoverHeader makes up for the lost header of a segment: its frames tell the begin of its id. They
// go to all groups.
func (l *loader) recoverHeader(g *segment, f *found) {
	id, ok := findID(f.file, g.size)
	if !ok {
		return // no frames; what else is there is damage
	}
	for i := range 8 {
		f.header.id[i] = byte(id >> (8 * i))
	}
	f.header.groups = l.o.Groups
	l.fault("header", "a segment has no readable header: all of its lines go to all groups", nil, g)
}

// scanFrames fills the index. All frames are pending for all groups that they are for.
// It returns false if it was stopped.
func (l *loader) scanFrames(g *segment, f *found) bool {
	c := newScanner(f.file, f.header.id.short(), g.size)
	c.quit = l.quit
	f.end = headerBlock
	c.damage = func(from, to int64) {
		f.end = to
		if !g.scanned {
			l.keepRaw(&f.header, g, f.file, from, to)
		}
	}
	var free chunkList
	for {
		fr, at, ok := c.frame()
		if !ok {
			break
		}
		if f.header.created.IsZero() {
			f.header.created = fr.read
		}
		f.end = c.at
		f.index.grow(fr.sequence+1, &free)
		e := f.index.entry(fr.sequence)
		*e = entry{at: uint32(at / frameAlign), length: fr.length, lines: fr.lines, read: toMillis(fr.read, f.header.created)}
		if g.lost {
			e.pending = l.all
		} else {
			e.pending, e.out = g.fromFile(fr.groups) // out only until the confirmations are read
		}
	}
	if c.stopped {
		return false
	}
	f.keep = c.unreadable > 0
	if f.keep {
		l.fault("read", "parts of a segment cannot be read; it is kept in quarantine after the rest is delivered",
			c.err, g, slog.Int64("bytes", c.unreadable))
	}
	return true
}

// countFrames counts the frames that are pending.
func (l *loader) countFrames(g *segment, f *found) {
	for n := range f.index.frames {
		e := f.index.entry(n)
		if e.out != 0 {
			f.orphaned.Add(e.count())
			e.out = 0
		}
		if e.pending == 0 {
			continue
		}
		f.left.add(e)
		for group := range l.groups {
			if has(e.pending, group) {
				f.waiting[group].add(e)
			}
		}
	}
	if f.orphaned.Lines > 0 && !g.scanned {
		l.faults.kinds.Of("orphaned").Warn(l.o.Logger, "spool: lines for groups that no longer exist are given up",
			slog.String("dir", l.o.Dir), slog.String("segment", segmentName(g.header.number)),
			slog.Uint64("lines", f.orphaned.Lines), slog.Any("groups", g.header.groups))
	}
}

// readConfirmations takes confirmed frames off the groups that have confirmed them. If some of the
// file is missing or damaged, those lines are delivered again.
func (l *loader) readConfirmations(g *segment, f *found) {
	if g.lost && !g.scanned {
		return // the file cannot be trusted to be of this segment
	}
	file, err := l.fs.OpenRead(l.path(doneName(g.header.number)))
	if errors.Is(err, fs.ErrNotExist) {
		return
	}
	bad := 0
	if err == nil {
		bad, err = readAllDone(file, g, f)
		file.Close()
	}
	if bad > 0 || err != nil {
		l.fault("confirmations", "confirmations are damaged: lines are delivered again", err, g, slog.Int("blocks", bad))
	}
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
	for i, c := range f.index.chunks {
		for inFile := range groups {
			bits, ok := readDone(file, &g.header.id, groups, inFile, i)
			if !ok {
				bad++
				continue
			}
			c.done[inFile] = bits
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
	}
	return bad, nil
}

func ignoreEOF(err error) error {
	if err == io.EOF {
		return nil
	}
	return err
}
