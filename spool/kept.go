package spool

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"linesplit/linebuf"
)

// kept is a damaged frame in quarantine, or bytes that belong to no frame.
type kept struct {
	stored
	whole bool // a frame, whose header is good; otherwise length has the number of bytes
}

// eachQuarantined reports what is in quarantine, and calls visit for each damaged frame and each
// run of bytes there. It ends with the first error of visit.
func (o *offline) eachQuarantined(r *Report, visit func(*kept) error) error {
	dir := path(o.dir, quarantineName)
	entries, err := o.fs.List(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		r.addFault(quarantineName, "%v", err)
		return nil
	}
	for _, entry := range entries {
		if !entry.Regular || !isQuarantined(entry.Name) {
			continue
		}
		name := path(quarantineName, entry.Name)
		file, err := o.fs.OpenRead(path(dir, entry.Name))
		if err != nil {
			r.addFault(name, "%v", err)
			continue
		}
		err = o.readKept(r, file, name, entry, visit)
		if closeErr := file.Close(); err == nil && closeErr != nil {
			r.addFault(name, "%v", closeErr)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readKept reads one file in quarantine.
func (o *offline) readKept(r *Report, file File, name string, entry Entry, visit func(*kept) error) error {
	h, err := readHeader(r, file, name)
	if err != nil {
		r.addFault(name, "%v", err)
		return nil
	}
	one := stored{file: file, name: name, size: entry.Size, groups: h.groups}
	if strings.HasSuffix(name, rawSuffix) {
		one.at, one.length = headerBlock, uint32(min(max(0, entry.Size-headerBlock), maxLength))
		r.QuarantinedBytes += int64(one.length)
		return visit(&kept{stored: one})
	}
	if strings.HasSuffix(name, frameSuffix) {
		head := make([]byte, frameHeader)
		n, err := file.ReadAt(head, headerBlock)
		f, ok := decodeFrame(head[:n], h.id.short())
		if !ok {
			r.addFault(name, "it has no frame (%v)", err)
			return nil
		}
		r.Quarantined.Add(f.count())
		r.QuarantinedFrames++
		one.frame, one.at, one.waiting = f, headerBlock, f.groups
		return visit(&kept{stored: one, whole: true})
	}
	r.QuarantinedBytes += entry.Size // most of its lines are delivered, which is not known of any
	scan := newScanner(file, &h, entry.Size)
	for {
		f, at, ok := scan.frame()
		if !ok {
			return nil
		}
		one.frame, one.at, one.waiting = f, at, f.groups
		if err := visit(&kept{stored: one, whole: true}); err != nil {
			return err
		}
	}
}

// writeKept writes bytes in quarantine as they are, as far as they can be read. It adds a newline
// unless they end with one.
func (e *exporter) writeKept(k *kept) error {
	if e.Group != "" && !(k.whole && k.waitsFor(e.Group)) {
		return nil
	}
	at, left := k.at, int64(k.length)
	if k.whole {
		at += frameHeader
	}
	left = min(left, k.size-at)
	e.text = append(e.text[:0], make([]byte, scanAhead)...)
	last := byte('\n')
	written := int64(0)
	for left > 0 {
		n, err := k.file.ReadAt(e.text[:min(left, scanAhead)], at)
		if n == 0 {
			e.Report.addFault(k.name, "%d bytes at %d cannot be read: %v", left, at, err)
			break
		}
		if _, err := e.w.Write(e.text[:n]); err != nil {
			return fmt.Errorf("write lines: %w", err)
		}
		last, at, left, written = e.text[n-1], at+int64(n), left-int64(n), written+int64(n)
	}
	e.Count.Add(linebuf.Count{Lines: uint64(k.lines), Bytes: uint64(written)})
	if last != '\n' {
		if _, err := io.WriteString(e.w, "\n"); err != nil {
			return fmt.Errorf("write lines: %w", err)
		}
	}
	return nil
}
