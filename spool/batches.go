package spool

import (
	"context"
	"errors"
	"hash/maphash"
	"io"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"linesplit/linebuf"
)

const (
	// noteWithin is how long NoteBatch waits for the disk. While one write takes longer, further
	// calls do not wait.
	noteWithin = time.Second
	// maxNotes is the most batches that wait to be noted; further ones are not noted.
	maxNotes = 1 << 10
	// maxNoted is how many batches are known to be noted already.
	maxNoted = 1 << 13
	// maxTogether is the most bytes of frames that Next returns in one buffer because they were
	// sent together.
	maxTogether = 16 << 20
)

// note is a batch that is to be noted.
type note struct {
	segment *segment
	text    []byte // its record
	key     uint64
	done    chan struct{} // closed when it is noted, or cannot be
}

// noteOf returns the note with the record of a batch of a group that is in the file of a segment.
func noteOf(g *segment, group int, r *batchRecord) *note {
	r.group = uint32(g.toFile[group])
	return &note{segment: g, text: r.append(nil, &g.header.id), done: make(chan struct{})}
}

// NoteBatch notes that frames are about to be sent to a group together: after a restart, Next
// returns them together, in a buffer with the name of the batch. first is that name, and runs are
// the marks of the lines, or of a further part of them. Lines of which one is in no frame are not
// noted. NoteBatch returns once the kernel has the note, so that a kill -9 does not undo it; it
// waits for no sync. While the disk is slow it returns after a second.
func (s *Spool) NoteBatch(group int, first linebuf.Mark, runs []linebuf.Run) {
	r := newRecord(first, runs)
	if r == nil {
		return
	}
	n, wait := s.queueNote(r, group)
	if !wait {
		return
	}
	t := time.NewTimer(noteWithin)
	defer t.Stop()
	select {
	case <-n.done:
	case <-t.C:
		s.mu.Lock()
		s.notesLate = true
		s.mu.Unlock()
	}
}

// newRecord returns the record of a batch, or nil if its lines are not those of whole frames. The
// first run may be the rest of the frame whose beginning was sent before: only then the batch goes
// on under the same name. A batch that is sent again in parts is several.
func newRecord(first linebuf.Mark, runs []linebuf.Run) *batchRecord {
	if runs[0].First.Line == 0 {
		first = runs[0].First
	}
	r := &batchRecord{runs: []frameRun{{first.Source, uint32(first.Number), 1}}}
	for i, run := range runs {
		m := run.First
		switch {
		case m == first && i == 0: // it is there already
		case m.Line == 0:
			r.add(m.Source, uint32(m.Number))
		case i > 0 || m.Source != first.Source || m.Number != first.Number:
			return nil
		}
	}
	if first.Line != 0 {
		return nil
	}
	return r
}

// queueNote queues the note of a batch, unless it is known already, in the lowest segment that has
// frames of it. It reports whether to wait for the note.
func (s *Spool) queueNote(r *batchRecord, group int) (n *note, wait bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lowest *segment
	for _, run := range r.runs {
		g := s.withFramesLocked(run.source)
		if g == nil {
			return nil, false
		}
		if lowest == nil || g.header.number < lowest.header.number {
			lowest = g
		}
	}
	if s.closed || lowest.toFile[group] < 0 {
		return nil, false
	}
	s.sendingLocked(group, r)
	n = noteOf(lowest, group, r)
	if n.key = maphash.Bytes(s.seed, n.text); s.noted[n.key] || len(s.notes) == maxNotes {
		return nil, false
	}
	s.knowLocked(n.key)
	s.notes = append(s.notes, n)
	wake(s.wakeNoter)
	return n, !s.notesLate
}

// withFramesLocked returns the segment with a short id among those that are loaded, as one is whose
// frames are in flight; nil for none.
func (s *Spool) withFramesLocked(source uint64) *segment {
	for i := len(s.loaded) - 1; i >= 0; i-- {
		if g := s.loaded[i]; g.loaded && !g.gone && !g.failed && g.header.id.short() == source {
			return g
		}
	}
	return nil
}

// knowLocked notes that a batch is noted.
func (s *Spool) knowLocked(key uint64) {
	if len(s.noted) >= maxNoted {
		clear(s.noted)
	}
	s.noted[key] = true
}

// runNoter writes down which frames are sent together, until ctx ends.
func (s *Spool) runNoter(ctx context.Context) {
	for {
		s.mu.Lock()
		notes, whole := s.notes, s.whole
		s.notes, s.whole, s.notesLate = nil, nil, false
		s.mu.Unlock()
		for _, n := range notes {
			if ctx.Err() == nil {
				s.writeNote(n)
			}
			close(n.done)
		}
		s.noteConfirmed(whole)
		if len(notes)+len(whole) > 0 {
			continue
		}
		select {
		case <-ctx.Done():
			if s.hasNotes() { // that came just before the end
				continue
			}
			return
		case <-s.wakeNoter:
		}
	}
}

func (s *Spool) hasNotes() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.notes)+len(s.whole) > 0
}

// writeNote writes a note behind the others of its segment.
func (s *Spool) writeNote(n *note) {
	g := n.segment
	if !s.pin(g) {
		return
	}
	defer s.unpin(g)
	err := s.openBatches(g)
	switch {
	case err != nil:
	case g.batchesEnd+int64(len(n.text)) > maxBatchFile:
		err = errors.New("the file has become too large")
	default:
		_, err = g.batches.Writev(g.batchesEnd, [][]byte{n.text})
	}
	s.mu.Lock()
	gone := g.gone
	if err != nil {
		delete(s.noted, n.key)
	}
	s.mu.Unlock()
	if gone { // the keeper may have removed its files before
		err = remove(s.fs, s.path(batchesName(g.header.number)))
	}
	if err == nil {
		g.batchesEnd += int64(len(n.text))
		return
	}
	s.fault("batches", "could not note which lines are sent together; a crash before they are confirmed gives them other batch IDs",
		err, g)
}

// openBatches opens the file of batches of a segment, and makes it if there is none. The segment is
// pinned.
func (s *Spool) openBatches(g *segment) error {
	if g.batches != nil {
		return nil
	}
	name := s.path(batchesName(g.header.number))
	f, err := s.fs.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = s.fs.Create(name)
	}
	if err != nil {
		return err
	}
	s.mu.Lock()
	g.batches, g.noted = f, true
	s.mu.Unlock()
	return nil
}

// readNotes reads which frames of a segment of an earlier run were sent together. Without that they
// are sent in other batches.
func (l *loader) readNotes(g *segment, f *found) {
	if !g.noted || !l.o.Marked || g.scanned {
		return
	}
	file, err := l.fs.OpenRead(l.path(batchesName(g.header.number)))
	if err == nil {
		f.batches, f.batchesEnd, err = readBatches(io.NewSectionReader(file, 0, maxBatchFile), g)
		file.Close()
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		f.batchesEnd = maxBatchFile // nothing is written over what is there
		l.fault("batches", "could not read which lines were sent together; they get other batch IDs", err, g)
	}
}

// rememberLocked uses the notes of a segment, which is loaded now. It makes Next return batches
// together, unless frames of the segment that are in them are confirmed: they have gone elsewhere
// in parts. Batches that were confirmed are.
func (s *Spool) rememberLocked(g *segment, f *found) {
	g.batchesEnd = f.batchesEnd
	for _, b := range f.batches {
		if b.confirmed {
			s.confirmBatchLocked(b)
		}
	}
	id := g.header.id.short()
	confirmed := func(one frameID, group int) bool {
		return one.source == id && (one.frame >= g.index.frames || !has(g.index.entry(one.frame).pending, group))
	}
	for _, b := range f.batches {
		if !slices.ContainsFunc(b.frames, func(one frameID) bool { return confirmed(one, b.group) }) {
			s.rememberBatchLocked(b)
		}
	}
}

// confirmNotedLocked confirms the frames of a segment, which is loaded now, that were noted as
// confirmed with an earlier one.
func (s *Spool) confirmNotedLocked(g *segment) {
	id := g.header.id.short()
	for one := range s.confirmed {
		if one.source == id {
			s.confirmWaitingLocked(g, one.frame, one.group)
			delete(s.confirmed, one)
		}
	}
}

// confirmBatchLocked confirms the frames of a batch that wait, and others once they are loaded.
func (s *Spool) confirmBatchLocked(b *storedBatch) {
	for _, f := range b.frames {
		if g := s.withFramesLocked(f.source); g != nil {
			s.confirmWaitingLocked(g, f.frame, b.group)
		} else if s.toLoadLocked(f.source) != nil {
			s.confirmed[groupFrame{f, b.group}] = true
		}
	}
}

// groupFrame is a frame that a group needs no more.
type groupFrame struct {
	frameID
	group int
}

// confirmWaitingLocked confirms frame n of a loaded segment for a group if it waits.
func (s *Spool) confirmWaitingLocked(g *segment, n uint32, group int) {
	if n >= g.index.frames {
		return
	}
	e := g.index.entry(n)
	if !has(e.pending&^e.out, group) {
		return
	}
	g.waiting[group].sub(e)
	s.groups[group].waiting.sub(e)
	s.settleLocked(g, e, n, group)
}

// rememberBatchLocked makes Next return the frames of a batch together. An earlier segment may have
// the note of its first ones.
func (s *Spool) rememberBatchLocked(b *storedBatch) {
	state := &s.groups[b.group]
	if state.batches == nil {
		state.batches = map[frameID]*storedBatch{}
	}
	if before := state.batches[b.frames[0]]; before != nil && before.frames[0] == b.frames[0] {
		for _, one := range b.frames {
			before.add(one)
		}
		b = before
	}
	for _, one := range b.frames {
		state.batches[one] = b
	}
}

// forgetLocked lets the frames of a batch be sent in others.
func (s *Spool) forgetLocked(b *storedBatch) {
	for _, one := range b.frames {
		if s.groups[b.group].batches[one] == b {
			delete(s.groups[b.group].batches, one)
		}
	}
}

// takeTogetherLocked makes records for the frames of the batch that has frame n of a segment, if
// all of them wait. It returns none if there is no such batch. later is set if other segments have
// to be loaded first.
func (s *Spool) takeTogetherLocked(g *segment, n uint32, group int) (all []*record, later bool) {
	state := &s.groups[group]
	b := state.batches[frameID{g.header.id.short(), n}]
	state.needed = state.needed[:0]
	if b == nil {
		return nil, false
	}
	places, loaded := s.placesLocked(b)
	if !loaded {
		state.needed = slices.Compact(append(state.needed, places...))
		wake(s.wakeLoader)
		return nil, true
	}
	s.forgetLocked(b)
	size := 0
	for i, one := range b.frames {
		if places[i] == nil || one.frame >= places[i].index.frames {
			return nil, false
		}
		e := places[i].index.entry(one.frame)
		if size += int(e.length); !has(e.pending&^e.out, group) || size > maxTogether {
			return nil, false
		}
	}
	for i, one := range b.frames {
		all = append(all, s.takeRunLocked(places[i], one.frame, group))
	}
	return all, false
}

// placesLocked returns the segment of each frame of a batch; nil for one that is gone, or cannot be
// read at the moment. It reports whether all others are loaded.
func (s *Spool) placesLocked(b *storedBatch) (places []*segment, loaded bool) {
	loaded = true
	known := map[uint64]*segment{}
	for _, f := range b.frames {
		g, ok := known[f.source]
		if !ok {
			if g = s.withFramesLocked(f.source); g == nil {
				g = s.toLoadLocked(f.source)
				loaded = loaded && g == nil
			}
			known[f.source] = g
		}
		places = append(places, g)
	}
	return places, loaded
}

// toLoadLocked returns the segment with a short id if it is not loaded and can be.
func (s *Spool) toLoadLocked(source uint64) *segment {
	for _, g := range s.segments {
		if !g.loaded && !g.skipped && !g.failed && g.header.id.short() == source {
			return g
		}
	}
	return nil
}

// nextTogether reads the frames of records that were sent together into one buffer. It returns nil
// if that is not possible, and gives them back: then they are read one by one.
func (s *Spool) nextTogether(ctx context.Context, records []*record, group int) (*linebuf.Buffer, error) {
	size := 0
	for _, r := range records {
		size += r.length
	}
	b, err := s.buffer(ctx, size)
	var damaged *record
	if err == nil {
		var ok bool
		if ok, damaged = s.readTogether(records, b, group); ok {
			return b, nil
		}
		s.o.Buffers.Put(b)
	}
	for _, r := range records {
		from := r.from
		if r == damaged {
			from += r.frames // it is in quarantine
		}
		s.giveBack(r, from, group)
	}
	return nil, err
}

// readTogether reads the frames of records into b. It reports whether all could be read and have
// the same framing, or else the one that was damaged.
func (s *Spool) readTogether(records []*record, b *linebuf.Buffer, group int) (ok bool, damaged *record) {
	runs := make([]linebuf.Run, 0, len(records))
	for i, r := range records {
		var one linebuf.Buffer
		one.B = b.B[len(b.B):len(b.B)]
		err := s.read(r, &one, group)
		switch {
		case err == nil && len(one.B) == 0:
			return false, r
		case err != nil:
			s.fault("read", "could not read a frame; it is tried again", err, r.segment, slog.Int64("offset", r.offset))
			return false, nil
		case i == 0:
			b.Framing, b.Read, b.Key = one.Framing, one.Read, one.Key
		case one.Framing != b.Framing || one.Key != b.Key:
			return false, nil
		}
		b.B = b.B[:len(b.B)+len(one.B)]
		b.Lines += one.Lines
		if one.Read.Before(b.Read) {
			b.Read = one.Read
		}
		runs = append(runs, linebuf.Run{First: r.mark(), Lines: one.Lines})
	}
	for _, r := range records {
		r.Origin = r.mark()
		b.Attach(&r.Receipt, 1<<group)
	}
	b.MarkRuns(runs)
	b.Batch = b.Origin
	return true, nil
}
