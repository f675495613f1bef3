//go:build linux

package testrig

import (
	"flag"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"

	"linesplit/internal/testcert"
)

// Certs are an authority and the certificates that it signed. Main writes them once, before any
// test runs.
var Certs testcert.Files

// inParallel is the number of tests that run at the same time: more than there are processors,
// because tests mostly wait.
const inParallel = "6"

// Main is TestMain for packages that test the built program. It reports goroutines that are left
// when the tests have ended.
func Main(m *testing.M) {
	RunIfChild()
	dir, err := prepare()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		os.RemoveAll(dir)
		os.Exit(code)
	}))
}

// SkipIfShort skips a test that takes long if -short is set.
func SkipIfShort(t *testing.T) {
	t.Helper()
	if testing.Short() {
		t.Skip("takes long")
	}
}

// prepare builds the program and writes certificates into a temporary directory, which it returns.
func prepare() (dir string, err error) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		flag.Set("test.parallel", inParallel)
	}
	if _, set := os.LookupEnv("GORACE"); !set { // otherwise each process of a race build sleeps a second before it ends
		os.Setenv("GORACE", "atexit_sleep_ms=0")
	}
	if dir, err = os.MkdirTemp("", "linesplit"); err != nil {
		return "", err
	}
	if Certs, err = testcert.Write(dir); err != nil {
		return "", err
	}
	if program = os.Getenv(programEnv); program == "" {
		program, err = build(dir, Race)
	}
	return dir, err
}
