package spool

import (
	"bytes"
	"io/fs"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
)

// diskHandle is an open file.
type diskHandle struct {
	disk     *diskFS
	file     *diskFile
	name     string
	run      int
	readOnly bool
	closed   bool // guarded by disk.mu
}

// errDead is the error of every call that a process makes after its end.
var errDead = syscall.EBADF

// useLocked returns why a call of the handle fails.
func (h *diskHandle) useLocked(op string, writes bool) error {
	if h.closed || h.run != h.disk.run || writes && h.readOnly {
		return &fs.PathError{Op: op, Path: h.name, Err: errDead}
	}
	return nil
}

func (h *diskHandle) ReadAt(p []byte, at int64) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.useLocked("read", false); err != nil {
		return 0, err
	}
	return bytes.NewReader(h.file.live).ReadAt(p, at)
}

func (h *diskHandle) Writev(at int64, parts [][]byte) (int, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.useLocked("write", true); err != nil {
		return 0, err
	}
	content := bytes.Join(parts, nil)
	end := int(at) + len(content)
	if err := h.disk.setSizeLocked(h.file, max(end, len(h.file.live))); err != nil {
		return 0, &fs.PathError{Op: "write", Path: h.name, Err: err}
	}
	copy(h.file.live[at:], content)
	h.file.noteWrite(at, end)
	return len(content), nil
}

// noteWrite keeps a version of each sector from at to end.
func (f *diskFile) noteWrite(at int64, end int) {
	if f.versions == nil {
		f.versions = map[int64][][]byte{}
	}
	for sector := at / sectorSize; int(sector)*sectorSize < end; sector++ {
		content := f.live[sector*sectorSize : min(int(sector+1)*sectorSize, len(f.live))]
		f.versions[sector] = append(f.versions[sector], bytes.Clone(content))
	}
}

func (h *diskHandle) WriteSynced(at int64, parts [][]byte) error {
	n, err := h.Writev(at, parts)
	if err != nil {
		return err
	}
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	f := h.file
	f.durable = resize(f.durable, max(len(f.durable), int(at)+n))
	copy(f.durable[at:], f.live[at:int(at)+n])
	for sector := at / sectorSize; sector < (at+int64(n))/sectorSize; sector++ { // whole ones
		delete(f.versions, sector)
	}
	return nil
}

func (h *diskHandle) Sync() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	if err := h.useLocked("fdatasync", false); err != nil {
		return err
	}
	f := h.file
	f.durable = resize(f.durable, len(f.live))
	for sector := range f.versions {
		at := min(int(sector)*sectorSize, len(f.live))
		copy(f.durable[at:], f.live[at:min(at+sectorSize, len(f.live))])
	}
	f.versions, f.sizes = nil, nil
	return nil
}

// failSync is a Sync that fails as on Linux: the kernel has tried each page once, holds all of them
// for clean, and goes on showing what was written.
func (h *diskHandle) failSync(r *rand.Rand) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	f := h.file
	shown := bytes.Clone(f.live)
	f.lose(r)
	f.live = shown
	f.durable = resize(f.durable, len(shown)) // sizes are metadata, which the journal writes
}

func (h *diskHandle) Allocate(size int64) error {
	has, err := h.Size()
	if err != nil {
		return err
	}
	return h.setSize("fallocate", max(size, has))
}

func (h *diskHandle) Truncate(size int64) error { return h.setSize("truncate", size) }

func (h *diskHandle) setSize(op string, size int64) error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	err := h.useLocked(op, true)
	if err == nil {
		err = h.disk.setSizeLocked(h.file, int(size))
	}
	if err != nil {
		return &fs.PathError{Op: op, Path: h.name, Err: err}
	}
	return nil
}

func (h *diskHandle) Size() (int64, error) {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	return int64(len(h.file.live)), h.useLocked("stat", false)
}

func (h *diskHandle) Close() error {
	h.disk.mu.Lock()
	defer h.disk.mu.Unlock()
	err := h.useLocked("close", false)
	h.closed = true
	return err
}

// What a test of the spool relies on holds for the file system itself: synced content and entries
// survive, and of the rest every mixture of sectors may be left.
func TestDiskFSKeepsWhatWasSynced(t *testing.T) {
	type outcome struct{ first, second, third bool }
	seen := map[outcome]int{}
	for seed := range uint64(400) {
		d := newDiskFS()
		p := d.boot()
		mustDo(t, p.Mkdir("/s"))
		f, err := p.Create("/s/a")
		mustDo(t, err)
		if _, err := f.Writev(0, [][]byte{bytes.Repeat([]byte("a"), sectorSize)}); err != nil {
			t.Fatal(err)
		}
		mustDo(t, f.Sync())
		mustDo(t, p.SyncDir("/"))
		mustDo(t, p.SyncDir("/s"))
		if _, err := f.Writev(sectorSize, [][]byte{bytes.Repeat([]byte("b"), sectorSize), bytes.Repeat([]byte("c"), sectorSize)}); err != nil {
			t.Fatal(err)
		}
		d.powerLoss(rand.New(rand.NewPCG(seed, 1)))
		if f.Sync() == nil || f.Close() == nil || p.Remove("/s/a") == nil {
			t.Fatal("the process that ended can still do something")
		}
		content := d.live["/s/a"].live
		has := func(i int, c string) bool {
			return len(content) >= (i+1)*sectorSize && string(content[i*sectorSize:(i+1)*sectorSize]) == strings.Repeat(c, sectorSize)
		}
		seen[outcome{has(0, "a"), has(1, "b"), has(2, "c")}]++
	}
	for _, o := range []outcome{{true, false, false}, {true, true, false}, {true, false, true}, {true, true, true}} {
		if seen[o] == 0 {
			t.Errorf("%+v never happened", o)
		}
		delete(seen, o)
	}
	if len(seen) > 0 {
		t.Errorf("synced content was lost: %v", seen)
	}
}

func mustDo(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
