package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/linebuf"
)

// world drives a spool as senders, workers and replayers do, and knows what has to become of each
// line after each fault of the disk. It runs in a bubble of synctest, so that it decides the order
// of all events.
type world struct {
	t       *testing.T
	rand    *rand.Rand
	disk    *diskFS
	options Options
	lines   []*line // by number

	boot     func() FS // returns the FS of a new process
	faulty   bool      // the disk has faults
	anyGroup bool      // headers were damaged, so that lines go to groups that they are not for

	// Of the present run of the spool:
	pool  *linebuf.Pool
	spool *Spool
	stop  func() // ends Run
	held  []*batch
}

// line is a line that was appended.
type line struct {
	number int
	text   string
	kept   keeping
	groups [worldGroups]lineOfGroup
}

// keeping tells what keeps a line that is not confirmed.
type keeping uint8

const (
	byFiles keeping = iota // it comes back after a kill
	byDisk                 // and after a power loss
	byLuck                 // it was not synced at a power loss
)

// lineOfGroup is what has happened to a line for one group.
type lineOfGroup struct {
	wanted bool // the group is to get it
	here   bool // it has got it in this run
	flies  bool // its workers have it
	lost   bool // it did not come, and never will
	over   over
}

// over tells whether a group has confirmed a line, and thus whether it may get it again.
type over uint8

const (
	no     over = iota
	yes         // the spool knows; the disk may not
	always      // the disk knows: not even a power loss brings the line back
	maybe       // the disk may know: the line may come again, and need not
)

// batch is a buffer that a group's workers have.
type batch struct {
	buffer  *linebuf.Buffer
	receipt *linebuf.Receipt // nil if the buffer comes from Next
	group   int
	lines   []*line
	sent    *sent // nil: by itself, as far as the spool knows
}

// sent is batches that are sent together.
type sent struct {
	left  int     // of them that are not confirmed
	lines []*line // of those that are
}

const worldGroups = 3

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 14)), disk: newDiskFS()}
	w.boot = func() FS { return w.disk.boot() }
	mustDo(t, w.disk.boot().Mkdir("/"))
	mustDo(t, w.disk.boot().Mkdir("/spool"))
	mustDo(t, w.disk.boot().SyncDir("/"))
	w.options = Options{
		Dir: "/spool", Size: 4 << 20, Segment: minSegment, Sync: 100 * time.Millisecond, Hold: 256 << 10,
		Groups: []string{"main", "archive", "third"}[:worldGroups], Marked: w.rand.IntN(2) == 0,
	}
	return w
}

// start opens the spool, and runs it.
func (w *world) start() {
	w.t.Helper()
	if err := w.tryStart(); err != nil {
		w.t.Fatal(err)
	}
}

// tryStart is start, unless the spool cannot be opened.
func (w *world) tryStart() error {
	w.pool = linebuf.NewPool(0)
	w.options.Buffers, w.options.FS = w.pool, w.boot()
	s, err := Open(w.options)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	w.spool, w.stop = s, func() { cancel(); running.Wait() }
	for _, l := range w.lines {
		for g := range l.groups {
			l.groups[g].here, l.groups[g].flies = false, false
		}
	}
	return nil
}

// end stops the spool in good order.
func (w *world) end() {
	w.t.Helper()
	w.t.Log("the spool ends")
	w.stop()
	if err := w.spool.Close(); err != nil {
		w.t.Error(err)
	}
	w.forget()
	w.synced()
}

// synced notes that all that was written and confirmed by now is on the disk.
func (w *world) synced() {
	for _, l := range w.lines {
		if l.kept == byFiles {
			l.kept = byDisk
		}
		for g := range l.groups {
			if l.groups[g].over == yes {
				l.groups[g].over = always
			}
		}
	}
}

// kill ends the process as kill -9 does. Confirmations of this moment may be unknown to the spool.
func (w *world) kill() {
	if w.rand.IntN(2) == 0 {
		w.t.Log("the process is killed after all is written")
		synctest.Wait()
		w.disk.kill()
	} else {
		w.t.Log("the process is killed")
		w.disk.kill()
		w.doubt()
	}
	w.abandon()
}

// powerLoss ends the process with the power.
func (w *world) powerLoss() {
	if w.rand.IntN(2) == 0 {
		synctest.Wait()
	}
	w.t.Log("the power is lost")
	w.disk.powerLoss(w.rand)
	w.doubt()
	for _, l := range w.lines {
		if l.kept == byFiles {
			l.kept = byLuck
		}
	}
	w.abandon()
}

// doubt notes that the disk may have lost confirmations.
func (w *world) doubt() {
	for _, l := range w.lines {
		for g := range l.groups {
			if l.groups[g].over == yes {
				l.groups[g].over = maybe
			}
		}
	}
}

// abandon ends the goroutines of a process that has lost its files.
func (w *world) abandon() {
	w.stop()
	_ = w.spool.Close() // fails, without its files
	w.forget()
}

// forget drops what workers have.
func (w *world) forget() {
	for _, b := range w.held {
		b.buffer.Forsake()
		w.pool.Put(b.buffer)
	}
	w.held = nil
}

// append appends a buffer of new lines, if there is room for it.
func (w *world) append() {
	groups := linebuf.Groups(1 + w.rand.IntN(1<<worldGroups-1))
	waiting := groups & linebuf.Groups(w.rand.IntN(1<<worldGroups))
	var lines []*line
	var text []byte
	length := w.rand.IntN(200)
	if w.rand.IntN(8) == 0 {
		length = w.rand.IntN(8 << 10)
	}
	for range 1 + w.rand.IntN(12) {
		l := &line{number: len(w.lines) + len(lines)}
		l.text = fmt.Sprintf("%d %s\n", l.number, strings.Repeat(string(rune('a'+l.number%26)), length))
		lines = append(lines, l)
		text = append(text, l.text...)
	}
	b := w.pool.MustGet(len(text))
	b.B, b.Lines, b.Read = append(b.B, text...), len(lines), time.Now()
	receipt, err := w.spool.Append(b, groups, waiting)
	for _, l := range lines {
		for g := range worldGroups {
			l.groups[g].wanted = has(groups, g)
		}
	}
	if err != nil {
		w.pool.Put(b)
		w.refused(lines, err)
		return
	}
	w.lines = append(w.lines, lines...)
	if (receipt == nil) != (groups == waiting) {
		w.t.Fatalf("groups %b, waiting %b: receipt %v", groups, waiting, receipt)
	}
	for g := range worldGroups {
		if has(groups&^waiting, g) {
			view := w.pool.MustGet(len(text))
			view.B, view.Lines = append(view.B, text...), len(lines)
			view.Attach(receipt, 1<<g)
			w.take(&batch{buffer: view, receipt: receipt, group: g, lines: lines})
		}
	}
}

// refused notes that lines were not appended. After a fault of the disk, they may be there all the
// same.
func (w *world) refused(lines []*line, err error) {
	w.t.Helper()
	if errors.Is(err, ErrBusy) || errors.Is(err, ErrFull) {
		return
	}
	if !w.faulty {
		w.t.Fatal(err)
	}
	for _, l := range lines {
		l.kept = byLuck
		for g := range l.groups {
			l.groups[g].over = maybe
		}
	}
	w.lines = append(w.lines, lines...)
}

// take notes that workers of a group have a batch.
func (w *world) take(b *batch) {
	w.t.Helper()
	for _, l := range b.lines {
		state := &l.groups[b.group]
		switch {
		case !state.wanted && !w.anyGroup:
			w.t.Errorf("line %d is not for group %d", l.number, b.group)
		case state.here:
			w.t.Errorf("line %d came twice to group %d within a run", l.number, b.group)
		case state.over == yes || state.over == always:
			w.t.Errorf("line %d came again to group %d, which had confirmed it", l.number, b.group)
		case state.lost:
			w.t.Errorf("line %d comes to group %d after it was lost", l.number, b.group)
		}
		state.here, state.flies = true, true
	}
	w.held = append(w.held, b)
}

// next reads what waits for a group, and reports whether there was anything within a second.
func (w *world) next(group int) bool {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	b, err := w.spool.Next(ctx, group)
	if err != nil {
		if !errors.Is(err, context.DeadlineExceeded) {
			w.t.Fatalf("Next: %v", err)
		}
		return false
	}
	if !b.Kept() {
		w.t.Error("a buffer without a receipt")
	}
	w.take(&batch{buffer: b, group: group, lines: w.parse(b)})
	return true
}

// parse returns the lines of a buffer, and complains of those that are not as they were appended.
func (w *world) parse(b *linebuf.Buffer) (lines []*line) {
	w.t.Helper()
	for text := range bytes.Lines(b.B) {
		number, err := strconv.Atoi(string(text[:max(0, bytes.IndexByte(text, ' '))]))
		if err != nil || number >= len(w.lines) || w.lines[number].text != string(text) {
			w.t.Errorf("a line that was never appended: %.80q", text)
			continue
		}
		lines = append(lines, w.lines[number])
	}
	if len(lines) != b.Lines {
		w.t.Errorf("%d lines, and Lines is %d", len(lines), b.Lines)
	}
	return lines
}

// confirm puts a batch back, whose lines have arrived.
func (w *world) confirm() {
	if b := w.drawHeld(); b != nil {
		w.pool.Put(b.buffer)
		for _, l := range b.lines {
			l.groups[b.group].over, l.groups[b.group].flies = yes, false
		}
		b.sent.confirm(b)
	}
}

// confirm notes that b is confirmed. Its lines may come again after a crash unless all that was
// sent with them is confirmed, too.
func (s *sent) confirm(b *batch) {
	if s == nil {
		return
	}
	s.left--
	s.lines = append(s.lines, b.lines...)
	for _, l := range s.lines {
		if state := &l.groups[b.group]; s.left > 0 && state.over == yes {
			state.over = maybe
		} else if s.left == 0 && state.over == maybe {
			state.over = yes
		}
	}
}

// note sends some batches of a group together.
func (w *world) note() {
	group := w.rand.IntN(worldGroups)
	var some []*batch
	for _, i := range w.rand.Perm(len(w.held)) {
		if b := w.held[i]; b.group == group && b.sent == nil && !b.buffer.Origin.IsZero() && len(some) < 4 {
			some = append(some, b)
		}
	}
	if len(some) < 2 {
		return
	}
	together := &sent{left: len(some)}
	var runs []linebuf.Run
	for _, b := range some {
		b.sent = together
		if all := b.buffer.Runs(); all != nil {
			runs = append(runs, all...)
		} else {
			runs = append(runs, linebuf.Run{First: b.buffer.Origin, Lines: b.buffer.Lines})
		}
	}
	w.spool.NoteBatch(group, runs[0].First, runs)
}

// postpone gives a batch back to the spool, to be read later.
func (w *world) postpone() {
	b := w.drawHeld()
	if b == nil {
		return
	}
	if b.receipt == nil { // only the spool knows its receipt
		w.held = append(w.held, b)
		return
	}
	b.buffer.Forsake()
	w.pool.Put(b.buffer)
	w.spool.Postpone(b.receipt, 1<<b.group)
	for _, l := range b.lines {
		l.groups[b.group].here, l.groups[b.group].flies = false, false
	}
}

// drawHeld takes a random batch off the held ones; nil if there is none.
func (w *world) drawHeld() *batch {
	if len(w.held) == 0 {
		return nil
	}
	i := w.rand.IntN(len(w.held))
	b := w.held[i]
	w.held = append(w.held[:i], w.held[i+1:]...)
	return b
}

// settle waits until a healthy disk has all that was written and confirmed by now.
func (w *world) settle() {
	w.t.Helper()
	w.t.Log("all is settled")
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if w.faulty {
		return
	}
	if held := w.spool.Stats().Held; held > 0 {
		w.t.Errorf("%d bytes are not synced after ten seconds", held)
	}
	w.synced()
}

// drain reads all that waits. It returns the lines that a group should have got and has not.
func (w *world) drain() (missing []*line) {
	w.t.Helper()
	for g := range worldGroups {
		for w.next(g) {
		}
		if behind, _ := w.spool.Behind(g); behind {
			w.t.Errorf("group %d is behind, and Next returns nothing", g)
		}
	}
	for _, l := range w.lines {
		gone := false
		for g := range l.groups {
			state := &l.groups[g]
			if state.wanted && !state.here && !state.lost && state.over == no {
				state.lost, gone = true, true
			}
		}
		if gone && l.kept != byLuck {
			missing = append(missing, l)
		}
	}
	return missing
}

// flying counts the lines that the workers of a group have, and those of them that it has surely
// not confirmed in an earlier run.
func (w *world) flying(group int) (all, sure linebuf.Count) {
	for _, l := range w.lines {
		one := linebuf.Count{Lines: 1, Bytes: uint64(len(l.text))}
		if l.groups[group].flies {
			all.Add(one)
			if l.groups[group].over == no {
				sure.Add(one)
			}
		}
	}
	return all, sure
}
