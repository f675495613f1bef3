//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package listen

import (
	"os"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Any user who could read the directory of a socket could hold its lock, so that a start failed
// after 5 s.
func TestLockOnTheDirectoryHoldsUpNoStart(t *testing.T) {
	dir := t.TempDir()
	d, err := os.Open(dir)
	must(t, err)
	defer d.Close()
	must(t, unix.Flock(int(d.Fd()), unix.LOCK_EX))
	makeStale(t, dir+"/s")
	began := time.Now()
	ln, err := Open(t.Context(), mustParse(t, "unix://"+dir+"/s"), nil, nil)
	must(t, err)
	if took := time.Since(began); took > lockTimeout/2 {
		t.Errorf("it took %v", took)
	}
	must(t, ln.Close())
}

// What another user has put in the place of the lock file is left alone, and holds up no start.
func TestForeignLockFileHoldsUpNoStart(t *testing.T) {
	for kind, put := range map[string]func(name string) error{
		"open to others": func(name string) error {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			return os.Chmod(name, 0o666)
		},
		"a symbolic link": func(name string) error { return os.Symlink(name+"-elsewhere", name) },
		"a directory":     func(name string) error { return os.Mkdir(name, 0o700) },
		"a pipe":          func(name string) error { return unix.Mkfifo(name, 0o600) },
	} {
		t.Run(kind, func(t *testing.T) {
			dir := t.TempDir()
			name := dir + "/s" + lockSuffix
			must(t, put(name))
			before, err := os.Lstat(name)
			must(t, err)
			if before.Mode().IsRegular() {
				f, err := os.Open(name)
				must(t, err)
				defer f.Close()
				must(t, unix.Flock(int(f.Fd()), unix.LOCK_EX))
			}
			ln, err := Open(t.Context(), mustParse(t, "unix://"+dir+"/s"), nil, nil)
			must(t, err)
			must(t, ln.Close())
			after, err := os.Lstat(name)
			if err != nil || !os.SameFile(before, after) {
				t.Errorf("it was touched: %v", err)
			}
			if _, err := os.Lstat(name + "-elsewhere"); err == nil {
				t.Error("the link was followed")
			}
		})
	}
}

// A lock file that a killed process has left is used again and removed.
func TestLockFileThatIsLeft(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(dir+"/s"+lockSuffix, nil, 0o600))
	unlock, err := lock(t.Context(), dir+"/s")
	must(t, err)
	f, _, err := openLock(dir + "/s" + lockSuffix)
	must(t, err)
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != unix.EWOULDBLOCK {
		t.Errorf("not locked: %v", err)
	}
	f.Close()
	unlock()
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}
