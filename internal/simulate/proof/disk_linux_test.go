package proof

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// Only the process sees the disk, and its end removes it.
func TestProcessHasADiskOfItsOwn(t *testing.T) {
	dir := t.TempDir()
	if !canMountDisk(dir) {
		t.Skip("no disk can be mounted here")
	}
	const fill = `head -c 500000 /dev/zero >"$0/first" && head -c 1000000 /dev/zero >"$0/second"`
	args := withDisk(dir, 1<<20, []string{"sh", "-c", fill, dir})
	out, err := exec.Command(args[0], args[1:]...).CombinedOutput()
	if err == nil || !strings.Contains(string(out), "No space left on device") {
		t.Errorf("%v: %s", err, out)
	}
	if files, err := os.ReadDir(dir); err != nil || len(files) > 0 {
		t.Errorf("outside of the process there are %v, %v", files, err)
	}
	if mounts, _ := os.ReadFile("/proc/self/mounts"); strings.Contains(string(mounts), filepath.Base(dir)+" ") {
		t.Error("the disk is still mounted")
	}
}
