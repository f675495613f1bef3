package spool

import (
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
)

// hookFS is a file system with faults at the calls that a test names.
type hookFS struct {
	FS
	// Each is called before what it is named after, and fails it by an error. It may be nil.
	write    func(name string, offset int64) error
	sync     func(name string) error
	allocate func(name string) error
	read     func(name string, offset int64, n int) error
	openRead func(name string) error
	syncDir  func() error
	remove   func(name string) error // also of Rename, with the old name

	mu    sync.Mutex     // guards the fields below
	syncs map[string]int // calls of Sync by name
	open  int            // files that are not closed
	most  int            // the most of them at any time
}

func newHooks() *hookFS { return &hookFS{FS: fastFS{OS}, syncs: map[string]int{}} }

func (f *hookFS) wrap(name string, file File, err error) (File, error) {
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	f.open++
	f.most = max(f.most, f.open)
	f.mu.Unlock()
	return &hookFile{file, f, filepath.Base(name)}, nil
}

// mostOpen returns how many files have been open at once.
func (f *hookFS) mostOpen() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.most
}

func (f *hookFS) Create(name string) (File, error) {
	file, err := f.FS.Create(name)
	return f.wrap(name, file, err)
}

func (f *hookFS) Open(name string) (File, error) {
	file, err := f.FS.Open(name)
	return f.wrap(name, file, err)
}

func (f *hookFS) OpenRead(name string) (File, error) {
	if f.openRead != nil {
		if err := f.openRead(filepath.Base(name)); err != nil {
			return nil, err
		}
	}
	file, err := f.FS.OpenRead(name)
	return f.wrap(name, file, err)
}

func (f *hookFS) SyncDir(dir string) error {
	if f.syncDir != nil {
		if err := f.syncDir(); err != nil {
			return err
		}
	}
	return f.FS.SyncDir(dir)
}

func (f *hookFS) Remove(name string) error {
	if f.remove != nil {
		if err := f.remove(filepath.Base(name)); err != nil {
			return err
		}
	}
	return f.FS.Remove(name)
}

func (f *hookFS) Rename(from, to string) error {
	if f.remove != nil {
		if err := f.remove(filepath.Base(from)); err != nil {
			return err
		}
	}
	return f.FS.Rename(from, to)
}

type hookFile struct {
	File
	fs   *hookFS
	name string
}

func (f *hookFile) Writev(offset int64, parts [][]byte) (int, error) {
	if f.fs.write != nil {
		if err := f.fs.write(f.name, offset); err != nil {
			return 0, err
		}
	}
	return f.File.Writev(offset, parts)
}

func (f *hookFile) WriteSynced(offset int64, parts [][]byte) error {
	if _, err := f.Writev(offset, parts); err != nil {
		return err
	}
	if f.fs.sync != nil {
		if err := f.fs.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.WriteSynced(offset, parts)
}

func (f *hookFile) Sync() error {
	f.fs.mu.Lock()
	f.fs.syncs[f.name]++
	f.fs.mu.Unlock()
	if f.fs.sync != nil {
		if err := f.fs.sync(f.name); err != nil {
			return err
		}
	}
	return f.File.Sync()
}

func (f *hookFile) Close() error {
	f.fs.mu.Lock()
	f.fs.open--
	f.fs.mu.Unlock()
	return f.File.Close()
}

func (f *hookFile) Allocate(size int64) error {
	if f.fs.allocate != nil {
		if err := f.fs.allocate(f.name); err != nil {
			return err
		}
	}
	return f.File.Allocate(size)
}

func (f *hookFile) ReadAt(b []byte, offset int64) (int, error) {
	if f.fs.read != nil {
		if err := f.fs.read(f.name, offset, len(b)); err != nil {
			return 0, err
		}
	}
	return f.File.ReadAt(b, offset)
}

// isSegment reports whether a name is that of a segment file.
func isSegment(name string) bool { return strings.HasSuffix(name, segmentSuffix) }

// fault is an error that can be switched on and off.
type faultSwitch struct{ err atomic.Pointer[error] }

func (f *faultSwitch) set(err error) { f.err.Store(&err) }

func (f *faultSwitch) clear() { f.err.Store(nil) }

func (f *faultSwitch) get() error {
	if err := f.err.Load(); err != nil {
		return *err
	}
	return nil
}
