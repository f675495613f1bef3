package spool

import (
	"io"
	"io/fs"
	"maps"
	"math"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
)

// sectorSize is the unit in which a disk writes: a power loss leaves each sector as it was after
// one of the writes to it.
const sectorSize = 512

// diskFS is a file system in memory that knows what of it is durable. A power loss keeps of the
// rest a random part: each sector, each size and each directory entry for itself, or in the order
// of a journal. A process that ends, by itself or with the power, loses its open files and its
// locks, and nothing that it does afterwards has an effect.
type diskFS struct {
	capacity int64 // bytes; 0: no limit

	mu      sync.Mutex // guards the fields below, and all of each diskFile
	run     int        // of the process; files that were opened in an earlier one are dead
	live    map[string]*diskFile
	durable map[string]*diskFile // of the same entries
	changes []entryChange        // of entries since they were synced, oldest first
	locks   map[string]int       // holders; -1: one that does not share
}

// diskFile is a file or a directory.
type diskFile struct {
	isDir    bool
	live     []byte
	durable  []byte
	versions map[int64][][]byte // by sector: what it was after each write since the last sync
	sizes    []int              // after each change since then
}

// entryChange is the creation, removal or renaming of a directory entry.
type entryChange struct {
	from, to string // paths; empty: there was, or is, none
	file     *diskFile
}

func newDiskFS() *diskFS {
	return &diskFS{live: map[string]*diskFile{}, durable: map[string]*diskFile{}, locks: map[string]int{}}
}

// process is the FS of one process.
type process struct {
	disk *diskFS
	run  int
}

// boot returns the FS of a new process.
func (d *diskFS) boot() process {
	d.mu.Lock()
	defer d.mu.Unlock()
	return process{d, d.run}
}

// enter takes the lock for a call of the process, and returns why the call fails. The caller gives
// the lock back in either case.
func (p process) enter(op, name string) error {
	p.disk.mu.Lock()
	if p.run != p.disk.run {
		return &fs.PathError{Op: op, Path: name, Err: errDead}
	}
	return nil
}

// kill ends the process: what it wrote stays.
func (d *diskFS) kill() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.run++
	clear(d.locks)
}

// powerLoss ends the process and loses a part of what is not durable.
func (d *diskFS) powerLoss(r *rand.Rand) {
	d.kill()
	d.mu.Lock()
	defer d.mu.Unlock()
	entries := d.keepEntriesLocked(r)
	d.live, d.durable, d.changes = entries, maps.Clone(entries), nil
	for _, name := range slices.Sorted(maps.Keys(entries)) { // in an order that depends on r only
		entries[name].lose(r)
	}
}

// keepEntriesLocked returns the directory entries after a power loss.
func (d *diskFS) keepEntriesLocked(r *rand.Rand) map[string]*diskFile {
	entries := maps.Clone(d.durable)
	if r.IntN(2) == 0 { // a journal, of which the end is missing
		for _, c := range d.changes[:r.IntN(len(d.changes)+1)] {
			c.apply(entries)
		}
		return entries
	}
	for _, c := range d.changes {
		if r.IntN(2) == 0 {
			c.apply(entries)
		}
	}
	return entries
}

func (c entryChange) apply(entries map[string]*diskFile) {
	if c.from != "" {
		delete(entries, c.from)
	}
	if c.to != "" {
		entries[c.to] = c.file
	}
}

// lose decides what of a file's content is left.
func (f *diskFile) lose(r *rand.Rand) {
	content := slices.Clone(f.durable)
	sizes := append([]int{len(f.durable)}, f.sizes...)
	all, none := r.IntN(4) == 0, r.IntN(4) == 0
	size := sizes[r.IntN(len(sizes))]
	switch {
	case all:
		content, size = slices.Clone(f.live), len(f.live)
	case none:
		size = len(f.durable)
	default:
		content = resize(content, max(size, len(f.live)))
		for _, sector := range slices.Sorted(maps.Keys(f.versions)) {
			versions := f.versions[sector]
			if kept := r.IntN(len(versions) + 1); kept < len(versions) {
				copy(content[min(int(sector)*sectorSize, len(content)):], versions[kept])
			}
		}
	}
	content = resize(content, size)
	f.live, f.durable, f.versions, f.sizes = content, slices.Clone(content), nil, nil
}

// resize returns b with a length of n, with zeros behind what it had.
func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}

// usedLocked returns the bytes of all files.
func (d *diskFS) usedLocked() (n int64) {
	for _, f := range d.live {
		n += int64(len(f.live))
	}
	return n
}

// setSizeLocked sets the size of a file, as far as there is room.
func (d *diskFS) setSizeLocked(f *diskFile, size int) error {
	if grown := int64(size - len(f.live)); grown > 0 && d.capacity > 0 && d.usedLocked()+grown > d.capacity {
		return syscall.ENOSPC
	}
	if size != len(f.live) {
		f.live = resize(f.live, size)
		f.sizes = append(f.sizes, size)
	}
	return nil
}

func (d *diskFS) changeLocked(c entryChange) {
	c.apply(d.live)
	d.changes = append(d.changes, c)
}

func (p process) Mkdir(name string) error {
	d, dead := p.disk, p.enter("mkdir", name)
	defer d.mu.Unlock()
	if dead != nil {
		return dead
	}
	if f := d.live[name]; f != nil {
		if f.isDir {
			return nil
		}
		return &fs.PathError{Op: "mkdir", Path: name, Err: fs.ErrExist}
	}
	d.changeLocked(entryChange{to: name, file: &diskFile{isDir: true}})
	return nil
}

func (p process) List(dir string) (all []Entry, err error) {
	d, dead := p.disk, p.enter("list", dir)
	defer d.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	if f := d.live[dir]; f == nil || !f.isDir {
		return nil, &fs.PathError{Op: "open", Path: dir, Err: fs.ErrNotExist}
	}
	for _, name := range slices.Sorted(maps.Keys(d.live)) {
		if f := d.live[name]; filepath.Dir(name) == dir && name != dir {
			all = append(all, Entry{Name: filepath.Base(name), Size: int64(len(f.live)), Regular: !f.isDir})
		}
	}
	return all, nil
}

func (p process) Create(name string) (File, error) {
	d, dead := p.disk, p.enter("create", name)
	defer d.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	if d.live[name] != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrExist}
	}
	if dir := d.live[filepath.Dir(name)]; dir == nil || !dir.isDir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	f := &diskFile{}
	d.changeLocked(entryChange{to: name, file: f})
	return &diskHandle{disk: d, file: f, name: name, run: d.run}, nil
}

func (p process) Open(name string) (File, error) {
	d, dead := p.disk, p.enter("open", name)
	defer d.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	f := d.live[name]
	if f == nil || f.isDir {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &diskHandle{disk: d, file: f, name: name, run: d.run}, nil
}

func (p process) OpenRead(name string) (File, error) {
	f, err := p.Open(name)
	if err != nil {
		return nil, err
	}
	f.(*diskHandle).readOnly = true
	return f, nil
}

func (p process) Rename(from, to string) error {
	d, dead := p.disk, p.enter("rename", from)
	defer d.mu.Unlock()
	if dead != nil {
		return dead
	}
	f := d.live[from]
	if f == nil {
		return &fs.PathError{Op: "rename", Path: from, Err: fs.ErrNotExist}
	}
	d.changeLocked(entryChange{from: from, to: to, file: f})
	return nil
}

func (p process) Remove(name string) error {
	d, dead := p.disk, p.enter("remove", name)
	defer d.mu.Unlock()
	if dead != nil {
		return dead
	}
	f := d.live[name]
	if f == nil {
		return &fs.PathError{Op: "remove", Path: name, Err: fs.ErrNotExist}
	}
	d.changeLocked(entryChange{from: name, file: f})
	return nil
}

func (p process) SyncDir(dir string) error {
	d, dead := p.disk, p.enter("syncdir", dir)
	defer d.mu.Unlock()
	if dead != nil {
		return dead
	}
	d.changes = slices.DeleteFunc(d.changes, func(c entryChange) bool {
		in := c.from != "" && filepath.Dir(c.from) == dir || c.to != "" && filepath.Dir(c.to) == dir
		if in {
			c.apply(d.durable)
		}
		return in
	})
	return nil
}

func (p process) Free(dir string) (int64, error) {
	d, dead := p.disk, p.enter("free", dir)
	defer d.mu.Unlock()
	switch {
	case dead != nil:
		return 0, dead
	case d.capacity == 0:
		return math.MaxInt32, nil
	}
	return d.capacity - d.usedLocked(), nil
}

func (p process) Lock(name string, shared bool) (io.Closer, error) {
	d, dead := p.disk, p.enter("lock", name)
	defer d.mu.Unlock()
	if dead != nil {
		return nil, dead
	}
	if d.live[name] == nil {
		if shared {
			return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
		}
		d.changeLocked(entryChange{to: name, file: &diskFile{}})
	}
	held := d.locks[name]
	if held < 0 || held > 0 && !shared {
		return nil, ErrLocked
	}
	if d.locks[name]++; !shared {
		d.locks[name] = -1
	}
	return &diskLock{disk: d, name: name, run: d.run, shared: shared}, nil
}

// diskLock is a lock that a process holds.
type diskLock struct {
	disk   *diskFS
	name   string
	run    int
	shared bool
}

func (l *diskLock) Close() error {
	l.disk.mu.Lock()
	defer l.disk.mu.Unlock()
	switch {
	case l.run != l.disk.run: // the process has lost it
	case l.shared:
		l.disk.locks[l.name]--
	default:
		l.disk.locks[l.name] = 0
	}
	l.run = -1
	return nil
}

// damage changes a byte of a file, as a failing disk does.
func (d *diskFS) damage(name string, at int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := d.live[name]
	f.live[at] ^= 0x10
	if at < len(f.durable) {
		f.durable[at] ^= 0x10
	}
}

// files returns the paths of all files with a suffix, sorted.
func (d *diskFS) files(suffix string) (names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, f := range d.live {
		if !f.isDir && strings.HasSuffix(name, suffix) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
