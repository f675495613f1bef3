package spool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"linesplit/linebuf"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	kib = 1 << 10
	mib = 1 << 20
)

// rig is a spool that runs in a directory, and the pool of its buffers.
type rig struct {
	*Spool
	t    testing.TB
	pool *linebuf.Pool
	log  *logBuffer
	stop func() // ends Run and closes; does nothing when called again

	frames int // that appendMarked has appended
}

// logBuffer is a log that tests read.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// testOptions are those of a spool with the group "a" and fast syncs.
func testOptions(dir string) Options {
	return Options{Dir: dir, Size: 64 * mib, Segment: 256 * kib, Groups: []string{"a"}, FS: fastFS{OS}}
}

// start opens a spool and runs it until the end of the test.
func start(t testing.TB, dir string, change ...func(*Options)) *rig {
	t.Helper()
	r, err := tryStart(t, dir, change...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func tryStart(t testing.TB, dir string, change ...func(*Options)) (*rig, error) {
	r := &rig{t: t, pool: linebuf.NewPool(0), log: new(logBuffer)}
	o := testOptions(dir)
	o.Buffers = r.pool
	o.Logger = slog.New(slog.NewTextHandler(r.log, nil))
	for _, c := range change {
		c(&o)
	}
	s, err := Open(o)
	if err != nil {
		return nil, err
	}
	r.Spool = s
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { s.Run(ctx) })
	r.stop = sync.OnceFunc(func() {
		cancel()
		running.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(r.stop)
	return r, nil
}

// buffer returns a buffer of the pool with lines.
func (r *rig) buffer(lines string) *linebuf.Buffer {
	b := r.pool.MustGet(len(lines))
	b.B = append(b.B, lines...)
	b.Lines = strings.Count(lines, "\n")
	b.Read = time.Now()
	return b
}

// append appends lines, waiting for room as long as the spool is busy.
func (r *rig) append(lines string, groups, waiting linebuf.Groups) *linebuf.Receipt {
	r.t.Helper()
	receipt, err := r.tryAppend(lines, groups, waiting)
	if err != nil {
		r.t.Fatal(err)
	}
	return receipt
}

// tryAppend appends lines, waiting for room as long as the spool is busy.
func (r *rig) tryAppend(lines string, groups, waiting linebuf.Groups) (*linebuf.Receipt, error) {
	b := r.buffer(lines)
	for {
		receipt, err := r.Append(b, groups, waiting)
		switch err {
		case nil:
			return receipt, nil
		case ErrBusy:
			<-r.Room()
		default:
			r.pool.Put(b)
			return nil, err
		}
	}
}

// confirm gives up the only hold on a receipt for a group.
func (r *rig) confirm(receipt *linebuf.Receipt, group int) {
	b := r.pool.MustGet(1)
	b.Attach(receipt, 1<<group)
	r.pool.Put(b)
}

// next returns the buffer that Next returns within a time that no test takes.
func (r *rig) next(group int) *linebuf.Buffer {
	r.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	b, err := r.Next(ctx, group)
	if err != nil {
		r.t.Fatalf("nothing comes for group %d: %v; %+v\n%s", group, err, r.Stats(), r.log)
	}
	return b
}

// drain reads and confirms all lines that wait for a group.
func (r *rig) drain(group int) string {
	r.t.Helper()
	var all []byte
	for r.scanned(); r.behind(group); {
		b, err := r.nextOrNone(group)
		if err != nil {
			r.t.Fatal(err)
		}
		if b == nil {
			continue
		}
		all = append(all, b.B...)
		r.pool.Put(b)
	}
	return string(all)
}

// nextOrNone is Next that returns nil once no line waits for the group any more.
func (r *rig) nextOrNone(group int) (*linebuf.Buffer, error) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var watching sync.WaitGroup
	defer watching.Wait()
	defer cancel()
	watching.Go(func() {
		for r.behind(group) && ctx.Err() == nil {
			time.Sleep(time.Millisecond)
		}
		cancel()
	})
	b, err := r.Next(ctx, group)
	if err == context.Canceled {
		return nil, nil
	}
	return b, err
}

// await waits until a condition holds.
func (r *rig) await(what string, holds func(Stats) bool) {
	r.t.Helper()
	for end := time.Now().Add(20 * time.Second); !holds(r.Stats()); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			r.t.Fatalf("%s: not within 20 s: %+v\n%s", what, r.Stats(), r.log)
		}
	}
}

// scanned waits until all segments of earlier runs are scanned.
func (r *rig) scanned() {
	r.t.Helper()
	r.await("segments are scanned", func(s Stats) bool { return s.Unscanned == 0 })
}

// synced waits until no buffer waits for a sync.
func (r *rig) synced() {
	r.t.Helper()
	r.await("all is synced", func(s Stats) bool { return s.Held == 0 })
}

// written waits until all confirmations are in their files.
func (r *rig) written() {
	r.t.Helper()
	r.await("confirmations are written", func(Stats) bool {
		r.mu.Lock()
		defer r.mu.Unlock()
		for _, g := range r.segments {
			if g.loaded && (g.changed() || g.pins > 0) {
				return false
			}
		}
		return true
	})
}

// snapshot returns a copy of the directory as it is: what a process that is killed leaves behind.
func (r *rig) snapshot() string { return copyDir(r.t, r.o.Dir) }

func copyDir(t testing.TB, dir string) string {
	t.Helper()
	for {
		to := t.TempDir()
		err := os.CopyFS(to, os.DirFS(dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue // a file was removed between the listing and the copy
		}
		must(t, err)
		return to
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// files returns the names in a directory that match a pattern.
func files(t testing.TB, dir, pattern string) []string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(dir, pattern))
	must(t, err)
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	return names
}

// numbered returns lines with the numbers from a to b-1.
func numbered(a, b int) string {
	var s strings.Builder
	for i := a; i < b; i++ {
		fmt.Fprintf(&s, "line %d\n", i)
	}
	return s.String()
}

// sorted returns the lines of a text in order.
func sorted(text string) []string {
	lines := strings.SplitAfter(text, "\n")
	slices.Sort(lines)
	return lines
}

// fastFS is a file system whose files are not synced: tests that are not about that are faster.
type fastFS struct{ FS }

func (f fastFS) SyncDir(string) error                     { return nil }
func (f fastFS) Create(name string) (File, error)         { return fast(f.FS.Create(name)) }
func (f fastFS) Open(name string) (File, error)           { return fast(f.FS.Open(name)) }
func (f fastFS) Lock(n string, s bool) (io.Closer, error) { return f.FS.Lock(n, s) }

type fastFile struct{ File }

func fast(f File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	return fastFile{f}, nil
}

func (fastFile) Sync() error { return nil }

func (f fastFile) WriteSynced(offset int64, parts [][]byte) error {
	_, err := f.Writev(offset, parts)
	return err
}

func (f fastFile) Allocate(n int64) error { return f.Truncate(n) }

// behind reports whether lines wait for a group, or may.
func (r *rig) behind(group int) bool {
	behind, _ := r.Behind(group)
	return behind
}
