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

// Bounds of what a source holds, in bytes.
const (
	longestLine = record.MaxLength
	mostKept    = 64 << 20 // of a reader that cannot go back, to send it again
)

// source hands out the lines of a reader, each once for every time that it is sent. A goroutine of its own reads, since nothing could
// interrupt that; clients take turns.
type source struct {
	fresh chan []byte // whole lines; closed at the end. A slice belongs to whoever received it
	free  chan []byte // back to the reader
	turn  chan []byte // holds what is left of the slice that was received last, while no client is taking lines
	rest  []byte      // of that slice; belongs to who has the turn

	ended atomic.Bool // no more lines will be handed out
	err   error       // why that was too early; valid once fresh is closed
}

// startSource reads until the end, or until ctx ends.
func startSource(ctx context.Context, r io.Reader, repeat int) *source {
	s := &source{fresh: make(chan []byte, 1), free: make(chan []byte, 3), turn: make(chan []byte, 1)}
	s.turn <- nil
	go func() { // not waited for: a read of a terminal ends when a person wants it to
		defer close(s.fresh)
		s.err = s.read(ctx, r, repeat)
	}()
	return s
}

func (s *source) read(ctx context.Context, r io.Reader, repeat int) error {
	again := rewinder(r, repeat)
	for n := 0; ; n++ {
		from, err := again(n)
		if err != nil {
			return err
		}
		some, err := s.pass(ctx, from)
		if err != nil || !some || ctx.Err() != nil || repeat >= 0 && n+1 >= repeat {
			return err
		}
	}
}

// rewinder returns what gives the reader for each pass: r itself first.
func rewinder(r io.Reader, repeat int) func(pass int) (io.Reader, error) {
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
	kept := &keeper{r: r}
	return func(pass int) (io.Reader, error) {
		if pass == 0 {
			return kept, nil
		}
		return bytes.NewReader(kept.all), nil
	}
}

// keeper keeps what is read through it.
type keeper struct {
	r   io.Reader
	all []byte
}

func (k *keeper) Read(b []byte) (int, error) {
	n, err := k.r.Read(b)
	if len(k.all)+n > mostKept {
		return 0, fmt.Errorf("more than %d bytes, to be repeated, from where one cannot go back: put them into a file", mostKept)
	}
	k.all = append(k.all, b[:n]...)
	return n, err
}

// pass hands out all lines of r, and says whether there were any.
func (s *source) pass(ctx context.Context, r io.Reader) (some bool, err error) {
	buf := s.buffer()
	for {
		if len(buf) == cap(buf) {
			if len(buf) >= longestLine {
				return some, fmt.Errorf("a line of more than %d bytes", longestLine)
			}
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := r.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		if err == io.EOF && len(buf) > 0 && buf[len(buf)-1] != '\n' {
			buf = append(buf, '\n') // the last line may lack it
		}
		if end := bytes.LastIndexByte(buf, '\n') + 1; end > 0 {
			next := append(s.buffer(), buf[end:]...)
			if !s.give(ctx, buf[:end]) {
				return true, nil
			}
			some, buf = true, next
		}
		if err != nil {
			return some, unless(err, io.EOF)
		}
	}
}

// unless returns err if it is not the expected one.
func unless(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func (s *source) buffer() []byte {
	select {
	case b := <-s.free:
		return b[:0]
	default:
		return make([]byte, 0, batchSize)
	}
}

func (s *source) give(ctx context.Context, lines []byte) bool {
	select {
	case <-ctx.Done():
		return false
	case s.fresh <- lines:
		return true
	}
}

// take appends up to n lines and about 64 KiB to b, at least one. It returns none at the end, or when ctx ends.
func (s *source) take(ctx context.Context, b []byte, n int) (_ []byte, lines int) {
	var all []byte // the slice that s.rest is the end of
	select {
	case <-ctx.Done():
		return b, 0
	case all = <-s.turn:
	}
	defer func() { s.turn <- all }()
	if len(s.rest) == 0 {
		if all = s.receive(ctx, all); all == nil {
			return b, 0
		}
	}
	length, lines := s.share(n)
	b = append(b, s.rest[:length]...)
	s.rest = s.rest[length:]
	return b, lines
}

// receive gives back the slice that is used up and waits for the next one.
func (s *source) receive(ctx context.Context, used []byte) []byte {
	if used != nil {
		select {
		case s.free <- used:
		default:
		}
	}
	select {
	case <-ctx.Done():
		return nil
	case next, ok := <-s.fresh:
		if !ok {
			s.ended.Store(true)
		}
		s.rest = next
		return next
	}
}

// share returns how much of what is left is for one who takes up to n lines.
func (s *source) share(n int) (length, lines int) {
	if n >= len(s.rest) && len(s.rest) <= batchSize { // all of it, since a line has a byte at least
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

// failure returns why the source ended too early, if it did.
func (s *source) failure() error {
	if !s.ended.Load() || s.err == nil {
		return nil
	}
	return fmt.Errorf("read input: %w", s.err)
}
