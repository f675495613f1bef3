//go:build unix

package flags

import (
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// A pipe in place of the file blocked the reader, since opening a pipe waits for its writer.
func TestFileThatIsAPipe(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.conf")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	err := parse(t, "", "-config", path).Err()
	if err == nil || !strings.Contains(err.Error(), "a pipe, not a regular file") {
		t.Errorf("%v", err)
	}
}
