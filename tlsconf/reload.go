package tlsconf

import (
	"crypto/tls"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// checkInterval is how often the files are looked at, at most: often enough for people, seldom
// enough to cost nothing under a storm of handshakes.
const checkInterval = time.Second

// material is what one reading of all the files of a side gave.
type material struct {
	config *tls.Config
	certs  []*watched
}

// reloader keeps the configuration of one side and reads it again when the files change.
type reloader struct {
	side  string
	log   *slog.Logger
	files []string
	load  func() (*material, error)

	mu      sync.Mutex    // protects the fields below
	checked time.Time     // when the files were last looked at
	seen    []os.FileInfo // of files, taken before they were last read
	broken  bool          // the last reading failed, current is older than the files
	current *material
}

// newReloader reads the files. Empty names stand for files that were not asked for.
func newReloader(side string, log *slog.Logger, files []string, load func() (*material, error)) (*reloader, error) {
	files = slices.DeleteFunc(files, func(name string) bool { return name == "" })
	r := &reloader{side: side, log: log, files: files, load: load, checked: time.Now(), seen: stat(files)}
	m, err := load()
	if err != nil {
		return nil, err
	}
	r.current = m
	m.warn(log, r.checked)
	if slices.Contains(r.seen, nil) {
		r.files, r.seen = nil, nil // a pipe can be read only once: what has one in it stays as it is
	}
	return r, nil
}

// config returns the configuration of now. Whoever comes while another caller is reading files
// waits for it.
func (r *reloader) config() *tls.Config {
	r.mu.Lock()
	defer r.mu.Unlock()
	if now := time.Now(); now.Sub(r.checked) >= checkInterval {
		r.checked = now
		r.checkLocked()
		r.current.warn(r.log, now)
	}
	return r.current.config
}

// checkLocked reads the files again if they have changed, and also if they could not be used the
// last time: the fault may have been a passing one, such as a lack of file descriptors. Only a
// change is worth another line in the log.
func (r *reloader) checkLocked() {
	// What is seen is taken before the reading, so that a change during the reading is found the
	// next time.
	seen := stat(r.files)
	changed := !slices.EqualFunc(seen, r.seen, sameFile)
	if !changed && !r.broken {
		return
	}
	r.seen = seen
	m, err := r.load()
	r.broken = err != nil
	switch {
	case err == nil:
		r.current = m
		r.log.Info("tls files reloaded", "side", r.side, "files", r.files)
	case changed:
		r.log.Warn("tls files have changed and cannot be used, keeping the old ones", "side", r.side, "err", err)
	}
}

// stat follows symbolic links, as a mounted secret is switched by turning one. What is missing or
// no regular file is nil.
func stat(files []string) []os.FileInfo {
	infos := make([]os.FileInfo, len(files))
	for i, name := range files {
		if info, err := os.Stat(name); err == nil && info.Mode().IsRegular() {
			infos[i] = info
		}
	}
	return infos
}

func sameFile(a, b os.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}
