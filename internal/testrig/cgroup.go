//go:build linux

package testrig

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// Cgroup is a control group with a limit of memory, like that of a container: the kernel kills
// what exceeds it.
type Cgroup struct {
	dir  string
	peak string // file with the most memory that was in use
}

// NewCgroup makes a control group with a limit in bytes, and removes it when the test ends. It
// skips the test where that takes rights that this process does not have.
func NewCgroup(tb testing.TB, limit int64) Cgroup {
	tb.Helper()
	const root = "/sys/fs/cgroup"
	name := fmt.Sprintf("linesplit-test-%d-%d", os.Getpid(), limit)
	for _, kind := range []struct{ parent, limit, peak string }{
		{root, "memory.max", "memory.peak"},                                                   // version 2
		{filepath.Join(root, "memory"), "memory.limit_in_bytes", "memory.max_usage_in_bytes"}, // version 1
	} {
		dir, err := os.MkdirTemp(kind.parent, name)
		if err != nil {
			continue
		}
		tb.Cleanup(func() { os.Remove(dir) })
		if put(filepath.Join(dir, kind.limit), strconv.FormatInt(limit, 10)) == nil {
			return Cgroup{dir, filepath.Join(dir, kind.peak)}
		}
	}
	tb.Skip("no control group with a limit of memory can be made here")
	return Cgroup{}
}

// put writes to a file that is there: without control groups, a directory may be an ordinary one.
func put(file, text string) error {
	f, err := os.OpenFile(file, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}

// Peak returns the most memory that was in use, in bytes.
func (c Cgroup) Peak(tb testing.TB) int64 {
	tb.Helper()
	text, err := os.ReadFile(c.peak)
	if err != nil {
		tb.Fatalf("peak of a control group: %v", err)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		tb.Fatalf("peak of a control group: %v", err)
	}
	return n
}
