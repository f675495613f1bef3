package spool

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/framing"
)

// frugalFS lets a process have few files open.
type frugalFS struct {
	FS
	left int
}

func (f *frugalFS) OpenRead(name string) (File, error) {
	if f.left == 0 {
		return nil, syscall.EMFILE
	}
	file, err := f.FS.OpenRead(name)
	if err != nil {
		return nil, err
	}
	f.left--
	return &frugalFile{file, f}, nil
}

type frugalFile struct {
	File
	fs *frugalFS
}

func (f *frugalFile) Close() error {
	f.fs.left++
	return f.File.Close()
}

// An export had all segments open at once, and left out those for which there was no descriptor,
// without an error.
func TestExportOfManySegments(t *testing.T) {
	const n = 10
	d := newDiskFS()
	var want strings.Builder
	for i := range n {
		s := newSegmentFile(uint64(i+1), "main")
		s.add(numbered(i, i+1), 1, framing.Newline, time.Unix(1, 0))
		content := s.content()
		if i == 3 {
			clear(content[:headerBlock]) // it takes part, too
		}
		d.put(t, segmentName(s.number), content)
		d.put(t, doneName(s.number), s.confirmations(0))
		want.WriteString(numbered(i, i+1))
	}
	few := &frugalFS{d.boot(), 2} // a segment and its confirmations
	var out strings.Builder
	if _, err := export(t.Context(), few, "/spool", ExportOptions{}, &out); err != nil || out.String() != want.String() {
		t.Errorf("%v: exported %q", err, out.String())
	}
	if few.left != 2 {
		t.Errorf("%d files are open", 2-few.left)
	}

	for after := range 2 { // it cannot be opened, or not again
		out.Reset()
		bad := newFaultyFS(d.boot(), &fault{op: opOpen, of: segmentName(5), after: after, times: 1, err: syscall.EMFILE})
		e, err := export(t.Context(), bad, "/spool", ExportOptions{}, &out)
		if !errors.Is(err, syscall.EMFILE) || !strings.Contains(fmt.Sprint(err), segmentName(5)) {
			t.Errorf("the error is %v", err)
		}
		if e.Count.Lines != n-1 || out.String() != strings.Replace(want.String(), numbered(4, 5), "", 1) {
			t.Errorf("exported %q", out.String())
		}
	}
}
