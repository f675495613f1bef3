// Package regfile reads small files that others may replace at any time: configuration,
// certificates, tokens. What stands in their place may be a pipe, which waits for its writer, a
// directory, a file of gigabytes, or a file on a disk that does not answer. None of these holds up
// a caller for long.
package regfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	// readTimeout is how long a disk may take to answer.
	readTimeout = 5 * time.Second
	// maxStuck bounds how many reads of one file may wait for a disk that does not answer. Each
	// holds a thread.
	maxStuck = 8
	// stuckInterval is the minimum time between such reads: the name may lead to another disk by
	// then.
	stuckInterval = time.Minute
)

var errNoAnswer = errors.New("the disk does not answer")

// Read returns the content of a regular file of at most limit bytes, and its state from before it
// was read. Errors do not contain the name.
func Read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	type content struct {
		data []byte
		info fs.FileInfo
	}
	c, err := within(name, func() (content, error) {
		data, info, err := read(name, limit)
		return content{data, info}, err
	})
	return c.data, c.info, err
}

func read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(name) // before opening: that could already do something to a device
	if err == nil {
		err = check(info, limit)
	}
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe since then must not wait for its writer
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = check(info, limit)
	}
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, nil, withoutPath(err)
	case int64(len(data)) > limit:
		return nil, nil, tooLarge(limit)
	}
	return data, info, nil
}

func check(info fs.FileInfo, limit int64) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("is %s, not a regular file", kind(info.Mode()))
	case info.Size() > limit:
		return tooLarge(limit)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("has more than %d bytes, which is too large for what it should be", limit)
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a pipe"
	default:
		return "a device or a socket"
	}
}

func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}

// stuck counts the calls of within that were left behind, by the name of the file. It belongs to
// the process, as the threads do that these calls hold.
var stuck = struct {
	mu    sync.Mutex
	names map[string]stuckReads
}{names: make(map[string]stuckReads)}

type stuckReads struct {
	n    int
	last time.Time
}

// within calls do, which reads the file, in a goroutine, and leaves it behind if it takes too long.
func within[T any](name string, do func() (T, error)) (result T, err error) {
	if err := mayRead(name); err != nil {
		return result, err
	}
	done := make(chan struct{})
	var left bool // the caller has gone; guarded by stuck.mu
	go func() {
		r, e := do()
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
	stuck.names[name] = stuckReads{stuck.names[name].n + 1, time.Now()}
	var none T
	return none, fmt.Errorf("%w within %v", errNoAnswer, readTimeout)
}

func mayRead(name string) error {
	stuck.mu.Lock()
	defer stuck.mu.Unlock()
	s := stuck.names[name]
	if s.n >= maxStuck || s.n > 0 && time.Since(s.last) < stuckInterval {
		return fmt.Errorf("%w since %v", errNoAnswer, time.Since(s.last).Round(time.Second))
	}
	return nil
}

func endStuckLocked(name string) {
	s := stuck.names[name]
	if s.n--; s.n <= 0 {
		delete(stuck.names, name)
		return
	}
	stuck.names[name] = s
}
