package spool

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
)

// maxTries is how often the loader tries to read a segment before it does without what it cannot
// read: with the pauses in between, half a minute. A path to a disk that is down for a while must
// not cost lines, or have them delivered twice.
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
		l.fault("open", "could not open a segment; its lines wait", err, g)
		return nil, err
	}
	f := &found{file: file}
	g.tries++
	if err := l.find(g, f); err != nil {
		file.Close()
		return nil, err
	}
	g.tries = 0
	if g.scanned {
		return f, nil
	}
	for _, d := range f.damage {
		l.keepRaw(&f.header, g, file, d[0], d[1])
	}
	if f.left.frames > 0 && !f.keep && g.size-f.end >= waste {
		l.shortenEarlier(g, f.end)
	}
	return f, nil
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
	if _, other := errors.AsType[versionError](err); other {
		l.fault("header", "a segment is not readable; its lines wait", err, g)
		return errTryAgain
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

// readHeaderBlock reads the header of a segment. readErr is an error of the disk, and err one of
// what was read.
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

// maxDamage is the number of damaged places in a segment that are kept apart.
const maxDamage = 1000

// scanFrames fills the index. All frames are pending for all groups that they are for.
func (l *loader) scanFrames(g *segment, f *found) error {
	c := newScanner(f.file, f.header.id.short(), g.size)
	c.quit = l.quit
	f.end = headerBlock
	c.damage = func(from, to int64) {
		f.end = to
		if n := len(f.damage); n == maxDamage {
			f.damage[n-1][1] = to
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
		return context.Canceled
	}
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
