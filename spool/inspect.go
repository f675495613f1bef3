package spool

import (
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"
	"strings"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// Inspect reports what is in the directory of a spool that no process uses, and changes nothing. It
// reads the headers of all frames, but no lines. Damage is in the report. The error is that of ctx,
// of the directory, or of an unknown format.
func Inspect(ctx context.Context, dir string) (*Report, error) {
	return inspect(ctx, OS, dir, func(*Report, *stored) error { return nil })
}

// Verify is Inspect that also reads all lines and compares their checksums. It calls progress,
// unless that is nil, with the bytes of segments that it has read and of all segments.
func Verify(ctx context.Context, dir string, progress func(done, total int64)) (*Report, error) {
	return verify(ctx, OS, dir, progress)
}

func verify(ctx context.Context, fsys FS, dir string, progress func(done, total int64)) (*Report, error) {
	buffer := make([]byte, scanAhead)
	return inspect(ctx, fsys, dir, func(r *Report, f *stored) error {
		if err := f.sum(buffer); err != nil {
			r.addDamage(f, err)
		}
		if progress != nil {
			progress(r.read+min(f.size, f.at+extent(int(f.length))), r.Bytes)
		}
		return nil
	})
}

// addDamage counts a frame whose lines are damaged.
func (r *Report) addDamage(f *stored, err error) {
	if f.waiting == 0 {
		r.addFault(f.name, "frame %d at %d, which is confirmed: %v", f.sequence, f.at, err)
		return
	}
	r.addFault(f.name, "frame %d at %d: %v", f.sequence, f.at, err)
	r.Damaged.Add(f.frame.count())
	r.DamagedFrames++
}

// sum reads the lines of a frame piece by piece, and returns errPayload if they are not those that
// were written.
func (f *stored) sum(buffer []byte) error {
	sum := uint32(0)
	for at, left := f.at+frameHeader, int64(f.length); left > 0; {
		piece := buffer[:min(left, int64(len(buffer)))]
		n, err := f.file.ReadAt(piece, at)
		switch {
		case n < len(piece) && err == io.EOF:
			return errPayload
		case n < len(piece):
			return fmt.Errorf("read %d bytes at %d: %w", len(piece), at, err)
		}
		sum = crc32.Update(sum, castagnoli, piece)
		at, left = at+int64(n), left-int64(n)
	}
	if sum != f.checksum {
		return errPayload
	}
	return nil
}

func inspect(ctx context.Context, fsys FS, dir string, visit func(*Report, *stored) error) (*Report, error) {
	o, err := openOffline(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer o.close()
	r := &Report{Dir: dir}
	if err := o.each(ctx, r, func(f *stored) error { return visit(r, f) }); err != nil {
		return nil, err
	}
	return r, o.eachQuarantined(r, func(*kept) error { return ctx.Err() })
}

// ExportOptions choose the lines to export.
type ExportOptions struct {
	// Group selects the lines that this group has not confirmed. Empty: those that any group has
	// not confirmed, each once.
	Group string
	// Quarantined exports the content of the quarantine, as it is, in place of the lines that wait.
	Quarantined bool
	// Framing is how the exported lines end. Lines of another framing are rewritten; Embedded says
	// how to treat a delimiter within a line then.
	Framing  framing.Framing
	Embedded framing.Embedded
}

// Exported is the account of an export.
type Exported struct {
	linebuf.Count        // of the lines as they are in the spool, Refused included
	Altered       uint64 // lines in which a delimiter was replaced
	Refused       uint64 // lines left out because of ExportOptions.Embedded
	Report        *Report
}

// Export writes the lines of a spool that no process uses to w, oldest first, and changes nothing
// in the spool. It leaves out damaged frames, which the report counts. If it cannot open a segment
// it exports the others, and returns an error. The account is nil if the spool could not be opened;
// with any other error it counts what was exported before.
func Export(ctx context.Context, dir string, o ExportOptions, w io.Writer) (*Exported, error) {
	return export(ctx, OS, dir, o, w)
}

func export(ctx context.Context, fsys FS, dir string, o ExportOptions, w io.Writer) (*Exported, error) {
	spool, err := openOffline(fsys, dir)
	if err != nil {
		return nil, err
	}
	defer spool.close()
	e := &exporter{ExportOptions: o, w: w, Exported: Exported{Report: &Report{Dir: dir}}}
	if o.Quarantined {
		err = spool.eachQuarantined(e.Report, func(k *kept) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return e.writeKept(k)
		})
	} else {
		err = spool.each(ctx, e.Report, e.write)
	}
	if err == nil {
		err = e.Report.skipped
	}
	if err == nil {
		err = e.checkGroup()
	}
	return &e.Exported, err
}

// exporter is one run of Export.
type exporter struct {
	ExportOptions
	Exported
	w           io.Writer
	lines, text []byte // used again for each frame
}

// checkGroup returns an error if no segment knows the group of the options: most likely its name is
// misspelt.
func (e *exporter) checkGroup() error {
	r := e.Report
	if e.Group == "" || e.Quarantined || len(r.Segments) == 0 ||
		slices.ContainsFunc(r.Groups, func(g GroupReport) bool { return g.Name == e.Group }) {
		return nil
	}
	var names []string
	for _, g := range r.Groups {
		names = append(names, g.Name)
	}
	return fmt.Errorf("no segment has lines for a group %q: there are %s", e.Group, strings.Join(names, ", "))
}

// write writes the lines of a frame that waits for the group.
func (e *exporter) write(f *stored) error {
	if !f.waitsFor(e.Group) {
		return nil
	}
	if err := e.read(f); err != nil {
		e.Report.addDamage(f, err)
		return nil
	}
	text := e.lines
	if f.framing != e.Framing {
		rewrite := framing.Rewrite{From: f.framing, To: e.Framing, Embedded: e.Embedded}
		var o framing.Outcome
		e.text, o = rewrite.Append(e.text[:0], e.lines)
		e.Altered += uint64(o.Altered)
		e.Refused += uint64(o.Refused)
		text = e.text
	}
	e.Count.Add(f.frame.count())
	if _, err := e.w.Write(text); err != nil {
		return fmt.Errorf("write lines: %w", err)
	}
	return nil
}

// errNotWhole is the error of a frame whose checksum is right and whose last line has no end.
var errNotWhole = errors.New("it does not end with a whole line")

// read reads the lines of a frame.
func (e *exporter) read(f *stored) error {
	if f.at+frameHeader+int64(f.length) > f.size {
		return errPayload
	}
	e.lines = slices.Grow(e.lines[:0], int(f.length))[:f.length]
	if _, err := readLines(f.file, f.at, &f.frame, e.lines); err != nil {
		return err
	}
	if f.framing.Start(e.lines, len(e.lines)) != len(e.lines) {
		return errNotWhole
	}
	return nil
}
