// Package asynclog writes logs through a bounded buffer, so that logging never blocks on a slow
// or stopped reader.
package asynclog

import (
	"bytes"
	"io"
	"sync"
	"time"
)

// capacity is the size of the buffer in bytes: some 5,000 lines.
const capacity = 1 << 20

// Writer buffers lines for an io.Writer that may block for ever, such as a pipe whose reader has
// stopped. Lines that do not fit are dropped and counted. All methods are safe for concurrent
// use.
type Writer struct {
	out   io.Writer
	wake  chan struct{} // of capacity 1: tells run that there is work
	ended chan struct{}

	mu      sync.Mutex
	buffer  []byte
	closing bool
	dropped uint64 // lines
}

// New returns a Writer that writes to out. Nothing else may use out until Close has returned.
func New(out io.Writer) *Writer {
	w := &Writer{out: out, wake: make(chan struct{}, 1), ended: make(chan struct{})}
	go w.run()
	return w
}

// Write buffers a copy of whole lines. It never fails and never waits.
func (w *Writer) Write(lines []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closing || len(w.buffer)+len(lines) > capacity {
		w.dropped += count(lines)
		return len(lines), nil
	}
	w.buffer = append(w.buffer, lines...)
	w.signal()
	return len(lines), nil
}

// Dropped returns how many lines were dropped: because the buffer was full, because writing
// failed, or because they came after Close.
func (w *Writer) Dropped() uint64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped
}

// Close writes the buffered lines and returns when that is done, or after timeout. A write that
// blocks for ever leaves a goroutine behind.
func (w *Writer) Close(timeout time.Duration) {
	w.mu.Lock()
	w.closing = true
	w.signal()
	w.mu.Unlock()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case <-w.ended:
	case <-timer.C:
	}
}

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// run writes all buffered lines at once: under load, many lines go out with one system call.
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

// take returns the buffered lines, and makes empty the buffer for further ones.
func (w *Writer) take(empty []byte) (lines []byte, closing bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	lines, w.buffer = w.buffer, empty[:0]
	return lines, w.closing
}

func (w *Writer) drop(lines uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.dropped += lines
}

func count(lines []byte) uint64 { return uint64(bytes.Count(lines, []byte{'\n'})) }
