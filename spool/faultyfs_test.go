package spool

import (
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"sync"
)

// These are the operations of an FS that can fail.
const (
	opMkdir    = "mkdir"
	opList     = "list"
	opCreate   = "create"
	opOpen     = "open" // also for reading only
	opRename   = "rename"
	opRemove   = "remove"
	opSyncDir  = "syncdir"
	opRead     = "read"
	opWrite    = "write"
	opSync     = "sync"
	opAllocate = "allocate" // and truncate
)

// fault is an error of some operations of a kind.
type fault struct {
	op    string
	of    string // part of the names of the files; empty: all
	after int    // operations that succeed first
	times int    // operations that fail then; below 0: all
	err   error
	part  int // bytes that a write or read does before it fails
}

// faultyFS is an FS with faults.
type faultyFS struct {
	FS
	rand *rand.Rand // decides what a failed sync leaves of pages; guarded by mu

	mu     sync.Mutex // guards the fields below
	faults []*fault
	hits   int            // operations that failed
	counts map[string]int // operations of each kind, those that failed included
}

func newFaultyFS(under FS, faults ...*fault) *faultyFS {
	return &faultyFS{FS: under, rand: rand.New(rand.NewPCG(1, 2)), faults: faults, counts: map[string]int{}}
}

// heal ends all faults.
func (f *faultyFS) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.faults = nil
}

// failed returns how many operations have failed.
func (f *faultyFS) failed() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// meet returns the fault of an operation on a file, or nil.
func (f *faultyFS) meet(op, name string) *fault {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.counts[op]++
	for _, one := range f.faults {
		if one.op != op || !strings.Contains(name, one.of) {
			continue
		}
		if one.after--; one.after >= 0 || one.times == 0 {
			continue
		}
		one.times--
		f.hits++
		return one
	}
	return nil
}

// fail returns the error of an operation on a file, or nil.
func (f *faultyFS) fail(op, name string) error {
	if one := f.meet(op, name); one != nil {
		return &fs.PathError{Op: op, Path: name, Err: one.err}
	}
	return nil
}

func (f *faultyFS) Mkdir(name string) error {
	if err := f.fail(opMkdir, name); err != nil {
		return err
	}
	return f.FS.Mkdir(name)
}

func (f *faultyFS) List(dir string) ([]Entry, error) {
	if err := f.fail(opList, dir); err != nil {
		return nil, err
	}
	return f.FS.List(dir)
}

func (f *faultyFS) Create(name string) (File, error) {
	return f.open(opCreate, name, f.FS.Create)
}

func (f *faultyFS) Open(name string) (File, error) { return f.open(opOpen, name, f.FS.Open) }

func (f *faultyFS) OpenRead(name string) (File, error) { return f.open(opOpen, name, f.FS.OpenRead) }

func (f *faultyFS) open(op, name string, open func(string) (File, error)) (File, error) {
	if err := f.fail(op, name); err != nil {
		return nil, err
	}
	file, err := open(name)
	if err != nil {
		return nil, err
	}
	return &faultyFile{File: file, fs: f, name: name}, nil
}

func (f *faultyFS) Rename(from, to string) error {
	if err := f.fail(opRename, from); err != nil {
		return err
	}
	return f.FS.Rename(from, to)
}

func (f *faultyFS) Remove(name string) error {
	if err := f.fail(opRemove, name); err != nil {
		return err
	}
	return f.FS.Remove(name)
}

func (f *faultyFS) SyncDir(dir string) error {
	if err := f.fail(opSyncDir, dir); err != nil {
		return err
	}
	return f.FS.SyncDir(dir)
}

// faultyFile is an open file of a faultyFS.
type faultyFile struct {
	File
	fs   *faultyFS
	name string
}

func (f *faultyFile) ReadAt(p []byte, at int64) (int, error) {
	one := f.fs.meet(opRead, f.name)
	if one == nil {
		return f.File.ReadAt(p, at)
	}
	n, err := f.File.ReadAt(p[:min(one.part, len(p))], at)
	if err != nil && err != io.EOF {
		return n, err
	}
	return n, &fs.PathError{Op: opRead, Path: f.name, Err: one.err}
}

func (f *faultyFile) Writev(at int64, parts [][]byte) (int, error) {
	one := f.fs.meet(opWrite, f.name)
	if one == nil {
		return f.File.Writev(at, parts)
	}
	n := 0
	for _, p := range parts {
		some, err := f.File.Writev(at+int64(n), [][]byte{p[:min(one.part-n, len(p))]})
		n += some
		if err != nil {
			return n, err
		}
	}
	return n, &fs.PathError{Op: opWrite, Path: f.name, Err: one.err}
}

func (f *faultyFile) WriteSynced(at int64, parts [][]byte) error {
	if _, err := f.Writev(at, parts); err != nil {
		return err
	}
	if one := f.fs.meet(opSync, f.name); one != nil {
		return &fs.PathError{Op: opSync, Path: f.name, Err: one.err}
	}
	return f.File.WriteSynced(at, parts)
}

func (f *faultyFile) Sync() error {
	one := f.fs.meet(opSync, f.name)
	if one == nil {
		return f.File.Sync()
	}
	if disk, ok := f.File.(*diskHandle); ok {
		f.fs.mu.Lock()
		defer f.fs.mu.Unlock()
		disk.failSync(f.fs.rand)
	}
	return &fs.PathError{Op: opSync, Path: f.name, Err: one.err}
}

func (f *faultyFile) Allocate(size int64) error {
	if err := f.fs.fail(opAllocate, f.name); err != nil {
		return err
	}
	return f.File.Allocate(size)
}

func (f *faultyFile) Truncate(size int64) error {
	if err := f.fs.fail(opAllocate, f.name); err != nil {
		return err
	}
	return f.File.Truncate(size)
}
