//go:build !linux

package spool

import "errors"

// Writev writes the parts one by one, the first of them last: it is the header that makes the
// others count.
func (f osFile) Writev(offset int64, parts [][]byte) (int, error) {
	n := sizeOf(parts)
	at := offset + int64(n)
	for i := len(parts) - 1; i >= 0; i-- {
		at -= int64(len(parts[i]))
		if _, err := f.WriteAt(parts[i], at); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// WriteSynced calls Writev and Sync.
func (f osFile) WriteSynced(offset int64, parts [][]byte) error { return f.writeAndSync(offset, parts) }

// Allocate sets the size: disk space is taken as the file is written.
func (f osFile) Allocate(size int64) error { return f.extend(size) }

// Free returns an error: nothing is known.
func (osFS) Free(string) (int64, error) { return 0, errors.ErrUnsupported }
