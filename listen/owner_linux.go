package listen

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// errNotOurs reports a file in the place of a socket that was just bound there.
var errNotOurs = errors.New("something else has taken the place of the new socket")

// setOwner changes the owner of a socket file that was just bound; -1 leaves it.
func setOwner(path string, uid, gid int) error {
	return onSocketFile(path, func(fd int) error {
		return unix.Fchownat(fd, "", uid, gid, unix.AT_EMPTY_PATH)
	})
}

// setMode changes the mode of a socket file that was just bound.
func setMode(path string, mode fs.FileMode) error {
	return onSocketFile(path, func(fd int) error {
		err := unix.Fchmodat(fd, "", uint32(mode.Perm()), unix.AT_EMPTY_PATH)
		if errors.Is(err, unix.EOPNOTSUPP) { // before Linux 6.6
			return os.Chmod(fmt.Sprintf("/proc/self/fd/%d", fd), mode)
		}
		return err
	})
}

// onSocketFile calls do with a descriptor of the file itself. In a directory of another user, that
// user can put a symbolic or hard link in the place of the socket at any time; a change by the path
// would follow it.
func onSocketFile(path string, do func(fd int) error) error {
	fd, err := unix.Open(path, unix.O_PATH|unix.O_NOFOLLOW|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("open", err)
	}
	defer unix.Close(fd)
	var info unix.Stat_t
	if err := unix.Fstat(fd, &info); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if info.Mode&unix.S_IFMT != unix.S_IFSOCK || info.Nlink != 1 {
		return errNotOurs
	}
	return do(fd)
}
