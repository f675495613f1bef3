package spool

import (
	"io"

	"linesplit/linebuf"
)

// read reads the frames of r into b, which is empty. Damaged frames go to quarantine. Frames from
// the first with another framing or key on are given back, so that r covers what is in b. After an
// error r covers only its first frame, which could not be read.
func (s *Spool) read(r *record, b *linebuf.Buffer, group int) error {
	if !s.pin(r.segment) { // its lines have made room for others
		s.cut(r, 0, group)
		return nil
	}
	defer s.unpin(r.segment)
	if r.frames > 1 {
		err := s.readRun(r, b, group)
		if err == nil {
			return nil
		}
		if err != errPayload {
			s.fault("read", "could not read some frames at once; they are read one by one", err, r.segment)
		}
		s.cut(r, 1, group)
	}
	return s.readOne(r, b, group)
}

// pin keeps the files of a loaded segment open until unpin. It reports false if they are removed.
func (s *Spool) pin(g *segment) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if g.file == nil {
		return false
	}
	g.pins++
	return true
}

func (s *Spool) unpin(g *segment) {
	s.mu.Lock()
	defer s.mu.Unlock()
	g.pins--
	if g.gone {
		wake(s.wakeKeeper) // closes its files
	}
}

// readOne reads the one frame of r.
func (s *Spool) readOne(r *record, b *linebuf.Buffer, group int) error {
	g := r.segment
	n, err := g.file.ReadAt(r.head[:], r.offset)
	if n < len(r.head) && err != io.EOF {
		return err
	}
	f, ok := decodeFrame(r.head[:n], g.header.id.short())
	if !ok || f.sequence != r.from || int(f.length) != r.length {
		s.quarantine(g, r.from, group)
		return nil
	}
	lines := b.B[:f.length]
	_, err = readLines(g.file, r.offset, &f, lines)
	if err == errPayload {
		s.quarantine(g, r.from, group)
		return nil
	}
	if err == nil {
		b.B, b.Lines, b.Framing, b.Read, b.Key = lines, int(f.lines), f.framing, f.read, f.key
		s.replayed(f.count(), group)
	}
	return err
}

// readRun reads the frames of r, headers included, by one call, and moves their lines together.
func (s *Spool) readRun(r *record, b *linebuf.Buffer, group int) error {
	g := r.segment
	raw := b.B[:r.size]
	if n, err := g.file.ReadAt(raw, r.offset); n < len(raw) {
		return err
	}
	end, at := 0, 0
	var total linebuf.Count
	for i := range r.frames {
		f, ok := decodeFrame(raw[min(at, len(raw)):], g.header.id.short())
		ok = ok && f.sequence == r.from+i && at+frameHeader+int(f.length) <= len(raw)
		if !ok && i == 0 {
			return errPayload // the header has changed since the scan: readOne deals with that
		}
		if !ok || end > 0 && (f.framing != b.Framing || f.key != b.Key) {
			s.cut(r, i, group)
			break
		}
		lines := raw[at+frameHeader:][:f.length]
		at += int(extent(int(f.length)))
		if checksum(lines) != f.checksum {
			s.quarantine(g, r.from+i, group)
			continue
		}
		if end == 0 {
			b.Framing, b.Read, b.Key = f.framing, f.read, f.key
		}
		end += copy(raw[end:], lines)
		total.Add(f.count())
	}
	b.B, b.Lines = raw[:end], int(total.Lines)
	s.replayed(total, group)
	return nil
}

// replayed counts lines that Next returns.
func (s *Spool) replayed(c linebuf.Count, group int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.groups[group].replayed.Add(c)
}
