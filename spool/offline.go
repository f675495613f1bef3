package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"

	"linesplit/linebuf"
)

// offline is the directory of a spool that no process uses, open for reading.
type offline struct {
	fs      FS
	dir     string
	lock    io.Closer // nil if there is no file to lock
	listing listing
}

// openOffline opens the directory of a spool. The caller closes it.
func openOffline(fsys FS, dir string) (*offline, error) {
	lock, err := fsys.Lock(path(dir, lockName), true)
	switch {
	case errors.Is(err, ErrLocked):
		return nil, fmt.Errorf("%s is in use by a running linesplit: ask that one, by linesplit ctl spool", dir)
	case errors.Is(err, fs.ErrNotExist): // a copy, perhaps
		lock = nil
	case err != nil:
		return nil, fmt.Errorf("lock the spool: %w", err)
	}
	o := &offline{fs: fsys, dir: dir, lock: lock}
	if o.listing, err = list(fsys, dir); err != nil {
		o.close()
		return nil, fmt.Errorf("list the spool: %w", err)
	}
	if lock == nil && len(o.listing.segments) == 0 {
		return nil, fmt.Errorf("%s is no directory of a spool: it has no segments, such as %s", dir, segmentName(1))
	}
	return o, nil
}

func (o *offline) close() {
	if o.lock != nil {
		_ = o.lock.Close()
	}
}

// stored is a frame of a segment.
type stored struct {
	frame
	file    File
	name    string // of the file
	at      int64  // of its header in the file
	size    int64  // of the file
	groups  []string
	waiting linebuf.Groups // those of groups that have not confirmed it
}

// waitsFor reports whether a group has not confirmed the frame. No name stands for any group.
func (f *stored) waitsFor(group string) bool {
	for i, name := range f.groups {
		if f.waiting>>i&1 != 0 && (name == group || group == "") {
			return true
		}
	}
	return false
}

// each reads all segments, oldest first, reports what is in them, and calls visit for each frame.
// It ends with the first error of visit.
func (o *offline) each(ctx context.Context, r *Report, visit func(*stored) error) error {
	all, err := o.openSegments(r)
	for _, s := range all {
		if err == nil {
			err = o.readSegment(ctx, r, s, visit)
		}
		r.read += s.size
		_ = s.file.Close()
	}
	return err
}

// opened is a segment file that is open.
type opened struct {
	listed
	name   string
	file   File
	header header
	lost   bool // the header cannot be read: its lines are for all groups
}

// openSegments opens the segments and reads their headers. The caller closes the files, also after
// an error. Segments without any frame are left out.
func (o *offline) openSegments(r *Report) (all []*opened, err error) {
	for _, l := range o.listing.segments {
		r.Bytes += l.size
		s := &opened{listed: l, name: segmentName(l.number)}
		if s.file, err = o.fs.OpenRead(path(o.dir, s.name)); err != nil {
			r.addFault(s.name, "%v", err)
			continue
		}
		all = append(all, s)
		s.header, err = readHeader(r, s.file, s.name)
		if version, unknown := errors.AsType[versionError](err); unknown {
			return all, fmt.Errorf("%s: %w", s.name, version)
		}
		if s.lost = err != nil; !s.lost {
			for _, group := range s.header.groups {
				r.group(group)
			}
		}
	}
	for _, s := range all {
		if s.lost {
			s.guessHeader(r)
		}
	}
	return all, nil
}

// guessHeader finds out what it can of a segment whose header cannot be read.
func (s *opened) guessHeader(r *Report) {
	id, ok := findID(s.file, s.size)
	if !ok {
		block := make([]byte, headerBlock)
		if n, _ := s.file.ReadAt(block, 0); len(bytes.TrimLeft(block[:n], "\x00")) > 0 {
			r.addFault(s.name, "its header is damaged, and it has no frames")
		}
		return // a crash came before anything was written to it, if there is no fault
	}
	r.addFault(s.name, "its header is damaged: all of its lines go to all groups")
	if len(r.Groups) == 0 {
		r.group("main")
	}
	binary.LittleEndian.PutUint64(s.header.id[:], id)
	for _, g := range r.Groups[:min(len(r.Groups), maxGroups)] {
		s.header.groups = append(s.header.groups, g.Name)
	}
}

func (o *offline) readSegment(ctx context.Context, r *Report, s *opened, visit func(*stored) error) error {
	if len(s.header.groups) == 0 {
		return nil
	}
	done := &doneReader{}
	if !s.lost {
		done = o.openDone(r, s.number, &s.header)
		defer done.close()
	}
	r.Segments = append(r.Segments, SegmentReport{Name: s.name, Bytes: s.size, Created: s.header.created, Groups: s.header.groups})
	scan := newScanner(s.file, s.header.id.short(), s.size)
	scan.damage = func(from, to int64) {
		r.addFault(s.name, "bytes %d to %d belong to no frame: a crash has cut it off, or they are damaged", from, to)
	}
	for {
		f, at, ok := scan.frame()
		if !ok {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		one := &stored{frame: f, file: s.file, name: s.name, at: at, size: s.size, groups: s.header.groups}
		if one.waiting = allGroups(len(s.header.groups)); !s.lost {
			one.waiting = done.waiting(r, &f)
		}
		r.count(one)
		if err := visit(one); err != nil {
			return err
		}
	}
	if scan.err != nil {
		r.addFault(s.name, "%d bytes cannot be read: %v", scan.unreadable, scan.err)
	}
	return nil
}

// readHeader reads the header of a segment.
func readHeader(r *Report, file File, name string) (header, error) {
	block := make([]byte, headerBlock)
	n, err := file.ReadAt(block, 0)
	if err != nil && err != io.EOF {
		r.addFault(name, "read the header: %v", err)
		return header{}, err
	}
	h, err := decodeHeader(block[:n])
	if h.damaged {
		r.addFault(name, "one of the two copies of its header is damaged")
	}
	return h, err
}

// count adds a frame to the counts.
func (r *Report) count(f *stored) {
	s := &r.Segments[len(r.Segments)-1]
	s.Frames++
	s.Lines.Add(f.frame.count())
	if f.waiting == 0 {
		return
	}
	s.Unconfirmed.Add(f.frame.count())
	r.Unconfirmed.Add(f.frame.count())
	if r.Oldest.IsZero() || f.read.Before(r.Oldest) {
		r.Oldest = f.read
	}
	for i, name := range f.groups {
		if f.waiting>>i&1 != 0 {
			r.group(name).Waiting.Add(f.frame.count())
		}
	}
}

// doneReader reads which frames of a segment are confirmed, in order of their numbers.
type doneReader struct {
	file   File // nil: nothing is confirmed
	name   string
	id     segmentID
	groups int
	blocks [maxGroups]struct {
		read  bool
		index int
		bits  doneBits
	}
}

// openDone opens the confirmations of a segment. Where they are missing or damaged, nothing is
// confirmed.
func (o *offline) openDone(r *Report, number uint64, h *header) *doneReader {
	d := &doneReader{name: doneName(number), id: h.id, groups: len(h.groups)}
	file, err := o.fs.OpenRead(path(o.dir, d.name))
	if errors.Is(err, fs.ErrNotExist) {
		return d
	}
	if err != nil {
		r.addFault(d.name, "%v", err)
		return d
	}
	block := make([]byte, doneBlock)
	switch n, err := file.ReadAt(block, 0); {
	case err != nil && err != io.EOF:
		r.addFault(d.name, "%v", err)
	case n == 0: // a crash came before anything was written
	case !decodeDoneHeader(block[:n], &d.id, d.groups):
		r.addFault(d.name, "it does not belong to %s, or is damaged: nothing counts as confirmed", segmentName(number))
	default:
		d.file = file
		return d
	}
	_ = file.Close()
	return d
}

func (d *doneReader) close() {
	if d.file != nil {
		_ = d.file.Close()
	}
}

// waiting returns the groups that have not confirmed a frame.
func (d *doneReader) waiting(r *Report, f *frame) linebuf.Groups {
	waiting := f.groups & (1<<d.groups - 1)
	if d.file == nil {
		return waiting
	}
	index, bit := int(f.sequence)/doneFrames, int(f.sequence)%doneFrames
	for g := range d.groups {
		if waiting>>g&1 != 0 && d.block(r, g, index).has(bit) {
			waiting &^= 1 << g
		}
	}
	return waiting
}

// block returns a block of bits of a group.
func (d *doneReader) block(r *Report, group, index int) *doneBits {
	b := &d.blocks[group]
	if b.read && b.index == index {
		return &b.bits
	}
	content := make([]byte, doneBlock)
	n, err := d.file.ReadAt(content, doneOffset(d.groups, group, index))
	bits, ok := decodeDone(content[:n], &d.id, group, index)
	if err != nil && err != io.EOF {
		r.addFault(d.name, "%v", err)
	} else if !ok {
		r.addFault(d.name, "block %d of group %d is damaged: none of its frames counts as confirmed", index, group)
	}
	b.read, b.index, b.bits = true, index, bits
	return &b.bits
}
