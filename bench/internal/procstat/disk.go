//go:build linux

package procstat

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// FileSystem returns the type of the file system that a folder is on, and what it is made of, such
// as ext4 and /dev/sda1. Both are "unknown" if the kernel does not say.
func FileSystem(folder string) (kind, source string, err error) {
	var s unix.Stat_t
	if err := unix.Stat(folder, &s); err != nil {
		return "", "", fmt.Errorf("stat %s: %w", folder, err)
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "", "", err
	}
	device := fmt.Sprintf("%d:%d", unix.Major(s.Dev), unix.Minor(s.Dev))
	kind, source = "unknown", "unknown"
	for line := range strings.Lines(string(mounts)) {
		mount, what, _ := strings.Cut(line, " - ") // optional fields end before the dash
		before, after := strings.Fields(mount), strings.Fields(what)
		if len(before) > 2 && before[2] == device && len(after) > 1 {
			kind, source = after[0], after[1]
		}
	}
	return kind, source, nil
}

// Free returns how many bytes a user may still write to the file system that a folder is on.
func Free(folder string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(folder, &s); err != nil {
		return 0, fmt.Errorf("statfs %s: %w", folder, err)
	}
	return int64(s.Bavail) * s.Bsize, nil
}

// SyncFileSystem writes to the disk what the kernel has kept in memory for the file system that a
// folder is on.
func SyncFileSystem(folder string) error {
	f, err := os.Open(folder)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := unix.Syncfs(int(f.Fd())); err != nil {
		return fmt.Errorf("sync the file system of %s: %w", folder, err)
	}
	return nil
}
