package splice

import (
	"io"
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"linesplit/internal/loop"
)

// Socket is one side of a connection that an event loop carries.
type Socket struct {
	loop.FD
	TCP   bool // a Unix socket otherwise
	First First

	readable, writable bool // until a call returns EAGAIN
	ended              bool // the peer has ended or broken the connection
	urgent             bool // the peer has sent urgent data
}

// Note records the events of the socket. A handler calls it before anything else.
func (s *Socket) Note(ev loop.Events) {
	s.readable = s.readable || ev&loop.Readable != 0
	s.writable = s.writable || ev&loop.Writable != 0
	s.ended = s.ended || ev&loop.PeerEnded != 0
	s.urgent = s.urgent || ev&loop.Urgent != 0
}

// Readable reports whether there may be something to read.
func (s *Socket) Readable() bool { return s.readable }

// Discard reads and discards a bounded number of bytes. It returns true if the peer has ended.
func (s *Socket) Discard(l *loop.Loop) (ended bool) {
	if !s.readable {
		return false
	}
	switch _, err := s.Read(l.Scratch()); err {
	case nil:
		s.Again()
	case unix.EAGAIN:
		s.readable = false
	default:
		return true
	}
	return false
}

// WasReset reports whether the peer has reset the connection. An orderly end is no reset: the peer
// may have sent all its data.
func (s *Socket) WasReset() bool {
	err := loop.Peek(s.Int())
	return err != nil && err != unix.EAGAIN
}

// Streams holds both directions between a client and its target on an event loop. Its methods, and
// those of Stream, belong to the loop's goroutine.
type Streams struct {
	In, Out Stream // client to target, target to client
}

// Init prepares the streams between client and target, which are open. They add the bytes that they
// move to bytesIn and bytesOut, too. The Streams must not be copied afterwards.
func (p *Streams) Init(c *Carrier, client, target *Socket, bytesIn, bytesOut *atomic.Uint64) {
	p.In = Stream{carrier: c, src: client, dst: target, total: bytesIn, back: &p.Out}
	p.Out = Stream{carrier: c, src: target, dst: client, total: bytesOut, back: &p.In}
}

// Stream is one direction of a connection on an event loop: a [Flow] without goroutines.
//
// Small amounts go through the loop's read buffer. Once a read has been full, bytes go through a
// pipe until reads return little again. What the receiving side does not take at once waits in a
// buffer or in the pipe; nothing more is read meanwhile. An idle stream holds neither.
type Stream struct {
	carrier  *Carrier
	src, dst *Socket
	back     *Stream // the other direction
	total    *atomic.Uint64
	moved    int64 // bytes that dst has taken

	data []byte // bytes to write: part of the loop's buffer during a step, otherwise of buf
	buf  []byte // nil if none is held
	pipe *pipe  // nil if none is held
	n    int    // number of bytes to write, in data or in the pipe

	bulk    bool // recent reads were large
	short   bool // the last read has emptied the socket
	copies  bool // splice does not work between the two sockets
	closed  bool // CloseWrite has been called
	severed bool // a write has failed because of a reset
}

// Moved returns the number of bytes written to the receiving side's socket.
func (s *Stream) Moved() int64 { return s.moved }

// Pending returns the number of bytes that were read and wait for room at the receiving side.
func (s *Stream) Pending() int { return s.n }

// Waiting is Flow.Waiting.
func (s *Stream) Waiting() int64 {
	n, broken := s.unacknowledged()
	if broken {
		return 0
	}
	return n
}

// Delivered is Flow.Delivered.
func (s *Stream) Delivered(reset bool) int64 {
	n, broken := s.unacknowledged()
	if !reset && !broken {
		return s.moved
	}
	return max(0, s.moved-n)
}

func (s *Stream) unacknowledged() (n int64, broken bool) {
	if !s.dst.TCP || s.moved == 0 {
		return 0, false
	}
	n, broken = queueOf(s.dst.Int())
	if n > 0 && s.closed {
		n-- // the FIN counts as a byte
	}
	return n, broken
}

// CloseWrite half-closes the connection with the receiving side.
func (s *Stream) CloseWrite() {
	s.closed = true
	s.dst.CloseWrite()
}

// Step writes what waits and reads once, if there is something to read. When there may be more, the
// source is called again in the next turn. Step returns true when the stream has ended; the error
// is that of [Flow.Carry].
func (s *Stream) Step(l *loop.Loop) (ended bool, err error) {
	if ended, err = s.step(l); s.n == 0 || ended {
		s.Release()
	}
	return ended, err
}

func (s *Stream) step(l *loop.Loop) (ended bool, err error) {
	for first := true; ; first = false {
		if err := s.flush(); err != nil {
			return true, ErrUndeliverable
		}
		switch {
		case s.n > 0:
			s.keep()
			return false, nil
		case !s.src.readable:
			return false, nil
		case !first && !(s.src.ended && s.short): // if ended and short, only the end is left to read
			s.src.Again()
			return false, nil
		}
		if err := s.fill(l); err == io.EOF {
			return true, s.verifyEnd()
		} else if err != nil {
			return true, err
		}
	}
}

// Flush writes what waits. The error is ErrUndeliverable.
func (s *Stream) Flush() error {
	if s.flush() != nil {
		s.Release()
		return ErrUndeliverable
	}
	if s.n == 0 {
		s.Release()
	}
	return nil
}

// verifyEnd returns an error if what looks like an orderly end of src was a reset: the kernel
// reports a reset only once, and a write of the other direction has got the report.
func (s *Stream) verifyEnd() error {
	if s.back.severed {
		return errTruncated
	}
	return nil
}

// fill reads once. It does not wait. Where a splice finds the end, there may be urgent data
// instead, so a read follows.
func (s *Stream) fill(l *loop.Loop) error {
	if s.bulk && !s.copies && !s.src.urgent && s.holdPipe() {
		n, err := loop.Splice(s.src.Int(), s.pipe.w, pipeSize)
		switch {
		case err == unix.EINVAL:
			s.copies = true
		case err != nil || n > 0:
			return s.filled(n, pipeSize, err)
		}
	}
	s.Release()
	b := l.Scratch()[:s.carrier.readSize()]
	n, err := loop.Read(s.src.Int(), b)
	s.data = b[:n]
	return s.filled(n, len(b), err)
}

// filled records the result of a read.
func (s *Stream) filled(n, size int, err error) error {
	switch {
	case err == unix.EAGAIN:
		s.src.readable = false
		return nil
	case err != nil:
		return os.NewSyscallError("read", err)
	case n == 0:
		return io.EOF
	}
	s.src.gotFirst()
	s.n = n
	s.bulk = n == size || s.bulk && n >= smallBuffer
	s.short = n < size && s.pipe == nil && s.src.TCP && !s.src.urgent
	if s.short && !s.src.ended {
		s.src.readable = false // another byte, or the end, is an event
	}
	return nil
}

// flush writes until nothing is left or dst takes no more.
func (s *Stream) flush() error {
	for s.n > 0 && s.dst.writable {
		first := s.moved == 0
		if !first {
			s.dst.BeforeMore()
		}
		n, err := s.give()
		switch {
		case err == unix.EAGAIN:
			s.dst.writable = false
		case err != nil:
			s.severed = severs(err)
			return err
		}
		s.n -= n
		s.moved += int64(n)
		s.total.Add(uint64(n))
		if first {
			s.dst.wroteFirst()
		}
	}
	return nil
}

// give writes once. It does not wait.
func (s *Stream) give() (int, error) {
	if s.pipe != nil {
		n, err := loop.Splice(s.pipe.r, s.dst.Int(), s.n)
		if n == 0 && err == nil {
			err = unix.EPIPE // cannot happen, since the pipe holds s.n bytes; prevents an endless loop
		}
		return n, err
	}
	n, err := loop.Write(s.dst.Int(), s.data)
	s.data = s.data[n:]
	return n, err
}

// keep moves bytes that wait from the loop's buffer to one of the stream's own.
func (s *Stream) keep() {
	if s.pipe != nil || s.buf != nil {
		return
	}
	s.buf = s.carrier.keep(s.data)
	s.data = s.buf[:s.n]
}

// holdPipe reports whether the stream holds a pipe now. It does not if there are too many.
func (s *Stream) holdPipe() bool {
	if s.pipe == nil {
		s.pipe = s.carrier.pipes.get()
	}
	return s.pipe != nil
}

func (s *Stream) releasePipe() {
	if s.pipe != nil {
		s.carrier.pipes.put(s.pipe, s.n > 0)
		s.pipe = nil
	}
}

// Release gives back the buffer and the pipe, and forgets what they hold.
func (s *Stream) Release() {
	s.releasePipe()
	if s.buf != nil {
		s.carrier.free(s.buf)
		s.buf = nil
	}
	s.data, s.n = nil, 0
}
