package testrig

import (
	"errors"
	"fmt"
	"testing"
)

// errNoFileLocks means that neither this process nor the file system can lock files.
var errNoFileLocks = errors.New("no file locks")

// localLane is the fast lane of this process alone.
var localLane = make(chan struct{}, 1)

// TakeFastLane waits until no other test of this module is in the fast lane, and keeps it until
// the test ends. Tests whose load takes most of a small machine, or that measure, take it so that
// they run one at a time. The go command runs the tests of several packages at once, each in a
// process of its own, so the lane is a file lock. Without file locks it holds only among the tests
// of one process.
func TakeFastLane(tb testing.TB) {
	tb.Helper()
	localLane <- struct{}{}
	release, err := lockModule()
	if err != nil && !errors.Is(err, errNoFileLocks) {
		<-localLane
		tb.Fatalf("take the fast lane: %v", err)
	}
	tb.Cleanup(func() {
		if release != nil {
			release()
		}
		<-localLane
	})
}

// lockModule waits for the module's lock and returns a function that releases it.
func lockModule() (release func(), err error) {
	root, err := moduleRoot()
	if err != nil {
		return nil, err
	}
	if release, err = lockFile(root); err != nil {
		return nil, fmt.Errorf("lock %s: %w", root, err)
	}
	return release, nil
}
