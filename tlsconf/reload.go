package tlsconf

import (
	"crypto/tls"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/regfile"
)

// material is the result of reading all the files of one side.
type material struct {
	config  *tls.Config
	watched []*watched
	clients *clientTrust // of a server
	renewed []string     // files of the pairs that differ from those before
}

// reloader keeps the configuration of one side and reads it again when the files change.
type reloader struct {
	side  string
	log   *slog.Logger
	files []string
	// load reads the files. Beside an error it may return what could be read, with the rest from
	// before; before is nil at first.
	load func(before *material) (*material, error)

	watch   *regfile.Watch
	current atomic.Pointer[material]
	warning sync.Mutex // held while a material's warnings are looked at
}

// newReloader reads the files. An empty name means that the file is not configured.
func newReloader(side string, log *slog.Logger, files []string,
	load func(before *material) (*material, error),
) (*reloader, error) {
	files = slices.DeleteFunc(files, func(name string) bool { return name == "" })
	r := &reloader{side: side, log: log, files: files, load: load}
	watch, err := regfile.NewWatch(files, r.read, r.report)
	if err != nil {
		return nil, err
	}
	r.watch = watch
	r.warn()
	return r, nil
}

// config returns the present configuration. It does not wait for a disk that does not answer: then
// the configuration that was last read stays in force.
func (r *reloader) config() *tls.Config {
	if r.watch.Check() {
		r.warn()
	}
	return r.current.Load().config
}

func (r *reloader) warn() {
	r.warning.Lock()
	defer r.warning.Unlock()
	r.current.Load().warn(r.log, time.Now())
}

func (r *reloader) read() error {
	before := r.current.Load()
	m, err := r.load(before)
	if m != nil && (err == nil || before != nil) {
		r.warning.Lock()
		m.keepWarnings(before)
		r.warning.Unlock()
		r.current.Store(m)
	}
	return err
}

// report logs another failure only after another change.
func (r *reloader) report(changed bool, err error) {
	if err == nil {
		r.log.Info("tls files reloaded", "side", r.side, "files", r.files)
		return
	}
	if changed {
		r.log.Warn("tls files have changed and cannot be used, keeping the old ones", "side", r.side, "err", err)
	}
	if files := r.current.Load().renewed; len(files) > 0 {
		r.log.Info("tls files reloaded", "side", r.side, "files", files)
	}
}
