package discovery

import (
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
)

// A lookup fails, and does not hang, if the path is a pipe without a writer, a symbolic link to
// itself or to a device, or a file that is too large.
func TestFileThatIsNone(t *testing.T) {
	r := newFileRig(t, "targets.json")
	if err := syscall.Mkfifo(r.path, 0o600); err != nil {
		t.Fatal(err)
	}
	r.want("not a regular file")
	for _, to := range []string{"targets.json", "/dev/zero", "/proc/self/mem"} {
		if err := errors.Join(os.Remove(r.path), os.Symlink(to, r.path)); err != nil {
			t.Fatal(err)
		}
		if a, err := ask(t, r.src); err == nil {
			t.Errorf("a link to %s: %v", to, written(a))
		}
	}
	if err := os.Remove(r.path); err != nil {
		t.Fatal(err)
	}
	r.put(r.path, "["+strings.Repeat(" ", maxList)+"]")
	r.want("more than")
}
