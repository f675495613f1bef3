package cli

import (
	"context"
	"os"
	"testing"
)

// asLinesplit is a variable that makes the test binary be linesplit.
const asLinesplit = "RUN_AS_LINESPLIT"

func TestMain(m *testing.M) {
	if os.Getenv(asLinesplit) != "" {
		os.Exit(Main(context.Background(), "v1.2.3", os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}
