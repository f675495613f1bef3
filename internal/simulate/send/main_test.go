package send

import (
	"flag"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	flag.Set("test.parallel", "16") // those in parallel wait for time to pass, not for processors; the command line wins
	goleak.VerifyTestMain(m)
}
