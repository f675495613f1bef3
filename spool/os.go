package spool

import (
	"errors"
	"io/fs"
	"os"
)

// osFS is OS. Locks are in lock_*.go, the system calls of files in os_linux.go and os_other.go.
type osFS struct{}

func (osFS) Mkdir(name string) error { return os.MkdirAll(name, 0o700) }

func (osFS) List(dir string) ([]Entry, error) {
	all, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	entries := make([]Entry, 0, len(all))
	for _, d := range all {
		e := Entry{Name: d.Name(), Regular: d.Type().IsRegular()}
		if e.Regular {
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue // removed meanwhile
			}
			if err != nil {
				return nil, err
			}
			e.Size = info.Size()
		}
		entries = append(entries, e)
	}
	return entries, nil
}

func (osFS) Create(name string) (File, error) {
	return openFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (osFS) Open(name string) (File, error) { return openFile(name, os.O_RDWR) }

func (osFS) OpenRead(name string) (File, error) { return openFile(name, os.O_RDONLY) }

func (osFS) Rename(from, to string) error { return os.Rename(from, to) }

func (osFS) Remove(name string) error { return os.Remove(name) }

func (osFS) SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}

// osFile is a file of the operating system.
type osFile struct{ *os.File }

func openFile(name string, flag int) (File, error) {
	f, err := os.OpenFile(name, flag, 0o600)
	if err != nil {
		return nil, err
	}
	return osFile{f}, nil
}

// sizeOf returns the number of bytes in the parts.
func sizeOf(parts [][]byte) (n int) {
	for _, p := range parts {
		n += len(p)
	}
	return n
}

// writeAndSync is WriteSynced by two system calls.
func (f osFile) writeAndSync(offset int64, parts [][]byte) error {
	if _, err := f.Writev(offset, parts); err != nil {
		return err
	}
	return f.Sync()
}

// extend makes the file size bytes long unless it is longer. It takes no disk space.
func (f osFile) extend(size int64) error {
	has, err := f.Size()
	if err != nil || has >= size {
		return err
	}
	return f.Truncate(size)
}

func (f osFile) Size() (int64, error) {
	info, err := f.Stat()
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}
