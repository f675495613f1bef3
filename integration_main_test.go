//go:build linux

package main_test

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"linesplit/internal/rig"
	"linesplit/internal/testcert"
)

// What all integration tests share. TestMain sets it once, before any of them runs.
var (
	binary string         // the program under test
	certs  testcert.Files // an authority and what it signed
)

// inParallel is how many tests run at once. Most of them wait most of the time, so more than there are processors.
const inParallel = "6"

func TestMain(m *testing.M) {
	rig.RunChild()
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

// prepare builds the program and makes certificates, in a directory that it returns.
func prepare() (dir string, err error) {
	flag.Parse()
	chosen := false
	flag.Visit(func(f *flag.Flag) { chosen = chosen || f.Name == "test.parallel" })
	if !chosen {
		flag.Set("test.parallel", inParallel)
	}
	if dir, err = os.MkdirTemp("", "linesplit"); err != nil {
		return "", err
	}
	if certs, err = testcert.Write(dir); err != nil {
		return "", err
	}
	if err := noticeSources(); err != nil {
		return dir, err
	}
	binary, err = rig.Build(dir)
	return dir, err
}

// noticeSources opens every source file, which is what go test looks at before it repeats an old result. What the program is made of
// is not part of the test binary, so without this a change to it would pass untested.
func noticeSources() error {
	return filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".go" {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		return f.Close()
	})
}
