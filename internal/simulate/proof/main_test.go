package proof

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary also act as the proxy under test, and as a process to be killed.
func TestMain(m *testing.M) {
	if len(os.Args) > 2 && os.Args[1] == "fake-proxy" {
		os.Exit(fakeProxy(os.Args[2:]))
	}
	if len(os.Args) == 2 && os.Args[1] == "cut-off" {
		os.Exit(cutOff())
	}
	flag.Parse()
	flag.Set("test.parallel", inParallel)
	goleak.VerifyTestMain(m)
}

// inParallel is the number of tests that run in parallel. They mostly wait.
const inParallel = "8"
