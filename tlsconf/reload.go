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
	config     *tls.Config
	validities []*validity  // of all certificates and lists in the files
	clients    *clientTrust // of a server; nil if clients need no certificate
	renewed    []string     // files of the pairs that differ from those of the last load
}

// reloader keeps the configuration of one side and reads it again when the files change.
type reloader struct {
	side  string // "server" or "target"
	log   *slog.Logger
	files []string
	// load reads the files. before is the current material, nil at first. With an error, load may
	// return a material of the files that it could read and of parts of before.
	load func(before *material) (*material, error)

	watch   *regfile.Watch
	current atomic.Pointer[material]
	warning sync.Mutex // guards validity.lastWarning
}

// newReloader reads the files, whose names may be empty for files that are not configured.
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

// config returns the current configuration, after a look whether the files have changed. It does
// not wait for a disk that does not answer: then it returns the configuration that was last read.
func (r *reloader) config() *tls.Config {
	if r.watch.Check() {
		r.warn()
	}
	return r.current.Load().config
}

// warn logs certificates and lists that expire soon, or are not valid.
// warn logs certificates and lists that are not valid, or expire soon.
func (r *reloader) warn() {
	r.warning.Lock()
	defer r.warning.Unlock()
	r.current.Load().warn(r.log, time.Now())
}

// read loads the files and replaces the current material.
// read loads the files and replaces the current material.
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

// report logs the result of a read. It logs a failure only if the files have changed since the last
// one.
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
