package spool

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
	"testing"
	"time"

	"linesplit/internal/framing"
)

// image is the content of a segment file.
type image struct {
	header header
	b      []byte
	next   uint32
	synced uint32 // of the next frame
}

func newImage() *image {
	i := &image{header: testHeader()}
	i.b = i.header.encode()
	return i
}

// frame adds a frame with lines.
func (i *image) frame(lines string) {
	f := frame{
		sequence: i.next, length: uint32(len(lines)), lines: uint32(bytes.Count([]byte(lines), []byte("\n"))),
		groups: 1, framing: framing.Newline, read: time.Unix(1700000000, 0), checksum: checksum([]byte(lines)),
		synced: i.synced, segment: i.header.number,
	}
	var head [frameHeader]byte
	f.encode(&head, i.header.id.short())
	at := len(i.b)
	i.b = append(append(append(i.b, head[:]...), lines...), make([]byte, frameAlign)...)[:at+int(extent(len(lines)))]
	i.next++
}

// hole adds a frame that a crash has left out.
func (i *image) hole(length int) {
	i.b = append(i.b, make([]byte, extent(length))...)
	i.next++
}

// scanned is a frame that a scan has found.
type scannedFrame struct {
	frame
	at int64
	ok bool // its lines are what was written
}

// countGood returns how many frames have the lines that were written.
func countGood(frames []scannedFrame) (n int) {
	for _, f := range frames {
		if f.ok {
			n++
		}
	}
	return n
}

func scanAll(b []byte, id uint64) (frames []scannedFrame, damage [][2]int64) {
	return scanFile(b, id, false)
}

func scanFile(b []byte, id uint64, reused bool) (frames []scannedFrame, damage [][2]int64) {
	h := testHeader()
	binary.LittleEndian.PutUint64(h.id[:], id)
	h.reused = reused
	return scanWith(newScanner(bytes.NewReader(b), &h, int64(len(b))), b)
}

func scanWith(c *scanner, b []byte) (frames []scannedFrame, damage [][2]int64) {
	c.damage = func(from, to int64) { damage = append(damage, [2]int64{from, to}) }
	for {
		f, at, ok := c.frame()
		if !ok {
			return frames, damage
		}
		lines := make([]byte, min(int(f.length), len(b)))
		_, err := readLines(bytes.NewReader(b), at, &f, lines)
		frames = append(frames, scannedFrame{f, at, err == nil && len(lines) == int(f.length)})
	}
}

func TestScanGoesOnBehindHoles(t *testing.T) {
	i := newImage()
	for n := range 10 {
		if n%3 == 1 {
			i.hole(100 + 1000*n)
		} else {
			i.frame(numbered(0, 1+100*n))
		}
	}
	i.b = append(i.b, make([]byte, 300*kib)...) // what was made ahead
	frames, damage := scanAll(i.b, i.header.id.short())
	var got []uint32
	for _, f := range frames {
		got = append(got, f.sequence)
		if !f.ok {
			t.Errorf("the lines of frame %d are wrong", f.sequence)
		}
	}
	if want := []uint32{0, 2, 3, 5, 6, 8, 9}; !slices.Equal(got, want) || damage != nil {
		t.Errorf("found %v and damage at %v", got, damage)
	}
}

// A byte is wrong at each offset of a segment in turn. That costs one frame at most, never those
// behind it, and is noticed.
func TestDamageAtEveryOffset(t *testing.T) {
	i := newImage()
	for n := range 8 {
		i.frame(numbered(10*n, 10*n+n+1))
	}
	id := i.header.id.short()
	whole, _ := scanAll(i.b, id)
	for offset := headerBlock; offset < len(i.b); offset++ {
		b := slices.Clone(i.b)
		b[offset] ^= 1
		frames, damage := scanAll(b, id)
		good := 0
		for _, f := range frames {
			if f.ok {
				good++
			}
			if f.ok && !slices.Contains(whole, f) {
				t.Fatalf("byte %d: frame %d was not written like that", offset, f.sequence)
			}
		}
		padding := true
		for _, f := range whole {
			padding = padding && (int64(offset) < f.at || int64(offset) >= f.at+frameHeader+int64(f.length))
		}
		switch {
		case padding && good != len(whole):
			t.Fatalf("byte %d between frames: %d frames of %d", offset, good, len(whole))
		case !padding && good != len(whole)-1:
			t.Fatalf("byte %d: %d frames of %d", offset, good, len(whole))
		case !padding && len(frames) != len(whole) && len(damage) == 0:
			t.Fatalf("byte %d: a frame is missing, and nothing is noticed", offset)
		}
	}
}

// A file ends at each offset of a segment in turn.
func TestCutOffAtEveryOffset(t *testing.T) {
	i := newImage()
	for n := range 8 {
		i.frame(numbered(10*n, 10*n+n+1))
	}
	id := i.header.id.short()
	whole, _ := scanAll(i.b, id)
	for size := range len(i.b) {
		frames, _ := scanAll(i.b[:size], id)
		good := countGood(frames)
		want := 0
		for _, f := range whole {
			if f.at+frameHeader+int64(f.length) <= int64(size) {
				want++
			}
		}
		if good != want {
			t.Fatalf("%d bytes: %d frames of %d", size, good, want)
		}
	}
}

// errUnreadable is the error of a bad sector.
var errUnreadable = errors.New("bad sector")

// badSectors is a file of which some pages cannot be read.
type badSectors struct {
	*bytes.Reader
	bad map[int64]bool // by number of the page
}

func (b badSectors) ReadAt(p []byte, at int64) (int, error) {
	for i := at / scanPage; i*scanPage < at+int64(len(p)); i++ {
		if b.bad[i] {
			n, err := b.Reader.ReadAt(p[:max(0, i*scanPage-at)], at)
			return n, errors.Join(errUnreadable, err)
		}
	}
	return b.Reader.ReadAt(p, at)
}

func TestScanGoesOnBehindBadSectors(t *testing.T) {
	i := newImage()
	for n := range 300 {
		i.frame(numbered(100*n, 100*n+50))
	}
	file := badSectors{bytes.NewReader(i.b), map[int64]bool{3: true, 20: true, 21: true}}
	c := newScanner(file, &i.header, int64(len(i.b)))
	found := 0
	for {
		if _, _, ok := c.frame(); !ok {
			break
		}
		found++
	}
	if found < 270 || found == 300 || c.unreadable <= 2*scanPage || c.unreadable > 3*scanPage || !errors.Is(c.err, errUnreadable) {
		t.Errorf("found %d frames; %d bytes unreadable: %v", found, c.unreadable, c.err)
	}
}

// A frame cannot claim a number that its place in the file does not allow: the index of a segment
// has an entry for each number up to the highest.
func TestScanRefusesImpossibleSequence(t *testing.T) {
	i := newImage()
	i.frame(numbered(0, 10))
	i.next = 1 << 30
	i.frame(numbered(10, 20))
	i.next = 2
	i.frame(numbered(20, 30))
	frames, damage := scanAll(i.b, i.header.id.short())
	if len(frames) != 2 || frames[1].sequence != 2 || len(damage) != 1 {
		t.Errorf("found %v, damage at %v", frames, damage)
	}
}

func TestFindID(t *testing.T) {
	i := newImage()
	i.hole(1000)
	i.frame(numbered(0, 10))
	clear(i.b[:headerBlock])
	if id, ok := findID(bytes.NewReader(i.b), i.header.number, int64(len(i.b))); !ok || id != i.header.id.short() {
		t.Errorf("found %x, %v", id, ok)
	}
	if _, ok := findID(bytes.NewReader(i.b), i.header.number+1, int64(len(i.b))); ok {
		t.Error("found a frame of a segment that had the file before")
	}
	if _, ok := findID(bytes.NewReader(make([]byte, mib)), 1, mib); ok {
		t.Error("found an id in zeros")
	}
}

// FuzzScan scans segments with arbitrary changes. Frames are in order and do not overlap, and each
// byte that is not zero is in a frame or reported. In files that were used before, less is
// reported.
func FuzzScan(f *testing.F) {
	i := newImage()
	for n := range 4 {
		i.frame(numbered(10*n, 10*n+n+1))
	}
	f.Add(i.b[headerBlock:])
	i.hole(70)
	i.frame("x\n")
	f.Add(i.b[headerBlock:])
	f.Add([]byte("LFRM"))
	f.Fuzz(func(t *testing.T, content []byte) {
		b := append(make([]byte, headerBlock, headerBlock+len(content)), content...)
		frames, damage := scanAll(b, i.header.id.short())
		if err := checkCover(b, frames, damage); err != nil {
			t.Fatal(err)
		}
		again, some := scanUsed(b, i.header.id.short())
		if !slices.Equal(again, frames) {
			t.Fatalf("found %v; in a file that was used before %v", frames, again)
		}
		within := func(d [2]int64) bool {
			return slices.ContainsFunc(damage, func(all [2]int64) bool { return all[0] <= d[0] && d[1] <= all[1] })
		}
		for _, d := range some {
			if !within(d) {
				t.Fatalf("damage at %v; in a file that was used before at %v", damage, d)
			}
		}
	})
}

func checkCover(b []byte, frames []scannedFrame, damage [][2]int64) error {
	covered := make([]bool, len(b))
	cover := func(from, to int64) error {
		for at := from; at < min(to, int64(len(b))); at++ {
			if covered[at] {
				return fmt.Errorf("byte %d is found twice", at)
			}
			covered[at] = true
		}
		return nil
	}
	next, end := uint32(0), int64(headerBlock)
	for _, f := range frames {
		if f.sequence < next || f.at < end || f.at%frameAlign != 0 {
			return fmt.Errorf("frame %d at %d comes behind frame %d, which ends at %d", f.sequence, f.at, next, end)
		}
		next, end = f.sequence+1, f.at+extent(int(f.length))
		if err := cover(f.at, end); err != nil {
			return err
		}
	}
	for _, d := range damage {
		if err := cover(d[0], d[1]); err != nil {
			return err
		}
	}
	for at, c := range b {
		if c != 0 && !covered[at] {
			return fmt.Errorf("byte %d is not zero, and not reported", at)
		}
	}
	return nil
}

var _ io.ReaderAt = badSectors{}
