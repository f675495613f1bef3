package spool

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"strings"
	"testing"
	"time"

	"linesplit/internal/framing"
	"linesplit/linebuf"
)

// segmentFile is a segment as another program could write it: from the description of the format,
// not by the code of the spool.
type segmentFile struct {
	id     segmentID
	number uint64
	groups []string
	bytes  []byte // frames, behind the header
	frames uint32
}

func newSegmentFile(number uint64, groups ...string) *segmentFile {
	s := &segmentFile{number: number, groups: groups}
	copy(s.id[:], fmt.Sprintf("id-%013d", number))
	return s
}

// add adds a frame, and returns the offset of its lines in the file.
func (s *segmentFile) add(text string, groups uint16, f framing.Framing, read time.Time) (at int) {
	var h [64]byte
	copy(h[:], "LFRM")
	binary.LittleEndian.PutUint32(h[4:], s.frames)
	copy(h[8:16], s.id[:8])
	binary.LittleEndian.PutUint32(h[16:], uint32(len(text)))
	binary.LittleEndian.PutUint32(h[20:], uint32(f.Count([]byte(text))))
	binary.LittleEndian.PutUint16(h[24:], groups)
	h[26] = byte(f)
	table := crc32.MakeTable(crc32.Castagnoli)
	binary.LittleEndian.PutUint32(h[28:], crc32.Checksum([]byte(text), table))
	binary.LittleEndian.PutUint64(h[32:], uint64(read.UnixNano()))
	binary.LittleEndian.PutUint32(h[60:], crc32.Checksum(h[:60], table))
	s.bytes = append(append(s.bytes, h[:]...), text...)
	at = 4096 + len(s.bytes) - len(text)
	s.bytes = append(s.bytes, make([]byte, -len(s.bytes)&63)...)
	s.frames++
	return at
}

// confirmations returns the file of confirmations of frames of a group below 4032.
func (s *segmentFile) confirmations(group int, frames ...int) []byte {
	table := crc32.MakeTable(crc32.Castagnoli)
	b := make([]byte, 512*(1+len(s.groups)))
	copy(b, "lsdone\r\n")
	binary.LittleEndian.PutUint32(b[8:], 1)
	copy(b[12:28], s.id[:])
	binary.LittleEndian.PutUint32(b[28:], uint32(len(s.groups)))
	binary.LittleEndian.PutUint32(b[508:], crc32.Checksum(b[:508], table))
	for g := range s.groups {
		bits := b[512*(1+g):][:512]
		for _, n := range frames {
			if g == group {
				bits[n/8] |= 1 << (n % 8)
			}
		}
		copy(bits[504:], "DONE")
		place := append(bytes.Clone(s.id[:]), byte(g), 0, 0, 0, 0, 0, 0, 0)
		binary.LittleEndian.PutUint32(bits[508:], crc32.Update(crc32.Checksum(place, table), table, bits[:508]))
	}
	return b
}

// content returns the file.
func (s *segmentFile) content() []byte {
	b := make([]byte, 2048)
	copy(b, "lspool\r\n")
	binary.LittleEndian.PutUint32(b[8:], 1)
	copy(b[12:28], s.id[:])
	binary.LittleEndian.PutUint64(b[28:], s.number)
	binary.LittleEndian.PutUint64(b[36:], uint64(time.Unix(1000, 0).UnixNano()))
	binary.LittleEndian.PutUint16(b[44:], uint16(len(s.groups)))
	at := 46
	for _, name := range s.groups {
		b[at] = byte(len(name))
		at += 1 + copy(b[at+1:], name)
	}
	binary.LittleEndian.PutUint32(b[2044:], crc32.Checksum(b[:2044], crc32.MakeTable(crc32.Castagnoli)))
	return append(append(b, b...), s.bytes...)
}

// put makes a file with a content in the directory of a spool.
func (d *diskFS) put(t *testing.T, name string, content []byte) {
	t.Helper()
	for _, dir := range []string{"/", "/spool", "/spool/quarantine"} {
		mustDo(t, d.boot().Mkdir(dir))
	}
	f, err := d.boot().Create("/spool/" + name)
	mustDo(t, err)
	_, err = f.Writev(0, [][]byte{content})
	mustDo(t, errors.Join(err, f.Close()))
}

// exported returns the lines of an export, and its account.
func exported(t *testing.T, d *diskFS, o ExportOptions) (string, *Exported) {
	t.Helper()
	var b strings.Builder
	e, err := export(t.Context(), d.boot(), "/spool", o, &b)
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), e
}

// A spool that was written by the description of the format is read as it was meant.
func TestInspectReadsTheFormat(t *testing.T) {
	d := newDiskFS()
	first, second := newSegmentFile(1, "main", "archive"), newSegmentFile(12, "other", "main")
	first.add("one\ntwo\n", 0b11, framing.Newline, time.Unix(2000, 0))
	first.add("three\n", 0b01, framing.Newline, time.Unix(3000, 0))
	first.add("4 four5 fi\nve", 0b10, framing.Octet, time.Unix(4000, 0))
	second.add("six\x00seven\x00", 0b11, framing.NUL, time.Unix(1500, 0))
	d.put(t, "00000001.seg", first.content())
	d.put(t, "00000001.done", first.confirmations(0, 0))
	d.put(t, "00000012.seg", second.content())
	r, err := verify(t.Context(), d.boot(), "/spool", nil)
	if err != nil {
		t.Fatal(err)
	}
	if !r.OK() || r.Unconfirmed != (linebuf.Count{Lines: 7, Bytes: 37}) || !r.Oldest.Equal(time.Unix(1500, 0)) {
		t.Errorf("%+v", r)
	}
	want := map[string]linebuf.Count{"main": {Lines: 3, Bytes: 16}, "archive": {Lines: 4, Bytes: 21}, "other": {Lines: 2, Bytes: 10}}
	for name, count := range want {
		if got := r.group(name).Waiting; got != count {
			t.Errorf("%s: %v, want %v", name, got, count)
		}
	}
	for _, test := range []struct {
		o    ExportOptions
		want string
	}{
		{ExportOptions{}, "one\ntwo\nthree\nfour\nfi\\nve\nsix\nseven\n"},
		{ExportOptions{Group: "main"}, "three\nsix\nseven\n"},
		{ExportOptions{Group: "archive", Framing: framing.Octet}, "3 one3 two4 four5 fi\nve"},
		{ExportOptions{Group: "archive", Embedded: framing.Refuse}, "one\ntwo\nfour\n"},
	} {
		if got, _ := exported(t, d, test.o); got != test.want {
			t.Errorf("%+v: %q, want %q", test.o, got, test.want)
		}
	}
}

// Confirmations of another segment, or damaged ones, confirm nothing.
func TestConfirmationsThatLie(t *testing.T) {
	s, other := newSegmentFile(1, "main"), newSegmentFile(2, "main")
	s.add("one\n", 1, framing.Newline, time.Unix(1, 0))
	good := s.confirmations(0, 0)
	damaged := bytes.Clone(good)
	damaged[600] ^= 1
	for name, test := range map[string]struct {
		done  []byte
		want  uint64
		fault string
	}{
		"none":                {nil, 1, ""},
		"empty":               {[]byte{}, 1, ""},
		"good":                {good, 0, ""},
		"of another segment":  {other.confirmations(0, 0), 1, "does not belong to 00000001.seg"},
		"a damaged block":     {damaged, 1, "block 0 of group 0 is damaged"},
		"cut off in a block":  {good[:700], 1, "block 0 of group 0 is damaged"},
		"cut off in its head": {good[:100], 1, "does not belong to 00000001.seg"},
		"only its head":       {good[:512], 1, ""},
	} {
		d := newDiskFS()
		d.put(t, "00000001.seg", s.content())
		if test.done != nil {
			d.put(t, "00000001.done", test.done)
		}
		r, err := verify(t.Context(), d.boot(), "/spool", nil)
		if err != nil || r.Unconfirmed.Lines != test.want || r.OK() != (test.fault == "") || !strings.Contains(fmt.Sprint(r.Faults), test.fault) {
			t.Errorf("%s: %v, %+v", name, err, r)
		}
	}
}

// What is damaged is counted and left out, and everything else is read.
func TestInspectWithDamage(t *testing.T) {
	d := newDiskFS()
	s := newSegmentFile(1, "main", "archive")
	s.add("good\n", 0b11, framing.Newline, time.Unix(1, 0))
	at := s.add("damaged\n", 0b01, framing.Newline, time.Unix(1, 0))
	headless := s.add("without a header\n", 0b01, framing.Newline, time.Unix(1, 0))
	s.add("good as well\n", 0b10, framing.Newline, time.Unix(1, 0))
	d.put(t, "00000001.seg", s.content())
	d.damage("/spool/00000001.seg", 0)
	d.damage("/spool/00000001.seg", at)
	d.damage("/spool/00000001.seg", headless-64)
	d.put(t, "00000002.seg", nil)
	d.put(t, "00000003.seg", make([]byte, 8192)) // made ahead by a process that was killed
	r, err := verify(t.Context(), d.boot(), "/spool", nil)
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprint(r.Faults)
	for _, want := range []string{
		"one of the two copies of its header is damaged", "frame 1 at 4224: the lines of the frame are damaged",
		"bytes 4352 to 4480 belong to no frame",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in %s", want, text)
		}
	}
	if r.DamagedFrames != 1 || r.Damaged != (linebuf.Count{Lines: 1, Bytes: 8}) || len(r.Faults) != 3 {
		t.Errorf("%+v", r)
	}
	got, e := exported(t, d, ExportOptions{})
	if got != "good\ngood as well\n" || e.Lines != 2 || e.Report.DamagedFrames != 1 {
		t.Errorf("%q, %+v", got, e)
	}

	d.damage("/spool/00000001.seg", 3000) // the other copy
	r, err = verify(t.Context(), d.boot(), "/spool", nil)
	if err != nil || r.Unconfirmed.Lines != 3 || !strings.Contains(fmt.Sprint(r.Faults), "its header is damaged: all of its lines go to all groups") {
		t.Errorf("%v, %+v", err, r)
	}
}

func TestSpoolsThatCannotBeRead(t *testing.T) {
	d := newDiskFS()
	mustDo(t, d.boot().Mkdir("/"))
	mustDo(t, d.boot().Mkdir("/spool"))
	inspectAll := func(want string) {
		t.Helper()
		_, err := verify(t.Context(), d.boot(), "/spool", nil)
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if _, err := export(t.Context(), d.boot(), "/spool", ExportOptions{}, &strings.Builder{}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Export: %v, want %q", err, want)
		}
	}
	inspectAll("/spool is no directory of a spool: it has no segments, such as 00000001.seg")

	lock, err := d.boot().Lock("/spool/lock", false)
	mustDo(t, err)
	inspectAll("/spool is in use by a running linesplit: see linesplit ctl spool")
	mustDo(t, lock.Close())

	newer := newSegmentFile(1, "main").content()
	for _, at := range []int{0, 2048} {
		newer[at+8] = 2
		binary.LittleEndian.PutUint32(newer[at+2044:], crc32.Checksum(newer[at:at+2044], castagnoli))
	}
	d.put(t, "00000001.seg", newer)
	inspectAll("00000001.seg: format 2, of which this version of linesplit knows only 1")
}

// An export ends when it is interrupted, and when its output fails.
func TestExportEnds(t *testing.T) {
	d := newDiskFS()
	s := newSegmentFile(1, "main")
	s.add("one\n", 1, framing.Newline, time.Unix(1, 0))
	d.put(t, "00000001.seg", s.content())
	d.put(t, "quarantine/00000001-0123456789abcdef-00004096.frame", s.content())
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, quarantined := range []bool{false, true} {
		o := ExportOptions{Quarantined: quarantined}
		if _, err := export(ctx, d.boot(), "/spool", o, &strings.Builder{}); !errors.Is(err, context.Canceled) {
			t.Errorf("quarantined %v: %v", quarantined, err)
		}
		if _, err := export(t.Context(), d.boot(), "/spool", o, brokenWriter{}); !errors.Is(err, errBroken) {
			t.Errorf("quarantined %v: %v", quarantined, err)
		}
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

// What a spool has put into quarantine is exported as it is, the readable part of a segment
// included.
func TestExportOfTheQuarantine(t *testing.T) {
	d := newDiskFS()
	s := newSegmentFile(1, "main", "archive")
	s.add("spoiled", 0b10, framing.Newline, time.Unix(1, 0))
	damaged := s.content()
	damaged[len(damaged)-60] ^= 1
	second := s.add("second\n", 0b11, framing.Newline, time.Unix(1, 0))
	content := s.content()
	d.put(t, "quarantine/00000001-0123456789abcdef-00004224.frame", append(content[:4096:4096], content[second-64:second+7]...))
	d.put(t, "quarantine/00000001-0123456789abcdef-00005000.frame", content[:4096])
	d.put(t, "quarantine/00000001-0123456789abcdef-00008192.raw", append(newSegmentFile(1, "main").content(), "raw bytes"...))
	d.put(t, "quarantine/00000001-0123456789abcdef.seg", damaged)
	d.put(t, "quarantine/notes.txt", []byte("not ours"))
	d.put(t, "lock", nil)
	got, e := exported(t, d, ExportOptions{Quarantined: true})
	if got != "second\nraw bytes\n"+got[len(got)-8:] || len(got) != 25 || len(e.Report.Faults) != 1 {
		t.Errorf("%q, %+v", got, e.Report)
	}
	if e.Report.QuarantinedFrames != 1 || e.Report.QuarantinedBytes != 9+int64(len(damaged)) {
		t.Errorf("%+v", e.Report)
	}
	if got, _ := exported(t, d, ExportOptions{Quarantined: true, Group: "main"}); got != "second\n" {
		t.Errorf("for another group: %q", got)
	}
}

// Neither content of the files makes the tools panic, hang or write what was never there.
func FuzzOffline(f *testing.F) {
	s := newSegmentFile(1, "main", "archive")
	s.add("one\ntwo\n", 0b11, framing.Newline, time.Unix(1, 0))
	s.add("3 abc", 0b01, framing.Octet, time.Unix(1, 0))
	f.Add(s.content(), s.confirmations(1, 0))
	f.Add(s.content()[:4200], []byte{})
	f.Add([]byte{}, []byte("x"))
	f.Fuzz(func(t *testing.T, segment, done []byte) {
		d := newDiskFS()
		d.put(t, "00000001.seg", segment)
		d.put(t, "00000001.done", done)
		d.put(t, "quarantine/00000001-0123456789abcdef-00004096.frame", segment)
		d.put(t, "quarantine/00000001-0123456789abcdef-00004096.raw", segment)
		r, err := verify(t.Context(), d.boot(), "/spool", func(done, total int64) {
			if done > total {
				t.Errorf("%d of %d bytes", done, total)
			}
		})
		if err != nil {
			return // another version
		}
		var out strings.Builder
		e, err := export(t.Context(), d.boot(), "/spool", ExportOptions{Framing: framing.Octet}, &out)
		if err != nil || e.Count.Bytes+e.Report.Damaged.Bytes != r.Unconfirmed.Bytes {
			t.Errorf("%v: exported %v of %v, %v damaged", err, e.Count, r.Unconfirmed, e.Report.Damaged)
		}
		if _, err := export(t.Context(), d.boot(), "/spool", ExportOptions{Quarantined: true}, &out); err != nil {
			t.Error(err)
		}
	})
}
