package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// probeTimeout bounds the question whether somebody answers on a socket file. A Unix connect ends at once in all but
// odd cases.
const probeTimeout = time.Second

// unixListener is a Unix listener that removes its own file, and only that.
type unixListener struct {
	*net.UnixListener
	path string
	file fs.FileInfo // nil for an abstract socket
	once sync.Once
	err  error
}

// openUnix makes a socket file with its mode and owner, in place of a stale one if there is one.
//
// The file is bound under its own name and with no permissions at all, and gets its owner and then its mode, so that
// nobody connects who should not, not even for a moment. (Binding under another name and renaming would do as well on
// every system, but a rename replaces whatever is there by then, and ss and lsof would show the other name for ever.)
//
// Between finding a stale file and putting our own in its place another process could do the same, and take the file
// of the faster one for the stale one. Processes that run this code exclude each other by a lock on the directory; it
// needs no file and ends with its holder. Against others the file is compared once more just before it is removed.
func openUnix(ctx context.Context, s Spec) (net.Listener, error) {
	if s.abstract() {
		ln, err := bind(ctx, s)
		if err != nil {
			return nil, err
		}
		return &unixListener{UnixListener: ln, path: s.address}, nil
	}

	unlock, err := lockDir(ctx, filepath.Dir(s.address))
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.reuse {
		return replaceUnix(ctx, s)
	}
	if err := makeRoom(ctx, s.address); err != nil {
		return nil, err
	}
	return bindFile(ctx, s)
}

func bindFile(ctx context.Context, s Spec) (*unixListener, error) {
	ln, err := bind(ctx, s)
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it would remove whatever has the name by then
	l := &unixListener{UnixListener: ln, path: s.address}
	if l.file, err = os.Lstat(s.address); err == nil {
		err = admit(s)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// replaceUnix puts a new socket file in the place of one that may be in use: there is always one to connect to. Who has the
// old one goes on serving those that have connected to it.
func replaceUnix(ctx context.Context, s Spec) (net.Listener, error) {
	beside := s
	beside.address += ".new"
	for _, path := range []string{s.address, beside.address} {
		if info, err := os.Lstat(path); err == nil {
			if err := checkIsSocket(path, info); err != nil {
				return nil, err
			}
		}
	}
	if len(beside.address) > maxPath {
		return nil, fmt.Errorf("path of %d bytes: to replace a socket, %d are the most", len(s.address), maxPath-len(".new"))
	}
	os.Remove(beside.address) // of one that died at this point; bind tells if that did not work
	l, err := bindFile(ctx, beside)
	if err != nil {
		return nil, err
	}
	if err := os.Rename(beside.address, s.address); err != nil {
		return nil, errors.Join(err, l.Close())
	}
	l.path = s.address
	return l, nil
}

func bind(ctx context.Context, s Spec) (*net.UnixListener, error) {
	var lc net.ListenConfig
	if s.mode != unset {
		lc.Control = closeToAll
	}
	ln, err := lc.Listen(ctx, "unix", s.address)
	if err != nil {
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return nil, err
	}
	return ln.(*net.UnixListener), nil
}

// admit gives a fresh socket file its owner, and only then lets anybody in.
func admit(s Spec) error {
	if s.uid != unset || s.gid != unset {
		if err := os.Lchown(s.address, s.uid, s.gid); err != nil {
			return fmt.Errorf("set owner uid=%d gid=%d (-1: as it is): %w", s.uid, s.gid, reason(err))
		}
	}
	if s.mode != unset {
		if err := os.Chmod(s.address, fs.FileMode(s.mode)); err != nil {
			return fmt.Errorf("set mode %04o: %w", s.mode, reason(err))
		}
	}
	return nil
}

// makeRoom removes a socket file that nobody listens on. Anything else that has the path is left alone, and an error.
func makeRoom(ctx context.Context, path string) error {
	before, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := checkIsSocket(path, before); err != nil {
		return err
	}
	if err := checkStale(ctx, path); err != nil {
		return err
	}
	if err := removeSame(path, before); err != nil {
		return fmt.Errorf("remove the socket file that nobody listens on: %w", err)
	}
	return nil
}

// checkStale returns nil only if the kernel says that no process has the socket any more. (The BSDs say so of a full
// backlog too; Linux does not.) A program that listens sees a connection that ends at once without a byte.
func checkStale(ctx context.Context, path string) error {
	dialer := net.Dialer{Timeout: probeTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%w: another program listens there", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	default: // its backlog is full, it is of another type, we may not connect: whatever it is, it may well be alive
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return fmt.Errorf("%w: a socket is there already and may belong to a running program (%w)", syscall.EADDRINUSE, err)
	}
}

// removeSame removes the file at path if it is still the one that info describes.
func removeSame(path string, info fs.FileInfo) error {
	now, err := os.Lstat(path)
	if err == nil && os.SameFile(now, info) {
		err = os.Remove(path)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// Close ends a waiting Accept and removes the socket file, if the one at the path is still ours. The file goes first:
// while the socket is open nobody takes it for stale, and its inode number is not given to another file.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		var removeErr error
		if l.file != nil {
			removeErr = removeSame(l.path, l.file)
		}
		l.err = errors.Join(removeErr, l.UnixListener.Close())
	})
	return l.err
}

// Addr returns where the socket is now: the kernel knows it by the name that it was bound to.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// String returns the address as a -listen value, without options.
func (l *unixListener) String() string { return schemeUnix + "://" + l.path }
