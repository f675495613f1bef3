package regfile

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	// checkInterval is the minimum time between two checks of the files: short enough for people,
	// and long enough to cost nothing under a storm of calls.
	checkInterval = time.Second
	// checkPatience is how long the caller that began a check waits for it. A disk that answers
	// takes milliseconds.
	checkPatience = time.Second
)

// Watch has files read again when they have changed. It has no goroutine of its own: files are
// checked when Check is called, at most once a second. Its methods are safe for concurrent use.
type Watch struct {
	files  []string
	load   func() error
	report func(changed bool, err error)

	mu       sync.Mutex    // guards the fields below; not held while a file is looked at
	checking bool          // a check is in progress
	checked  time.Time     // when the last check began
	seen     []fs.FileInfo // of files, from before they were last read; nil for one that cannot be read
	broken   bool          // the last load failed: what is in use is older than the files
}

// NewWatch calls load, which reads the files, and returns its error if it fails. Later calls of
// Check call load when the files have changed, and again at each check until it succeeds: the fault
// may have been a passing one, such as a lack of file descriptors. report is told of these later
// calls, and whether the files have changed since the one before. load and report are never called
// concurrently.
func NewWatch(files []string, load func() error, report func(changed bool, err error)) (*Watch, error) {
	w := &Watch{files: files, load: load, report: report, checked: time.Now(), seen: states(files)}
	if err := load(); err != nil {
		return nil, err
	}
	return w, nil
}

// Check checks the files if that is due, and reports whether it was. It returns when the check is
// done, or before if a disk does not answer. Meanwhile other callers do not wait.
func (w *Watch) Check() (due bool) {
	done := w.begin(time.Now())
	if done == nil {
		return false
	}
	t := time.NewTimer(checkPatience)
	defer t.Stop()
	select {
	case <-done:
	case <-t.C:
	}
	return true
}

// begin starts a check, and returns nil if none is due.
func (w *Watch) begin(now time.Time) (done chan struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.checking || now.Sub(w.checked) < checkInterval {
		return nil
	}
	w.checking, w.checked = true, now
	done = make(chan struct{})
	before, broken := w.seen, w.broken
	go func() {
		defer close(done)
		seen, failed := w.check(before, broken)
		w.mu.Lock()
		defer w.mu.Unlock()
		w.seen, w.broken, w.checking = seen, failed, false
	}()
	return done
}

// check loads the files if they have changed since before, or if that has failed last.
func (w *Watch) check(before []fs.FileInfo, broken bool) (seen []fs.FileInfo, failed bool) {
	// The files' state comes before the reading, so that the next check finds a change during it.
	seen = states(w.files)
	changed := !slices.EqualFunc(seen, before, sameFile)
	if !changed && !broken {
		return seen, false
	}
	err := w.load()
	w.report(changed, err)
	return seen, err != nil
}

// Expire makes the next check due. It is for tests.
func (w *Watch) Expire() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.checked = time.Time{}
}

// states follows symbolic links, because a mounted secret is replaced by changing a link.
func states(files []string) []fs.FileInfo {
	all := make([]fs.FileInfo, len(files))
	for i, name := range files {
		info, err := within(name, func(func(fs.FileInfo) error) (fs.FileInfo, error) { return os.Stat(name) })
		if errors.Is(err, errNoAnswer) {
			break // the others are likely to be on the same disk
		}
		all[i] = info
	}
	return all
}

// State returns the state of the file that a name leads to, through symbolic links; nil if it
// cannot be told.
func State(name string) fs.FileInfo { return states([]string{name})[0] }

// Same reports whether a file is the same as before, and has not changed. nil is the state of one
// that cannot be read.
func Same(a, b fs.FileInfo) bool { return sameFile(a, b) }
