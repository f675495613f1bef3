package send

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// Parallel tests wait for time to pass, not for processors. The command line takes
	// precedence.
	flag.Set("test.parallel", "16")
	goleak.VerifyTestMain(m)
}
