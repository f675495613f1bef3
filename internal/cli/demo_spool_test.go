//go:build unix

package cli

import (
	"bytes"
	"os"
	"strings"
	"testing"
	"time"

	"linesplit/internal/simulate"
)

func testProgram(t *testing.T) *demoProgram {
	t.Helper()
	dir, err := os.MkdirTemp("", "demo") // short, because it holds sockets
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &demoProgram{self: os.Args[0], dir: dir, env: []string{asLinesplit + "=1"}}
	t.Cleanup(p.Kill)
	return p
}

// The demo kills a linesplit with lines inside, and all of them arrive.
func TestDemoWithASpool(t *testing.T) {
	t.Setenv("LINESPLIT_TARGET", "no.such.host:1") // of another linesplit
	var out bytes.Buffer
	err := simulate.CrashDemo(t.Context(), &out, testProgram(t), simulate.DemoOptions{Duration: time.Second, Rate: 20_000})
	if err != nil {
		t.Fatalf("%v\n%s", err, &out)
	}
	for _, part := range []string{"killed linesplit (SIGKILL), with ", "lines arrived whole: 0 lost, 0 torn"} {
		if !strings.Contains(out.String(), part) {
			t.Errorf("no %q in:\n%s", part, &out)
		}
	}
	if strings.Contains(out.String(), "with 0 lines") {
		t.Errorf("nothing was inside when linesplit was killed:\n%s", &out)
	}
	t.Log(out.String())
}

// A linesplit that cannot start is an error with its reason.
func TestDemoOfALinesplitThatDoesNotStart(t *testing.T) {
	p := testProgram(t)
	_, err := p.Start(t.Context(), []string{"no port"})
	if err == nil || !strings.Contains(err.Error(), "ended at once: exit status 2") || !strings.Contains(err.Error(), "-target") {
		t.Errorf("error = %v", err)
	}
}
