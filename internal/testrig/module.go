package testrig

import (
	"errors"
	"os"
	"path/filepath"
	"sync"
)

// moduleRoot returns the directory that holds go.mod: the current one, or the nearest above it. A
// test's current directory is that of its package.
var moduleRoot = sync.OnceValues(func() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			return dir, nil
		}
		above := filepath.Dir(dir)
		if above == dir {
			return "", errors.New("no go.mod in the current directory or above it")
		}
		dir = above
	}
})
