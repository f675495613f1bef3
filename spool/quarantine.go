package spool

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"strconv"
	"strings"
)

// Damaged parts of segments are kept in the directory quarantine, in files that a scanner reads as
// segments: each begins with the header of the segment that it comes from.
//
//	00000012-0123456789abcdef-00004096.frame  one frame: its header is good, its lines are not
//	00000012-0123456789abcdef-00004096.raw    bytes without the header of a frame
//	00000012-0123456789abcdef.seg             a whole segment, parts of which could not be read
//
// The parts of a name are the number of the segment, the begin of its id, and the offset at which
// the bytes stood. A copy that is not complete has partialSuffix behind its name.
const (
	frameSuffix   = ".frame"
	rawSuffix     = ".raw"
	partialSuffix = ".partial"
)

// quarantinedName returns the name of a file with bytes of a segment from an offset on.
func quarantinedName(h *header, offset int64, suffix string) string {
	return fmt.Sprintf("%08d-%016x-%08d%s", h.number, h.id.short(), offset, suffix)
}

// quarantinedSegment returns the name of a whole segment.
func quarantinedSegment(h *header) string {
	return fmt.Sprintf("%08d-%016x%s", h.number, h.id.short(), segmentSuffix)
}

// quarantinedNumber returns the number of the segment that a file in quarantine comes from, or 0.
func quarantinedNumber(name string) uint64 {
	digits, _, _ := strings.Cut(name, "-")
	n, err := strconv.ParseUint(digits, 10, 63)
	if err != nil || !isQuarantined(name) {
		return 0
	}
	return n
}

// isQuarantined reports whether a name is that of a file that a spool has put into quarantine.
func isQuarantined(name string) bool {
	return strings.HasSuffix(name, frameSuffix) || strings.HasSuffix(name, rawSuffix) || strings.HasSuffix(name, segmentSuffix)
}

// keepRaw copies bytes of a segment that belong to no frame to quarantine.
func (s *Spool) keepRaw(h *header, g *segment, file File, from, to int64) {
	name, err := s.keepBytes(h, g, file, from, to, rawSuffix)
	s.fault("damage", "a segment has bytes that belong to no frame; the scan goes on behind them", err, g,
		slog.Int64("from", from), slog.Int64("to", to), slog.String("kept", name))
}

// keepBytes copies a part of a segment to quarantine. It returns the name of the copy. If it fails,
// the whole segment is moved there in the end.
func (s *Spool) keepBytes(h *header, g *segment, file File, from, to int64, suffix string) (string, error) {
	dir, name := s.path(quarantineName), quarantinedName(h, from, suffix)
	err := s.fs.Mkdir(dir)
	if err == nil {
		err = s.copyOnce(path(dir, name), h, file, from, to)
	}
	if err == nil {
		err = s.fs.SyncDir(dir)
	}
	if err == nil {
		err = s.fs.SyncDir(s.o.Dir)
	}
	if err == nil {
		return name, nil
	}
	s.mu.Lock()
	g.keep = true
	s.mu.Unlock()
	return "", fmt.Errorf("keep %d bytes at %d: %w", to-from, from, err)
}

// copyOnce makes a file of a header and bytes of a segment, unless an earlier run has made it.
func (s *Spool) copyOnce(name string, h *header, file File, from, to int64) error {
	f, err := s.fs.OpenRead(name)
	if err == nil {
		return f.Close()
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	size := headerBlock + to - from
	if err := s.reserveKept(size); err != nil {
		return err
	}
	partial := name + partialSuffix
	if err = s.copyTo(partial, h, file, from, to); err == nil {
		err = s.fs.Rename(partial, name)
	}
	if err != nil {
		s.unreserveKept(size)
		_ = remove(s.fs, partial)
	}
	return err
}

// reserveKept counts bytes that are to be kept in quarantine, which is limited to a quarter of the
// size of the spool.
func (s *Spool) reserveKept(n int64) error {
	const part = 4
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.kept+n > s.o.Size/part {
		return fmt.Errorf("no room for %d bytes: quarantine has %d of at most %d", n, s.kept, s.o.Size/part)
	}
	s.kept += n
	return nil
}

func (s *Spool) unreserveKept(n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.kept -= n
}

// copyTo makes a file for copyOnce, with zeros for bytes that cannot be read.
func (s *Spool) copyTo(name string, h *header, file File, from, to int64) error {
	if err := remove(s.fs, name); err != nil { // an earlier run has not completed it
		return err
	}
	out, err := s.fs.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	_, err = out.Writev(0, [][]byte{h.encode()})
	b := make([]byte, scanAhead)
	for at := from; at < to && err == nil; at += int64(len(b)) {
		b = b[:min(int64(len(b)), to-at)]
		clear(b)
		file.ReadAt(b, at)
		_, err = out.Writev(headerBlock+at-from, [][]byte{b})
	}
	if err == nil {
		err = out.Sync()
	}
	return err
}

// keepSegment moves a segment file to quarantine, or removes it if there is no room for it.
func (s *Spool) keepSegment(g *segment, name string) error {
	dir := s.path(quarantineName)
	if err := s.fs.Mkdir(dir); err != nil {
		return err
	}
	if err := s.reserveKept(g.size); err != nil {
		s.fault("damage", "a segment with unreadable parts is removed: the quarantine is full", err, g)
		return remove(s.fs, name)
	}
	err := s.fs.Rename(name, path(dir, quarantinedSegment(&g.header)))
	if err == nil || errors.Is(err, fs.ErrNotExist) { // an earlier attempt has moved it
		err = s.fs.SyncDir(dir)
	}
	if err != nil {
		s.unreserveKept(g.size)
	}
	return err
}

// quarantine gives up frame n of a segment, whose lines are damaged: it copies the frame to
// quarantine, counts it, and skips it for all groups that wait for it and for the one that has read
// it.
func (s *Spool) quarantine(g *segment, n uint32, reader int) {
	s.mu.Lock()
	e := *g.index.entry(n)
	known := g.bad[n]
	if g.bad == nil {
		g.bad = map[uint32]bool{}
	}
	g.bad[n] = true
	s.mu.Unlock()
	if !known {
		s.keepFrame(g, &e)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if !known {
		s.damaged.add(&e)
	}
	s.skipLocked(g, n, reader)
}

// keepFrame copies a frame to quarantine.
func (s *Spool) keepFrame(g *segment, e *entry) {
	name, err := s.keepBytes(&g.header, g, g.file, e.offset(), e.offset()+frameHeader+int64(e.length), frameSuffix)
	s.fault("frame", "a frame is damaged, and not delivered", err, g, slog.Int64("offset", e.offset()),
		slog.Uint64("lines", uint64(e.lines)), slog.String("kept", name))
}

// skipLocked skips frame n for the groups that wait for it, and for the one that has read it.
func (s *Spool) skipLocked(g *segment, n uint32, reader int) {
	e := g.index.entry(n)
	for group := range s.groups {
		switch {
		case group == reader && has(e.pending, group):
			s.groups[group].inFlight.sub(e)
		case has(e.pending&^e.out, group) && !g.gone:
			s.groups[group].waiting.sub(e)
			g.waiting[group].sub(e)
		default:
			continue
		}
		s.settleLocked(g, e, n, group)
	}
}
