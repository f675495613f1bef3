package tlsconf

import (
	"crypto/tls"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

// checkInterval is the minimum time between two checks of the files: short enough for people, and
// long enough to cost nothing under a storm of handshakes.
const checkInterval = time.Second

// material is the result of reading all the files of one side.
type material struct {
	config *tls.Config
	certs  []*watchedCert
}

// reloader keeps the configuration of one side and reads it again when the files change.
type reloader struct {
	side  string
	log   *slog.Logger
	files []string
	load  func() (*material, error)

	mu      sync.Mutex    // guards the fields below
	checked time.Time     // when the files were last checked
	seen    []os.FileInfo // of files, from before they were last read
	broken  bool          // the last reading failed; current is older than the files
	current *material
}

// newReloader reads the files. An empty name means that the file is not configured.
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
		r.files, r.seen = nil, nil // a pipe can be read only once, so these files are never read again
	}
	return r, nil
}

// config returns the present configuration. A caller that comes while another one reads the files
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

// checkLocked reads the files again if they have changed, or if the last reading failed: the fault
// may have been a passing one, such as a lack of file descriptors. It logs another failure only
// after another change.
func (r *reloader) checkLocked() {
	// The stat comes before the reading, so that the next check finds a change during the reading.
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

// stat follows symbolic links, because a mounted secret is replaced by changing a link. The result
// is nil for a missing file and for one that is not a regular file.
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
