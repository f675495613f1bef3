package proof

import (
	"flag"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// TestMain lets the test binary be the proxy that is tried, and a process that is killed, too.
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

// inParallel is how many tests run at once. They wait most of the time.
const inParallel = "8"
