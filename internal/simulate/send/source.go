package send

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"linesplit/internal/simulate/record"
)

// Limits of what a source holds, in bytes.
const (
	maxLine   = record.MaxLength
	maxReplay = 64 << 20 // of a reader that cannot seek, kept in order to repeat it
)

// source hands out the lines of a reader, each once per pass. A goroutine of its own reads,
// because a Read cannot be interrupted. Clients take lines one after another.
type source struct {
	batches chan []byte // whole lines; closed at the end. The receiver owns the slice
	used    chan []byte // slices that return to the reading goroutine
	token   chan []byte // holds the slice received last while no client is taking lines
	rest    []byte      // what is left of that slice; owned by the client that has the token

	ended atomic.Bool // no more lines will be handed out
	err   error       // why reading failed; valid once batches is closed
}

// startSource starts to read, until the end of r or until ctx ends.
func startSource(ctx context.Context, r io.Reader, repeat int) *source {
	s := &source{batches: make(chan []byte, 1), used: make(chan []byte, 3), token: make(chan []byte, 1)}
	s.token <- nil
	go func() { // Run does not wait for it: a read from a terminal may block for ever
		defer close(s.batches)
		s.err = s.read(ctx, r, repeat)
	}()
	return s
}

func (s *source) read(ctx context.Context, r io.Reader, repeat int) error {
	again := passes(r, repeat)
	for n := 0; ; n++ {
		from, err := again(n)
		if err != nil {
			return err
		}
		some, err := s.readPass(ctx, from)
		if err != nil || !some || ctx.Err() != nil || repeat >= 0 && n+1 >= repeat {
			return err
		}
	}
}

// passes returns a function that returns the reader for each pass. The first one is r itself.
func passes(r io.Reader, repeat int) func(pass int) (io.Reader, error) {
	if repeat == 0 || repeat == 1 {
		return func(int) (io.Reader, error) { return r, nil }
	}
	if seeker, ok := r.(io.Seeker); ok {
		if start, err := seeker.Seek(0, io.SeekCurrent); err == nil {
			return func(pass int) (io.Reader, error) {
				if pass == 0 {
					return r, nil
				}
				_, err := seeker.Seek(start, io.SeekStart)
				return r, err
			}
		}
	}
	kept := &replayReader{r: r}
	return func(pass int) (io.Reader, error) {
		if pass == 0 {
			return kept, nil
		}
		return bytes.NewReader(kept.all), nil
	}
}

// replayReader keeps what is read through it.
type replayReader struct {
	r   io.Reader
	all []byte
}

func (k *replayReader) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	if len(k.all)+n > maxReplay {
		return 0, fmt.Errorf("input of more than %d bytes that cannot be rewound: put it into a file to repeat it",
			maxReplay)
	}
	k.all = append(k.all, b[:n]...)
	return n, err
}

// readPass hands out all lines of r, and reports whether there were any.
func (s *source) readPass(ctx context.Context, r io.Reader) (some bool, err error) {
	buf := s.buffer()
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= maxLine {
				return some, fmt.Errorf("a line of more than %d bytes", maxLine)
			}
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF && len(buf) > 0 && buf[len(buf)-1] != '\n' {
			buf = append(buf, '\n') // the last line may have no newline
		}
		if end := bytes.LastIndexByte(buf, '\n') + 1; end > 0 {
			next := append(s.buffer(), buf[end:]...)
			if !s.handOut(ctx, buf[:end]) {
				return true, nil
			}
			some, buf = true, next
		}
		if err != nil {
			return some, ignore(err, io.EOF)
		}
	}
}

// ignore returns err, or nil if it is the expected one.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (s *source) buffer() []byte {
	select {
	case b := <-s.used:
		return b[:0]
	default:
		return make([]byte, 0, batchSize)
	}
}

func (s *source) handOut(ctx context.Context, lines []byte) bool {
	select {
	case <-ctx.Done():
		return false
	case s.batches <- lines:
		return true
	}
}

// take appends at least one line, up to n lines and about 64 KiB, to b. It returns 0 lines at the
// end, or when ctx ends.
func (s *source) take(ctx context.Context, b []byte, n int) (_ []byte, lines int) {
	var all []byte // the slice that s.rest belongs to
	select {
	case <-ctx.Done():
		return b, 0
	case all = <-s.token:
	}
	defer func() { s.token <- all }()
	if len(s.rest) == 0 {
		if all = s.receive(ctx, all); all == nil {
			return b, 0
		}
	}
	length, lines := s.portion(n)
	b = append(b, s.rest[:length]...)
	s.rest = s.rest[length:]
	return b, lines
}

// receive returns the used slice and waits for the next one.
func (s *source) receive(ctx context.Context, used []byte) []byte {
	if used != nil {
		select {
		case s.used <- used:
		default:
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case next, ok := <-s.batches:
		if !ok {
			s.ended.Store(true)
		}
		s.rest = next
		return next
	}
}

// portion returns how much of the rest a client gets that takes up to n lines.
func (s *source) portion(n int) (length, lines int) {
	if n >= len(s.rest) && len(s.rest) <= batchSize { // all of it, because a line has at least one byte
		return len(s.rest), bytes.Count(s.rest, []byte{'\n'})
	}
	for lines < n && length < len(s.rest) {
		next := bytes.IndexByte(s.rest[length:], '\n') + 1
		if lines > 0 && length+next > batchSize {
			break
		}
		length += next
		lines++
	}
	return length, lines
}

// failure returns why reading failed, or nil.
func (s *source) failure() error {
	if !s.ended.Load() || s.err == nil {
		return nil
	}
	return fmt.Errorf("read input: %w", s.err)
}
