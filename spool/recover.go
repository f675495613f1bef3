package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
)

// maxTries is how often the loader tries to read a segment before it goes on without the parts that
// it cannot read, or to open one before it skips it: with the pauses in between, about 20 s. A disk
// that is out of reach for a few seconds must not cost lines, or repeat them.
const maxTries = 10

// errTryAgain is the error of a scan that is to be done again. It is counted already.
var errTryAgain = errors.New("to be tried again")

// scan reads the headers of the frames of a segment, and its confirmations.
func (l *loader) scan(g *segment) (*found, error) {
	file, err := l.fs.OpenRead(l.path(segmentName(g.header.number)))
	if errors.Is(err, fs.ErrNotExist) {
		l.fault("missing", "a segment has disappeared, and its lines with it", nil, g)
		return nil, err
	}
	if err != nil {
		if !g.skipped {
			l.unopened++
		}
		l.fault("open", "could not open a segment; its lines wait", err, g)
		return nil, err
	}
	l.unopened = 0
	f := &found{file: file}
	g.tries++
	if err := l.find(g, f); err != nil {
		file.Close()
		return nil, err
	}
	g.tries = 0
	if g.scanned && !l.findLost(g, f) {
		return f, nil
	}
	for _, d := range f.damage {
		l.keepRaw(&f.header, g, file, d[0], d[1])
	}
	if !g.scanned {
		l.reportHoles(g, f)
	}
	if !g.scanned && f.left.frames > 0 && !f.keep && g.size-f.end >= waste {
		l.shortenEarlier(g, f.end)
	}
	return f, nil
}

// findLost reports whether a scan has found fewer frames than an earlier one: their headers were
// damaged in between. It counts them. Their bytes belong to no frame now, and are kept as such.
func (l *loader) findLost(g *segment, f *found) bool {
	l.mu.Lock()
	left, gone := g.left, g.gone
	l.mu.Unlock()
	if gone || f.left.frames >= left.frames {
		return false
	}
	f.lost.frames = left.frames - f.left.frames
	f.lost.Lines = left.Lines - min(f.left.Lines, left.Lines)
	f.lost.Bytes = left.Bytes - min(f.left.Bytes, left.Bytes)
	l.fault("frame", "frames of a segment are damaged since they were read first, and not delivered", nil, g,
		slog.Uint64("frames", f.lost.frames), slog.Uint64("lines", f.lost.Lines))
	return true
}

// find reads a segment into f.
func (l *loader) find(g *segment, f *found) error {
	if g.unread {
		if err := l.readHeaderAgain(g, f.file); err != nil {
			return err
		}
	}
	f.header = g.header
	if g.lost && !g.scanned {
		l.recoverHeader(g, f)
	}
	if err := l.scanFrames(g, f); err != nil {
		return err
	}
	if err := l.readConfirmations(g, f); err != nil {
		return err
	}
	l.countFrames(g, f)
	l.readNotes(g, f)
	return nil
}

// readFailed counts an error of reading a segment. It returns an error if the scan is to be done
// again.
func (l *loader) readFailed(g *segment, msg string, err error) error {
	if g.tries < maxTries {
		l.fault("read", msg+"; it is tried again", err, g)
		return errTryAgain
	}
	l.fault("read", msg, err, g)
	return nil
}

// readHeaderAgain reads the header of a segment that could not be read when the spool was opened.
func (l *loader) readHeaderAgain(g *segment, file File) error {
	h, readErr, err := readHeaderBlock(file)
	if readErr != nil {
		if err := l.readFailed(g, "could not read the header of a segment", readErr); err != nil {
			return err
		}
	}
	if isVersion(err) {
		l.fault("header", "a segment is not readable; its lines wait", err, g)
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	g.unread, g.lost = false, err != nil
	if !g.lost {
		h.number = g.header.number
		g.header = h
	}
	g.bind(l.o.Groups)
	return nil
}

// isVersion reports whether an error is that of a segment in another format.
func isVersion(err error) bool {
	_, other := errors.AsType[versionError](err)
	return other
}

// readHeaderBlock reads the header of a segment. readErr is an error of the disk, and err one of
// the bytes that were read.
func readHeaderBlock(file File) (h header, readErr, err error) {
	b := make([]byte, headerBlock)
	n, readErr := file.ReadAt(b, 0)
	h, err = decodeHeader(b[:n])
	if err == nil {
		return h, nil, nil
	}
	return header{}, ignoreEOF(readErr), err
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

// recoverHeader makes up for the lost header of a segment: the first frame tells the first bytes of
// the id, and all frames go to all groups.
func (l *loader) recoverHeader(g *segment, f *found) {
	id, ok := findID(f.file, g.header.number, g.size)
	if !ok {
		if wasUsed(l.fs, l.o.Dir, g.header.number, f.file) {
			l.fault("header", "a segment has neither a header nor frames: its lines are lost", nil, g)
		}
		return // what else is there is damage
	}
	for i := range 8 {
		f.header.id[i] = byte(id >> (8 * i))
	}
	f.header.groups, f.header.reused = l.o.Groups, true // or may be
	l.fault("header", "a segment has no readable header: all of its lines go to all groups", nil, g)
}

// wasUsed reports whether a segment without a header and without frames has had some: something is
// where its header was, or there are confirmations. Otherwise a crash came before it was used.
func wasUsed(fsys FS, dir string, number uint64, file File) bool {
	block := make([]byte, headerBlock)
	if n, _ := file.ReadAt(block, 0); len(bytes.TrimLeft(block[:n], "\x00")) > 0 {
		return true
	}
	done, err := fsys.OpenRead(path(dir, doneName(number)))
	if err == nil {
		_ = done.Close()
	}
	return !errors.Is(err, fs.ErrNotExist)
}

// maxDamage is the most damaged places in a segment that are copied one by one; the last copy has
// all further ones.
const maxDamage = 1000

// scanFrames fills the index. Each frame is pending for all of its groups, confirmed or not.
func (l *loader) scanFrames(g *segment, f *found) error {
	c := newScanner(f.file, &f.header, g.size)
	c.quit = l.quit
	f.end = headerBlock
	c.damage = func(from, to int64) {
		f.end = max(f.end, to)
		if n := len(f.damage); n == maxDamage {
			f.damage[n-1][0] = min(f.damage[n-1][0], from)
			f.damage[n-1][1] = max(f.damage[n-1][1], to)
			return
		}
		f.damage = append(f.damage, [2]int64{from, to})
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
		f.holes = addHole(f.holes, c.hole)
		f.index.grow(fr.sequence+1, &free)
		e := f.index.entry(fr.sequence)
		*e = entry{at: uint32(at / frameAlign), length: fr.length, lines: fr.lines, read: toSeconds(fr.read, f.header.created)}
		if g.lost {
			e.pending = l.all
		} else {
			e.pending, e.out = g.fromFile(fr.groups) // out only until the confirmations are read
		}
	}
	if c.stopped {
		return context.Canceled
	}
	f.last, f.synced = c.hole, c.synced
	f.keep = c.unreadable > 0
	if f.keep {
		return l.readFailed(g, fmt.Sprintf("%d bytes of a segment cannot be read", c.unreadable), c.err)
	}
	if c.err != nil {
		l.fault("read", "a read of a segment has failed, and has succeeded again", c.err, g)
	}
	return nil
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
