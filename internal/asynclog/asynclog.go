// Package asynclog writes logs without ever waiting for whoever reads them.
package asynclog

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// capacity is how many bytes wait for a reader that is slow: some 5,000 lines.
const capacity = 1 << 20

// Writer takes lines for a writer that may block for ever, such as a pipe whose reader has stopped. What does not fit is dropped and counted.
// All methods are safe for concurrent use.
type Writer struct {
	out   io.Writer
	wake  chan struct{} // holds one: there is something to do
	ended chan struct{}

	mu      sync.Mutex
	waiting []byte
	closing bool
	dropped uint64 // lines
}

// New returns a Writer to out, which must not be used by anybody else until Close has returned.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write takes whole lines, and keeps a copy of them. It never fails and never waits.
func (w *Writer) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing || len(w.waiting)+len(lines) > capacity {
		w.dropped += count(lines)
		return len(lines), nil
	}
	w.waiting = append(w.waiting, lines...)
	w.poke()
	return len(lines), nil
}

// Dropped is how many lines have been dropped, since nobody read them or there is nobody who could.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes what waits and returns when that is done, or after patience. A write that blocks for ever leaves a goroutine behind.
func (w *Writer) Close(patience time.Duration) {
	w.mu.Lock()
	w.closing = true
	w.poke()
	w.mu.Unlock()
	t := time.NewTimer(patience)
	defer t.Stop()
	select {
	case <-w.ended:
	case <-t.C:
	}
}

func (w *Writer) poke() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes all that waits at once: under load, that is many lines with one system call.
func (w *Writer) run() {
	defer close(w.ended)
	var lines []byte
	for range w.wake {
		var closing bool
		lines, closing = w.take(lines)
		if n, err := w.out.Write(lines); err != nil {
			w.drop(count(lines[n:]))
		}
		if closing {
			return
		}
	}
}

// take returns what waits, and gives a buffer for what comes.
func (w *Writer) take(empty []byte) (lines []byte, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, w.waiting = w.waiting, empty[:0]
	return lines, w.closing
}

func (w *Writer) drop(lines uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped += lines
}

func count(lines []byte) uint64 { return uint64(bytes.Count(lines, []byte{'\n'})) }
