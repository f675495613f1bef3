package relpsource

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/relp"
	"linesplit/linebuf"
	"linesplit/splitter"
)

// session is one connection. Its reader owns it; a goroutine of its own writes the responses.
type session struct {
	v      *serving
	nc     net.Conn
	sender *splitter.Sender

	in      *relp.Reader
	input   *bufio.Reader // of in
	maxLine int
	buffer  *linebuf.Buffer // lines that are not handed over; nil: none
	numbers []uint32        // of the frames that they came in

	answers    chan *answer
	unanswered atomic.Int64    // answers that are not written
	dead       context.Context // ends when no more can be written
	die        context.CancelCauseFunc

	mu      sync.Mutex // guards the field below, and read deadlines
	stopped bool       // nothing more is read
}

var past = time.Unix(1, 0)

// stop ends reading.
func (s *session) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stopped = true
	s.nc.SetReadDeadline(past)
}

func (s *session) isStopped() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stopped
}

// readWithin limits the time for reading, from now on; 0: no limit.
func (s *session) readWithin(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var deadline time.Time
	if d > 0 {
		deadline = time.Now().Add(d)
	}
	if !s.stopped {
		s.nc.SetReadDeadline(deadline)
	}
}

// errClosed is the end of a session that the client has closed in order.
var errClosed = errors.New("closed by the client")

// read reads frames, and hands over their lines. It always returns an error. With errClosed, and
// after stop, lines that were handed over still get their responses.
func (s *session) read(ctx context.Context) error {
	limits := s.v.s.o.Limits()
	s.maxLine = limits.MaxLine
	s.input = bufio.NewReaderSize(s.nc, readSize)
	s.in = relp.NewReader(s.input, max(limits.MaxLine, maxOffer))
	s.in.Charge = s.v.s.chargeLong
	defer s.in.Release()
	s.readWithin(openTimeout)
	if err := s.open(ctx); err != nil {
		return err
	}
	for {
		if !s.in.Ready() { // the client may wait for responses before it writes more
			if err := s.handOver(ctx); err != nil {
				return err
			}
			if err := s.awaitFrame(limits.IdleTimeout); err != nil {
				return err
			}
		}
		f, err := s.in.Next()
		switch {
		case errors.Is(err, relp.ErrTooLong):
			err = s.dropLong(ctx, f)
		case err != nil:
			return err
		case f.Command == relp.Syslog:
			err = s.add(ctx, f)
			if len(f.Data) >= readSize {
				s.in.Release()
			}
		case f.Command == relp.Close:
			if err := s.handOver(ctx); err != nil {
				return err
			}
			if err := s.respond(ctx, relp.Append(nil, f.Number, relp.Respond, nil)); err != nil {
				return err
			}
			return errClosed
		default:
			if err = s.handOver(ctx); err == nil {
				err = s.respond(ctx, relp.AppendResponse(nil, f.Number, failed, "this command is not supported", nil))
			}
		}
		if err != nil {
			return err
		}
	}
}

// awaitFrame waits for the first byte of a frame, and limits the time for the frame. A client that
// waits for responses is not idle.
func (s *session) awaitFrame(idle time.Duration) error {
	for {
		s.readWithin(idle)
		_, err := s.input.Peek(1)
		if !errors.Is(err, os.ErrDeadlineExceeded) || s.isStopped() || s.unanswered.Load() == 0 {
			return err
		}
	}
}

const (
	// failed is the status of responses to what has failed.
	failed = 500
	// maxOffer is how much data the first frame may have in any case, in bytes.
	maxOffer = 4 << 10
)

// open opens the session.
func (s *session) open(ctx context.Context) error {
	f, err := s.in.Next()
	if err != nil {
		return err
	}
	if f.Command != relp.Open {
		return fmt.Errorf("the first command is %s, want %s", f.Command, relp.Open)
	}
	offer, err := relp.ParseOffer(f.Data)
	if err != nil {
		return err
	}
	if !offer.Has(relp.Syslog) {
		s.respond(ctx, relp.AppendResponse(nil, f.Number, failed, "only the command syslog is supported", nil))
		return fmt.Errorf("the client does not offer the command %s", relp.Syslog)
	}
	ours := relp.Offer{Version: min(offer.Version, version), Software: "linesplit," + s.v.s.o.Version, Commands: []string{relp.Syslog}}
	return s.respond(ctx, relp.AppendResponse(nil, f.Number, relp.OK, "OK", ours.Append(nil)))
}

// version is the highest one of RELP that there is.
const version = 1

// add adds the line of a frame to the buffer. A line with a newline within it is a record of octet
// counting, which targets get as their framing has it.
func (s *session) add(ctx context.Context, f relp.Frame) error {
	line := bytes.TrimSuffix(f.Data, newline)
	kind, size := framing.Newline, len(line)+1
	if bytes.Contains(line, newline) {
		kind, size = framing.Octet, framing.HeaderSize(len(line))+len(line)
	}
	if size > s.maxLine {
		return s.dropLong(ctx, f)
	}
	if s.buffer != nil && (s.buffer.Framing != kind || cap(s.buffer.B)-len(s.buffer.B) < size) {
		if err := s.handOver(ctx); err != nil {
			return err
		}
	}
	if s.buffer == nil {
		expected := min(size+s.input.Buffered(), maxBuffer)
		b, err := s.v.s.o.Pool.Get(ctx, max(size, expected))
		if err != nil {
			return err
		}
		b.Framing, s.buffer = kind, b
	}
	b := s.buffer
	if kind == framing.Octet {
		b.B = append(framing.AppendHeader(b.B, len(line)), line...)
	} else {
		b.B = append(append(b.B, line...), '\n')
	}
	b.Lines++
	s.numbers = append(s.numbers, f.Number)
	return nil
}

var newline = []byte{'\n'}

// dropLong drops the line of a frame, which is longer than may be. The response is that of success:
// the client would send the line again after any other.
func (s *session) dropLong(ctx context.Context, f relp.Frame) error {
	if err := s.handOver(ctx); err != nil {
		return err
	}
	s.sender.DropOversize(s.maxLine, len(f.Data))
	return s.respond(ctx, relp.AppendResponse(nil, f.Number, relp.OK, "OK", nil))
}

// handOver hands over the buffer. While there is no room for it, nothing is read.
func (s *session) handOver(ctx context.Context) error {
	if s.buffer == nil {
		return nil
	}
	b := s.buffer
	b.Read = time.Now()
	a := await(b, s.v.s.o.Required, s.numbers)
	s.buffer, s.numbers = nil, nil
	if _, err := s.sender.Send(ctx, b); err != nil {
		s.v.s.o.Pool.Put(b) // the client has no response
		return fmt.Errorf("lines are not handed over: %w", err)
	}
	return s.enqueue(ctx, a)
}

// respond queues a response that is due at once, behind those before it.
func (s *session) respond(ctx context.Context, response []byte) error {
	return s.enqueue(ctx, &answer{due: dueNow, response: response})
}

// enqueue queues an answer. It waits while too many others are not due.
func (s *session) enqueue(ctx context.Context, a *answer) error {
	select {
	case s.answers <- a:
		s.unanswered.Add(1)
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.dead.Done():
		return context.Cause(s.dead)
	}
}
