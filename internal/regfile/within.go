package regfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"time"
)

const (
	// readTimeout is how long a disk may take to answer.
	readTimeout = 5 * time.Second
	// maxStuck bounds how many calls for one file may wait for a disk that does not answer. Each
	// holds a thread.
	maxStuck = 8
	// maxWait is the longest time until another call is tried while earlier ones wait. It begins
	// with readTimeout and doubles with each.
	maxWait = time.Minute
)

var errNoAnswer = errors.New("the disk does not answer")

// stuck counts the calls of within that were left behind, by the name of the file. It belongs to
// the process, as the threads do that these calls hold.
var stuck = struct {
	mu    sync.Mutex
	names map[string]stuckCalls
}{names: make(map[string]stuckCalls)}

type stuckCalls struct {
	n     int
	since time.Time   // when the last one was left behind
	until time.Time   // no other is tried before
	file  fs.FileInfo // which the last one reads; nil: it waits for the file's state
}

// within calls do, which looks at a file, in a goroutine, and leaves it behind if it takes too
// long. Before do reads the file, it calls begin with the file's state, and returns the error if
// there is one: the name may lead to another file than the one that earlier calls still read.
func within[T any](name string, do func(begin func(fs.FileInfo) error) (T, error)) (result T, err error) {
	if err := mayLook(name); err != nil {
		return result, err
	}
	done := make(chan struct{})
	var left bool           // the caller has gone; guarded by stuck.mu
	var reading fs.FileInfo // guarded by stuck.mu
	go func() {
		r, e := do(func(file fs.FileInfo) error {
			stuck.mu.Lock()
			defer stuck.mu.Unlock()
			reading = file
			return mayReadLocked(name, file)
		})
		stuck.mu.Lock()
		defer stuck.mu.Unlock()
		if left {
			endStuckLocked(name)
			return
		}
		result, err = r, e
		close(done)
	}()
	t := time.NewTimer(readTimeout)
	defer t.Stop()
	select {
	case <-done:
		return result, err
	case <-t.C:
	}
	stuck.mu.Lock()
	defer stuck.mu.Unlock()
	select {
	case <-done: // just in time
		return result, err
	default:
	}
	left = true
	leaveLocked(name, reading)
	var none T
	return none, fmt.Errorf("%w within %v", errNoAnswer, readTimeout)
}

// mayLook returns an error while the last call that was left behind waits for the file's state, or
// too many wait.
func mayLook(name string) error {
	stuck.mu.Lock()
	defer stuck.mu.Unlock()
	s := stuck.names[name]
	if s.n >= maxStuck || s.n > 0 && s.file == nil && time.Now().Before(s.until) {
		return s.err()
	}
	return nil
}

// mayReadLocked returns an error while the last call that was left behind reads this very file.
func mayReadLocked(name string, file fs.FileInfo) error {
	s := stuck.names[name]
	if s.n > 0 && s.file != nil && sameFile(s.file, file) && time.Now().Before(s.until) {
		return s.err()
	}
	return nil
}

func (s stuckCalls) err() error {
	return fmt.Errorf("%w since %v", errNoAnswer, time.Since(s.since).Round(time.Second))
}

func leaveLocked(name string, file fs.FileInfo) {
	s, now := stuck.names[name], time.Now()
	wait := min(readTimeout<<s.n, maxWait)
	stuck.names[name] = stuckCalls{n: s.n + 1, since: now, until: now.Add(wait), file: file}
}

// endStuckLocked notes that a call has returned: the disk answers again.
func endStuckLocked(name string) {
	s := stuck.names[name]
	if s.n--; s.n <= 0 {
		delete(stuck.names, name)
		return
	}
	s.until = time.Time{}
	stuck.names[name] = s
}

// sameFile reports whether a file is the same as before, and has not changed. nil is the state of a
// file that cannot be read.
func sameFile(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Mode() == b.Mode() && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
