package spool

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// Rule 5: segments are made ahead, so that a full disk shows before lines are written.
func TestRule5FullDiskShowsAhead(t *testing.T) {
	f, fail := newHooks(), new(faultSwitch)
	f.allocate = func(string) error { return fail.get() }
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Segment = f, minSegment })
	r.append(numbered(0, 10), 1, 1)
	r.await("the next segment", func(s Stats) bool { return s.Segments == 2 })
	fail.set(syscall.ENOSPC)
	r.await("the active segment is used up, and the one that was ahead", func(Stats) bool {
		_, err := r.tryAppend(strings.Repeat("x", 8*kib-1)+"\n", 1, 1)
		return errors.Is(err, syscall.ENOSPC)
	})
	s := r.Stats()
	if s.WriteErrors != 0 || s.Faults == 0 || !strings.Contains(s.LastFault, "no space left") {
		t.Errorf("counted %+v", s)
	}
	appended := s.Appended
	if got := r.drain(0); uint64(len(got)) != appended.Bytes {
		t.Errorf("delivered %d bytes of %d", len(got), appended.Bytes)
	}
	fail.clear()
	for {
		room := r.Room()
		_, err := r.tryAppend("after\n", 1, 1)
		if err == nil {
			break
		}
		<-room
	}
}

// Rule 5: after a full disk, senders were held up for as long as the next attempt to make a segment
// was put off, although the removal of others had made room.
func TestRule5RemovalMakesRoomAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, fail := newHooks(), new(faultSwitch)
		f.allocate = func(string) error { return fail.get() }
		r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Segment = f, minSegment })
		r.append(numbered(0, 10), 1, 1)
		r.await("the next segment", func(s Stats) bool { return s.Segments == 2 })
		fail.set(syscall.ENOSPC)
		r.await("the disk is full", func(Stats) bool {
			_, err := r.tryAppend(fill(0), 1, 1)
			return errors.Is(err, syscall.ENOSPC)
		})
		faults := r.Stats().Faults
		r.await("attempts are put off for seconds", func(s Stats) bool { return s.Faults >= faults+6 })
		fail.clear()
		began := time.Now()
		r.drain(0)
		for _, err := r.tryAppend(fill(1), 1, 1); err != nil; _, err = r.tryAppend(fill(1), 1, 1) {
			<-r.Room()
		}
		if took := time.Since(began); took > time.Second {
			t.Errorf("there was no room for %v after all lines were confirmed", took)
		}
	})
}

// Rule 5: Append is held up when Size is used up, until lines are confirmed.
func TestRule5FullSpoolHoldsUp(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) { o.Size, o.Segment = mib, minSegment })
	r.fill()
	s := r.Stats()
	if s.Bytes > mib || s.Bytes < mib-minSegment || !s.Full || s.Dropped.Lines != 0 {
		t.Errorf("a full spool: %+v", s)
	}
	room := r.Room()
	select {
	case <-room:
		t.Fatal("there is room in a full spool")
	default:
	}
	for range 6 { // all that is in two segments
		r.pool.Put(r.next(0))
	}
	<-room
	r.append("again\n", 1, 1)
}

// Rule 5: Append reported a full spool while the last segment that Size allows was being made.
func TestRule5SegmentInTheMakingIsRoom(t *testing.T) {
	f, gate := newHooks(), make(chan struct{})
	open := sync.OnceFunc(func() { close(gate) })
	defer open()
	segments := 0
	f.allocate = func(string) error {
		if segments++; segments == MinSize/minSegment {
			<-gate
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Size, o.Segment = f, MinSize, minSegment })
	frames := minSegment / len(fill(0)) * (MinSize/minSegment - 1)
	for n := range frames { // all that the segments before it can hold
		r.append(fill(n), 1, 1)
	}
	b := r.buffer(fill(frames))
	room := r.Room()
	if _, err := r.Append(b, 1, 1); err != ErrBusy {
		t.Fatalf("Append returns %v", err)
	}
	open()
	<-room
	r.pool.Put(b)
	r.append(fill(frames), 1, 1)
	r.fill()
}

// fill appends frames of 8 KiB until the spool is full.
func (r *rig) fill() {
	r.t.Helper()
	for n := 0; ; n++ {
		_, err := r.tryAppend(fill(n), 1, 1)
		if err == ErrFull {
			return
		}
		must(r.t, err)
	}
}

// fill returns a line of 8 KiB that ends in a number.
func fill(i int) string { return strings.Repeat("x", 8*kib) + numbered(i, i+1) }

// Rule 5: with DropOldest the oldest lines make room for new ones, and are counted.
func TestRule5DropOldestCounts(t *testing.T) {
	r := start(t, t.TempDir(), func(o *Options) {
		o.Size, o.Segment, o.DropOldest, o.Groups = mib, minSegment, true, []string{"a", "b"}
	})
	const n = 400
	for i := range n {
		r.append(fill(i), 3, 3)
	}
	r.synced()
	s := r.Stats()
	if s.Dropped.Lines == 0 || s.Bytes > mib || s.Dropped.Lines+s.Unconfirmed.Lines != n {
		t.Fatalf("of %d lines: %+v", n, s)
	}
	for group := range 2 {
		got := r.drain(group)
		if first := int(s.Dropped.Lines); !strings.HasPrefix(got, fill(first)) || !strings.HasSuffix(got, fill(n-1)) {
			t.Errorf("group %d: the lines delivered are not those from %d to %d", group, first, n)
		}
		if dropped := r.Stats().Groups[group].Dropped; dropped != s.Dropped {
			t.Errorf("group %d has dropped %v, all of them %v", group, dropped, s.Dropped)
		}
	}
	if !strings.Contains(r.log.String(), "the oldest lines were dropped") {
		t.Errorf("the log says %s", r.log)
	}
}

// Rule 5: after the first segment was dropped, senders were held up for as long as workers had
// lines of it, and its file took disk space for as long. Lines that they have at the end are
// counted.
func TestRule5DropOldestWithLinesInFlight(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(o *Options) { o.Size, o.Segment, o.DropOldest = mib, minSegment, true })
		const n = 400
		held := linebuf.Count{}
		var inFlight []*linebuf.Buffer
		full := false
		for i := range n {
			for b := r.buffer(fill(i)); ; <-r.roomWithin(time.Minute) {
				if _, err := r.Append(b, 1, 1); err == nil {
					break
				}
			}
			full = full || r.Stats().Full
			if i == 2 || i == n/2 { // of a segment that is dropped later
				b := r.next(0)
				inFlight = append(inFlight, b)
				held.Add(b.Count())
			}
		}
		s := r.Stats()
		if s.Dropped.Lines == 0 || !full || s.Dropped.Lines+held.Lines+s.Unconfirmed.Lines != n {
			t.Errorf("full: %v; %d lines are in flight; %+v", full, held.Lines, s)
		}
		r.mu.Lock()
		for _, g := range r.retired {
			if g.removed && g.file != nil {
				t.Errorf("segment %d is removed, and its file open", g.header.number)
			}
		}
		r.mu.Unlock()
		for _, b := range inFlight {
			b.Forsake()
			r.pool.Put(b)
		}
		r.stop()
		after := r.Stats()
		if after.Dropped.Lines != s.Dropped.Lines+held.Lines || after.Groups[0].InFlight.Lines != 0 {
			t.Errorf("at the end: %+v, before that %+v", after, s)
		}
	})
}

// roomWithin is Room, and fails the test if there is none within a time.
func (r *rig) roomWithin(d time.Duration) <-chan struct{} {
	r.t.Helper()
	select {
	case <-r.Room():
	case <-time.After(d):
		r.t.Fatalf("no room within %v: %+v", d, r.Stats())
	}
	return closed
}

// Rule 5: a segment was dropped, and its file closed, between the moment at which Next had chosen
// frames of it and the read. They are counted, and Next goes on with others.
func TestRule5DropOldestBeforeARead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := start(t, t.TempDir(), func(o *Options) { o.Size, o.Segment, o.DropOldest = mib, minSegment, true })
		r.append(numbered(0, 1), 1, 1)
		r.synced()
		first, _, err := r.take(t.Context(), 0)
		must(t, err)
		for i := range 200 {
			for b := r.buffer(fill(i)); ; <-r.roomWithin(time.Minute) {
				if _, err := r.Append(b, 1, 1); err == nil {
					break
				}
			}
		}
		before := r.Stats()
		b := r.pool.MustGet(first.room())
		if err := r.read(first, b, 0); err != nil || len(b.B) > 0 {
			t.Errorf("read %q, %v", b.B, err)
		}
		r.pool.Put(b)
		r.giveBack(first, first.from+first.frames, 0)
		if s := r.Stats(); s.Dropped.Lines != before.Dropped.Lines+1 || s.Groups[0].InFlight.Lines != 0 {
			t.Errorf("before the read %+v, after it %+v", before, s)
		}
		r.drain(0)
		r.stop()
	})
}

// Rule 6: there is a bit for each frame and group. One line that is never confirmed does not make
// those behind it come again, and one group does not make them come again for another.
func TestRule6ConfirmationsComeInAnyOrder(t *testing.T) {
	groups := func(o *Options) { o.Groups = []string{"a", "b"} }
	r := start(t, t.TempDir(), groups)
	for i := range doneFrames + 100 { // more than one block
		receipt := r.append(numbered(i, i+1), 3, 0)
		if i != 7 {
			r.confirm(receipt, 0)
		}
		if i%2 == 0 {
			r.confirm(receipt, 1)
		}
	}
	r.written()
	again := start(t, r.snapshot(), groups)
	if got := again.drain(0); got != "line 7\n" {
		t.Errorf("delivered to a: %q", got)
	}
	got := again.drain(1)
	for i := range doneFrames + 100 {
		if strings.Contains(got, numbered(i, i+1)) != (i%2 == 1) {
			t.Fatalf("line %d for b: wrong", i)
		}
	}
}

// Rule 7: only a confirmation advances. Neither reading nor a shutdown does.
func TestRule7ReadingConfirmsNothing(t *testing.T) {
	dir := t.TempDir()
	for run := range 3 {
		r := start(t, dir)
		if run == 0 {
			r.append(numbered(0, 10), 1, 1)
		}
		b := r.next(0)
		if got := string(b.B); got != numbered(0, 10) {
			t.Fatalf("read %q", got)
		}
		r.stop()
		b.Forsake()
		r.pool.Put(b)
	}
}

// Rule 8: what cannot work is refused before any file is touched.
func TestRule8WrongConfigurationTouchesNothing(t *testing.T) {
	r := start(t, t.TempDir())
	r.append(numbered(0, 10), 1, 1)
	r.synced()
	dir := r.snapshot()
	newer := r.snapshot()
	h := header{id: segmentID{1}, number: 2, created: time.Now(), groups: []string{"a"}}
	b := h.encode()
	for _, half := range [][]byte{b[:headerCopy], b[headerCopy:]} {
		half[8] = headerVersion + 1
		putChecksum(half)
	}
	must(t, os.WriteFile(filepath.Join(newer, segmentName(2)), b, 0o600))
	for name, test := range map[string]struct {
		dir    string
		change func(*Options)
		err    string
	}{
		"no groups":       {dir, func(o *Options) { o.Groups = nil }, "0 groups"},
		"a group twice":   {dir, func(o *Options) { o.Groups = []string{"a", "a"} }, `two groups with the name "a"`},
		"a long name":     {dir, func(o *Options) { o.Groups = []string{strings.Repeat("a", 121)} }, "at most 120 bytes"},
		"small":           {dir, func(o *Options) { o.Size = kib }, "at least 1048576"},
		"large segments":  {dir, func(o *Options) { o.Segment = o.Size }, "half of the size"},
		"in use":          {r.o.Dir, func(*Options) {}, "another process uses it"},
		"newer format":    {newer, func(*Options) {}, "00000002.seg: format 2"},
		"a file":          {filepath.Join(dir, segmentName(1)), func(*Options) {}, "make the directory"},
		"no directory":    {"", func(*Options) {}, "no directory"},
		"no pool at hand": {dir, func(o *Options) { o.Buffers = nil }, "no pool"},
	} {
		t.Run(name, func(t *testing.T) {
			before := content(t, dir) + content(t, newer)
			_, err := tryStart(t, test.dir, test.change)
			if err == nil || !strings.Contains(err.Error(), test.err) {
				t.Errorf("Open returns %v", err)
			}
			if content(t, dir)+content(t, newer) != before {
				t.Error("files have changed")
			}
		})
	}
}

// content returns the names and the content of all segments and confirmations in a directory.
func content(t *testing.T, dir string) (all string) {
	t.Helper()
	for _, name := range files(t, dir, "*.*") {
		b, err := os.ReadFile(filepath.Join(dir, name))
		must(t, err)
		all += name + string(b)
	}
	return all
}

// Rule 8: only the owner can read the lines.
func TestRule8Modes(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "spool")
	r := start(t, dir, func(o *Options) { o.FS = nil })
	r.confirm(r.append(numbered(0, 10), 1, 0), 0)
	r.written()
	info, err := os.Stat(dir)
	must(t, err)
	if info.Mode().Perm() != 0o700 {
		t.Errorf("the directory has mode %v", info.Mode())
	}
	for _, name := range append(files(t, dir, "*.*"), lockName) {
		info, err := os.Stat(filepath.Join(dir, name))
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", name, info.Mode())
		}
	}
}

// Rule 9: what is not covered is said. Lines that no disk has taken by the end are counted as lost,
// in the last log line as well; they counted as waiting.
func TestRule9TheLastLineSaysWhatIsNotDurable(t *testing.T) {
	f, fail := newHooks(), new(faultSwitch)
	f.sync = func(name string) error {
		if isSegment(name) {
			return fail.get()
		}
		return nil
	}
	r := start(t, t.TempDir(), func(o *Options) { o.FS, o.Sync = f, time.Hour })
	r.append(numbered(0, 10), 1, 1)
	receipt := r.append(numbered(10, 20), 1, 0)
	fail.set(syscall.EIO)
	r.stop()
	if log := r.log.String(); !strings.Contains(log, "lines could not be made durable") || !strings.Contains(log, "lines=20") {
		t.Errorf("the log says %s", log)
	}
	r.confirm(receipt, 0) // too late to count
	s, g := r.Stats(), r.Stats().Groups[0]
	if s.Lost != (linebuf.Count{Lines: 20, Bytes: 150}) || s.Unconfirmed.Lines+g.Waiting.Lines+g.InFlight.Lines != 0 {
		t.Errorf("counted %+v", s)
	}
}
