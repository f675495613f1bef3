package spool

import (
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
		return nil, fmt.Errorf("%s is in use by a running linesplit: see linesplit ctl spool", dir)
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
	waiting linebuf.Groups // indices in groups of those that have not confirmed it
}

// waitsFor reports whether a group has not confirmed the frame. An empty name stands for any group.
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
	all, err := o.readHeaders(r)
	for _, h := range all {
		if err == nil {
			err = o.readSegment(ctx, r, h, visit)
		}
		r.read += h.size
	}
	return err
}

// headed is a segment file and its header.
type headed struct {
	listed
	name   string
	header header
	lost   bool // the header cannot be read: its lines are for all groups
}

// readHeaders reads the headers of the segments. There may be more of them than a process can have
// open. It leaves out those that it cannot open.
func (o *offline) readHeaders(r *Report) (all []*headed, err error) {
	for _, l := range o.listing.segments {
		r.Bytes += l.size
		h := &headed{listed: l, name: segmentName(l.number)}
		file := o.openSegment(r, h)
		if file == nil {
			continue
		}
		h.header, err = readHeader(r, file, h.name)
		_ = file.Close()
		if version, unknown := errors.AsType[versionError](err); unknown {
			return nil, fmt.Errorf("%s: %w", h.name, version)
		}
		if h.lost = err != nil; !h.lost {
			for _, group := range h.header.groups {
				if group != "" {
					r.group(group)
				}
			}
		}
		all = append(all, h)
	}
	return all, nil
}

// openSegment opens a segment file. If it cannot, it reports that and returns nil.
func (o *offline) openSegment(r *Report, h *headed) File {
	file, err := o.fs.OpenRead(path(o.dir, h.name))
	if err == nil {
		return file
	}
	r.addFault(h.name, "%v", err)
	if r.skipped == nil {
		r.skipped = fmt.Errorf("%s is left out, and maybe others: %w", h.name, err)
	}
	return nil
}

// guessHeader makes up for the header of a segment that cannot be read: the first frame tells the
// id, and all lines go to all groups.
func (o *offline) guessHeader(h *headed, r *Report, file File) {
	id, ok := findID(file, h.number, h.size)
	if !ok {
		if wasUsed(o.fs, o.dir, h.number, file) {
			r.addFault(h.name, "it has neither a header nor frames: its lines are lost")
		}
		return
	}
	r.addFault(h.name, "its header is damaged: all of its lines go to all groups")
	if len(r.Groups) == 0 {
		r.group("main")
	}
	h.header.number, h.header.reused = h.number, true // or may be
	binary.LittleEndian.PutUint64(h.header.id[:], id)
	for _, g := range r.Groups[:min(len(r.Groups), maxGroups)] {
		h.header.groups = append(h.header.groups, g.Name)
	}
}

// readSegment reads a segment, unless it has no frames.
func (o *offline) readSegment(ctx context.Context, r *Report, h *headed, visit func(*stored) error) error {
	file := o.openSegment(r, h)
	if file == nil {
		return nil
	}
	defer file.Close()
	if h.lost {
		o.guessHeader(h, r, file)
	}
	if len(h.header.groups) == 0 {
		return nil
	}
	done := &doneReader{groups: len(h.header.groups), named: allGroups(h.header.groups)}
	if !h.lost {
		done = o.openDone(r, h.number, &h.header)
		defer done.close()
	}
	r.Segments = append(r.Segments, SegmentReport{Name: h.name, Bytes: h.size, Created: h.header.created, Groups: h.header.groups})
	scan := newScanner(file, &h.header, h.size)
	scan.damage = func(from, to int64) {
		r.addFault(h.name, "bytes %d to %d belong to no frame: a crash has cut one off, or they are damaged", from, to)
	}
	var holes []hole
	for {
		f, at, ok := scan.frame()
		if !ok {
			break
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		holes = addHole(holes, done.countMissing(r, scan.hole))
		one := &stored{frame: f, file: file, name: h.name, at: at, size: h.size, groups: h.header.groups}
		if one.waiting = allGroups(h.header.groups); !h.lost {
			one.waiting = done.waiting(r, &f)
		}
		r.count(one)
		if err := visit(one); err != nil {
			return err
		}
	}
	if scan.err != nil {
		r.addFault(h.name, "%d bytes cannot be read: %v", scan.unreadable, scan.err)
	}
	for _, o := range addHole(holes, done.countBehind(r, scan.hole)) {
		if o.frames > 0 && !o.isReported(scan.synced) {
			r.addFault(h.name, "%d frames are missing at %d: a crash came before they were written, or they are damaged",
				o.frames, o.from)
		}
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
	named  linebuf.Groups // those that have a name
	blocks [maxGroups]struct {
		read  bool
		past  bool // the file ends in front of it
		index int
		bits  doneBits
	}
}

// openDone opens the confirmations of a segment. Where they are missing or damaged, nothing is
// confirmed.
func (o *offline) openDone(r *Report, number uint64, h *header) *doneReader {
	d := &doneReader{name: doneName(number), id: h.id, groups: len(h.groups), named: allGroups(h.groups)}
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

// countMissing returns a hole with the number of its frames that not all groups have confirmed.
func (d *doneReader) countMissing(r *Report, h hole) hole {
	for n := h.first; n < h.past; n++ {
		if d.waiting(r, &frame{sequence: n, groups: d.named}) != 0 {
			h.frames++
		}
	}
	return h
}

// countBehind is countMissing for the hole behind the last frame, which it makes end where a group
// has confirmed a frame.
func (d *doneReader) countBehind(r *Report, h hole) hole {
	missing := uint32(0)
	for n := h.first; d.file != nil && n < maxChunks*doneFrames; n++ {
		waiting := d.waiting(r, &frame{sequence: n, groups: d.named})
		if waiting != 0 {
			missing++
		}
		if waiting != d.named {
			h.past, h.frames = n+1, missing
		} else if d.ended() {
			break
		}
	}
	return h
}

// ended reports whether the file ends in front of the last blocks that were read.
func (d *doneReader) ended() bool {
	for group := range d.groups {
		if has(d.named, group) && !d.blocks[group].past {
			return false
		}
	}
	return true
}

// block returns a block of bits of a group.
func (d *doneReader) block(r *Report, group, index int) *doneBits {
	b := &d.blocks[group]
	if b.read && b.index == index {
		return &b.bits
	}
	bits, ok, past, err := readDone(d.file, &d.id, d.groups, group, index)
	switch {
	case err != nil:
		r.addFault(d.name, "%v", err)
	case !ok:
		r.addFault(d.name, "block %d of group %d is damaged: none of its frames counts as confirmed", index, group)
	}
	b.read, b.past, b.index, b.bits = true, past, index, bits
	return &b.bits
}
