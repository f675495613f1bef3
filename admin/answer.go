package admin

import (
	"bytes"
	"maps"
	"net/http"
	"strconv"
	"sync"
)

// draft is a ResponseWriter that keeps an answer until it is sent. A handler that writes to it
// never waits for its client, so that a client that does not read holds none of the handler's
// limited places.
type draft struct {
	header http.Header
	code   int
	body   bytes.Buffer
}

func newDraft() *draft { return &draft{header: http.Header{}, code: http.StatusOK} }

// Header implements http.ResponseWriter.
func (d *draft) Header() http.Header { return d.header }

// WriteHeader implements http.ResponseWriter.
func (d *draft) WriteHeader(code int) { d.code = code }

// Write implements http.ResponseWriter.
func (d *draft) Write(p []byte) (int, error) { return d.body.Write(p) }

// send writes the answer to a client, and may be called for several. It ignores errors of a client
// that has disconnected.
func (d *draft) send(w http.ResponseWriter) {
	maps.Copy(w.Header(), d.header)
	if d.code != http.StatusNoContent {
		w.Header().Set("Content-Length", strconv.Itoa(d.body.Len()))
	}
	w.WriteHeader(d.code)
	if d.body.Len() > 0 {
		_, _ = w.Write(d.body.Bytes())
	}
}

// shared calls a function once for all callers that come before a call begins, and makes one call
// at a time. So each caller gets a result no older than its own call, and any number of concurrent
// callers cost little more than one.
type shared[T any] struct {
	call    func() T
	running chan struct{} // holds a value during a call

	mu   sync.Mutex
	next *result[T] // of a call that has not begun; nil: there is none
}

// result holds what one call returned. Callers share it and must not change it.
type result[T any] struct {
	done  chan struct{} // closed when value is set
	value T
}

func newShared[T any](call func() T) *shared[T] {
	return &shared[T]{call: call, running: make(chan struct{}, 1)}
}

// get returns the result of a call that has begun after get was called.
func (s *shared[T]) get() T {
	mine, first := s.join()
	if first {
		s.run(mine)
	}
	<-mine.done
	return mine.value
}

// join returns the result of the next call, and reports whether the caller has to make that call.
func (s *shared[T]) join() (next *result[T], first bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.next != nil {
		return s.next, false
	}
	s.next = &result[T]{done: make(chan struct{})}
	return s.next, true
}

func (s *shared[T]) run(mine *result[T]) {
	s.running <- struct{}{}
	defer func() { <-s.running }()
	defer close(mine.done)
	s.mu.Lock()
	s.next = nil // later callers need a later call
	s.mu.Unlock()
	mine.value = s.call()
}
