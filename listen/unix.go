package listen

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// probeTimeout limits the connect that tests whether a program listens on a socket file. A Unix
// connect usually returns at once.
const probeTimeout = time.Second

// unixListener is a Unix listener that removes its own socket file, and no other.
type unixListener struct {
	*net.UnixListener
	path string
	file *socketFile // nil for an abstract socket, and for one of systemd
	once sync.Once
	err  error

	detached detached
	passing
	use
}

// openUnix makes a socket file with its mode and owner, and replaces a stale one.
//
// The socket is bound under its own name with no permissions, and gets its owner and then its mode,
// so that no user can connect without permission, not even for a moment. (Binding under another
// name and renaming would also work on every system, but a rename replaces whatever has the name by
// then, and ss and lsof would show the other name for ever.)
//
// Between finding a stale file and replacing it, another process could do the same and take the new
// file of the faster process for the stale one. Processes that run this code exclude each other by
// a lock, which ends with its holder. Against other programs, the file is compared once more just
// before it is removed.
func openUnix(ctx context.Context, s Spec) (net.Listener, error) {
	if s.abstract() {
		ln, err := bind(ctx, s)
		if err != nil {
			return nil, err
		}
		return &unixListener{UnixListener: ln, path: s.address}, nil
	}

	unlock, err := lock(ctx, s.address)
	if err != nil {
		return nil, err
	}
	defer unlock()
	if s.reuse {
		return replaceUnix(ctx, s)
	}
	if err := removeStale(ctx, s.address); err != nil {
		return nil, err
	}
	return bindFile(ctx, s)
}

func bindFile(ctx context.Context, s Spec) (*unixListener, error) {
	ln, err := bind(ctx, s)
	if err != nil {
		return nil, err
	}
	ln.SetUnlinkOnClose(false) // it would remove any file that has the name by then
	l := &unixListener{UnixListener: ln, path: s.address}
	info, err := os.Lstat(s.address)
	if err == nil {
		l.file = newSocketFile(info)
		err = setOwnerAndMode(s)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return l, nil
}

// replaceUnix replaces a socket file that may be in use with a new one; at any moment there is one
// to connect to. The old process goes on serving the connections to its socket.
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
		return nil, fmt.Errorf("path of %d bytes: to replace a socket, it may have at most %d",
			len(s.address), maxPath-len(".new"))
	}
	os.Remove(beside.address) // left by a process that died at this point; bind fails if this did not work
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
		lc.Control = clearMode
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

// Accept waits for the next connection. Unix sockets do not inherit that urgent data stays in the
// stream.
func (l *unixListener) Accept() (net.Conn, error) {
	conn, err := l.AcceptUnix()
	if err != nil {
		return nil, err
	}
	keepUrgent(conn) // an error means that the connection has ended
	return conn, nil
}

// setOwnerAndMode gives a new socket file its owner, and only then its mode, which permits
// connections.
func setOwnerAndMode(s Spec) error {
	if s.uid != unset || s.gid != unset {
		if err := setOwner(s.address, s.uid, s.gid); err != nil {
			return fmt.Errorf("set owner uid=%d gid=%d (-1: unchanged): %w", s.uid, s.gid, withoutPath(err))
		}
	}
	if s.mode != unset {
		if err := setMode(s.address, fs.FileMode(s.mode)); err != nil {
			return fmt.Errorf("set mode %04o: %w", s.mode, withoutPath(err))
		}
	}
	return nil
}

// removeStale removes a socket file on which no program listens. It leaves any other file alone and
// returns an error.
func removeStale(ctx context.Context, path string) error {
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
		return fmt.Errorf("remove the stale socket file: %w", err)
	}
	return nil
}

// checkStale returns nil only if the kernel reports that no process has the socket open. (The BSDs
// report the same for a full backlog; Linux does not.) A program that listens sees a connection
// that ends at once without a byte.
func checkStale(ctx context.Context, path string) error {
	dialer := net.Dialer{Timeout: probeTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	switch {
	case err == nil:
		conn.Close()
		return fmt.Errorf("%w: another program listens there", syscall.EADDRINUSE)
	case errors.Is(err, syscall.ECONNREFUSED), errors.Is(err, fs.ErrNotExist):
		return nil
	default: // full backlog, another type, no permission to connect: a program may be using the socket
		if op, ok := errors.AsType[*net.OpError](err); ok {
			err = op.Err
		}
		return fmt.Errorf("%w: a socket already exists and may belong to a running program (%w)", syscall.EADDRINUSE, err)
	}
}

// removeSame removes the file at path if it is still the one described by info.
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

// Close ends a waiting Accept and removes the socket file, if the file at the path is still its own
// and no other listener has the socket. It removes the file first: while the socket is open, no
// process takes it for stale, and its inode number is not reused.
func (l *unixListener) Close() error {
	l.once.Do(func() {
		defer l.noteClosed()
		var removeErr error
		if l.file != nil {
			removeErr = l.file.release(l.path)
		}
		if l.detached.close() {
			l.err = removeErr
		} else {
			l.err = errors.Join(removeErr, l.UnixListener.Close())
		}
	})
	return l.err
}

// Addr returns the current path of the socket. The kernel still reports the name that it was bound
// to.
func (l *unixListener) Addr() net.Addr { return &net.UnixAddr{Name: l.path, Net: "unix"} }

// String returns the address as a -listen value, without options.
func (l *unixListener) String() string { return schemeUnix + "://" + l.path + l.suffix() }
