package relay

import (
	"os"
	"os/exec"
	"testing"
)

// All tests pass with goroutines in place of event loops, too.
func TestWithGoroutines(t *testing.T) {
	if *loops == 0 {
		return
	}
	if testing.Short() {
		t.Skip("it runs all tests once more")
	}
	out, err := exec.CommandContext(t.Context(), os.Args[0], "-loops=0").CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}
