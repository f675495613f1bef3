package spool

import (
	"errors"
	"io"
)

// FS is what a spool needs of a file system. Names are paths. Errors wrap fs.ErrNotExist and
// fs.ErrExist as those of package os do. The methods are safe for concurrent use.
type FS interface {
	// Mkdir makes a directory and its parents with mode 0700. A directory that exists is no error,
	// and keeps its mode.
	Mkdir(name string) error
	// List returns the entries of a directory, sorted by name.
	List(dir string) ([]Entry, error)
	// Create makes a new file with mode 0600 for reading and writing. It fails if name exists.
	Create(name string) (File, error)
	// Open opens a file for reading and writing.
	Open(name string) (File, error)
	// OpenRead opens a file for reading only.
	OpenRead(name string) (File, error)
	// Rename moves a file within a file system.
	Rename(from, to string) error
	// Remove removes a file.
	Remove(name string) error
	// SyncDir makes the creation, renaming and removal of files in dir durable.
	SyncDir(dir string) error
	// Free returns how many bytes of disk space this user can still take on the file system of dir.
	Free(dir string) (int64, error)
	// Lock locks the file name until the result is closed or the process ends. For an exclusive
	// lock it makes the file if it is missing; for a shared one the file must exist. The error is
	// ErrLocked if another holder prevents the lock.
	Lock(name string, shared bool) (io.Closer, error)
}

// File is an open file of an FS. Its methods except Close are safe for concurrent use.
type File interface {
	io.ReaderAt
	io.Closer
	// Writev writes the parts one behind the other at an offset. It returns the number of bytes
	// written, and an error unless that is all of them. It keeps no reference to the parts.
	Writev(offset int64, parts [][]byte) (int, error)
	// WriteSynced is Writev that makes durable what it writes, and not necessarily what was written
	// before.
	WriteSynced(offset int64, parts [][]byte) error
	// Sync makes what was written durable. After an error, nothing written since the last success
	// is known to be durable.
	Sync() error
	// Allocate gives the file a size of at least size bytes, with disk space for all of them. The
	// new ones are zero.
	Allocate(size int64) error
	// Truncate sets the size.
	Truncate(size int64) error
	// Size returns the size.
	Size() (int64, error)
}

// Entry is an entry of a directory.
type Entry struct {
	Name    string
	Size    int64
	Regular bool // a file, rather than a directory or anything else
}

// ErrLocked is the error of a spool that another process uses.
var ErrLocked = errors.New("another process uses it: a linesplit, or linesplit spool")

// OS is the file system of the operating system.
var OS FS = osFS{}
