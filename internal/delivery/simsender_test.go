package delivery

import (
	"bytes"
	"slices"
	"time"

	"linesplit/internal/framing"
	"linesplit/internal/intake"
	"linesplit/linebuf"
)

// This file models sending processes, and the kernel between them and the streams that read them.

// simSender is one inbound connection: the process that writes, and in simreader_test.go the driver
// of the stream that reads.
type simSender struct {
	s *sim

	framing framing.Framing
	sent    []byte // all that the process has written
	part    []byte // of its line, not written yet
	ends    []int  // of its lines in sent; that of the last may not be reached yet
	pace    int    // bytes that it writes per millisecond
	rests   time.Time
	kernel  int // bytes that wait in the kernel at most
	fin     bool
	reset   bool
	leaves  time.Time // when it ends after it has seen our FIN; zero: it has not

	simReader
}

// senderCount limits the senders that are connected at one time.
const senderCount = 10

// connect adds a sender.
func (s *sim) connect(now time.Time) {
	if s.ended || s.stopped || len(s.senders) >= senderCount {
		return
	}
	x := &simSender{s: s, framing: s.someFraming(), kernel: 300 << s.rng.IntN(6), pace: 1 + s.rng.IntN(s.maxPace)}
	x.begin(now)
	s.senders = append(s.senders, x)
}

// act lets the process write for some time.
func (x *simSender) act(now time.Time, ms int) {
	switch n := x.s.rng.IntN(200); {
	case x.fin || x.reset:
		return
	case n == 0 || !x.leaves.IsZero() && now.After(x.leaves):
		x.fin = x.named() // in mid-line perhaps
		return
	case n == 1:
		x.reset = true
		return
	case n < 8:
		x.rests = now.Add(time.Duration(x.s.rng.IntN(5000)) * time.Millisecond)
	case n < 12:
		x.pace = 1 + x.s.rng.IntN(x.s.maxPace)
	}
	if now.Before(x.rests) {
		return
	}
	for most := 1 + x.s.rng.IntN(1+x.pace*min(ms, 50)); most > 0; {
		room := x.kernel - (len(x.sent) - x.read)
		if room <= 0 {
			return
		}
		if len(x.part) == 0 {
			x.part = x.s.line(x.framing)
			x.ends = append(x.ends, len(x.sent)+len(x.part))
		}
		n := min(most, room, len(x.part))
		x.sent = append(x.sent, x.part[:n]...)
		x.part = x.part[n:]
		most -= n
	}
}

// passSenders lets senders and the drivers of their streams go on.
func (s *sim) passSenders(now time.Time, d time.Duration) {
	if !s.fed || s.stopped || s.muted {
		return
	}
	if s.rng.IntN(8) == 0 && !s.exhausted {
		s.connect(now)
	}
	kept := s.senders[:0]
	for _, x := range s.senders {
		x.cut = x.cut || s.ended && now.After(s.cutAt)
		s.acting = x
		x.act(now, int(d.Milliseconds()))
		x.pass(now)
		s.acting = nil
	}
	for _, x := range s.senders {
		if !x.over {
			kept = append(kept, x)
		}
	}
	clear(s.senders[len(kept):])
	s.senders = kept
}

// terminate ends the input: senders see a FIN, and after a while those that are left are cut off.
func (s *sim) terminate(now time.Time) {
	if s.ended {
		return
	}
	s.ended = true
	for _, x := range s.senders {
		if s.rng.IntN(3) > 0 {
			x.leaves = now.Add(time.Duration(s.rng.IntN(5000)) * time.Millisecond)
		}
	}
	s.cutAt = now.Add(time.Duration(s.rng.IntN(10000)) * time.Millisecond)
}

// abortSenders ends everything at once.
func (s *sim) abortSenders(now time.Time) {
	for _, x := range s.senders {
		x.abort(now)
	}
	for _, b := range s.queue {
		s.buffers.Put(b)
	}
	s.queue, s.senders = nil, nil
	if use := s.streamUse(); use.Unfinished != 0 || use.Awake != 0 {
		s.t.Errorf("seed %d: at the end %+v", s.seed, use)
	}
}

func (s *sim) streamUse() (u intake.Usage) {
	if s.fed {
		u = s.streams.Usage()
	}
	return u
}

// hangUp ends the goroutines that wait for memory, after a failure.
func (s *sim) hangUp() {
	for _, x := range s.senders {
		if x.cancel != nil {
			x.cancel()
		}
	}
}

// named reports whether an unfinished line says which one it is.
func (x *simSender) named() bool {
	return len(x.part) == 0 || x.framing == framing.Octet || bytes.IndexByte(x.sent[x.startBefore(len(x.sent)):], ' ') >= 0
}

// startBefore returns the start of the line that is unfinished at a position, or the position if a
// line ends there.
func (x *simSender) startBefore(pos int) int {
	i, found := slices.BinarySearch(x.ends, pos)
	switch {
	case found:
		return pos
	case i == 0:
		return 0
	}
	return x.ends[i-1]
}

// endBehind returns the end of the line that begins at or holds a position, and whether that has
// been written.
func (x *simSender) endBehind(pos int) (end int, written bool) {
	i, _ := slices.BinarySearch(x.ends, pos+1)
	return x.ends[i], x.ends[i] <= len(x.sent)
}

// line returns a new line: mostly a short one, sometimes one about as long as is allowed, or
// longer.
func (s *sim) line(f framing.Framing) []byte {
	n := s.rng.IntN(40)
	switch maxLine := s.limits.MaxLine; s.rng.IntN(8) {
	case 0:
		n = max(0, maxLine-16+s.rng.IntN(20))
	case 1:
		n = s.rng.IntN(2 * maxLine)
	}
	return []byte(enframe(s.body(f, n), f))
}

// tuneIntake changes what a reload can change for senders.
func (s *sim) tuneIntake() {
	s.limits = intake.Limits{
		MaxLine: s.longestLine - s.rng.IntN(s.longestLine/2),
		Policy:  intake.Oversize(s.rng.IntN(3)),
	}
	s.idle, s.slow = 0, 0
	if s.rng.IntN(2) == 0 {
		s.idle = time.Duration(1+s.rng.IntN(10)) * time.Second
	}
	if s.rng.IntN(2) == 0 {
		s.slow = time.Duration(1+s.rng.IntN(10)) * time.Second
	}
	s.streams.SetMaxLine(s.limits.MaxLine)
}

// feeds makes the input come from senders, within a memory budget that is tight or plenty.
func (s *sim) feeds() {
	s.fed = true
	s.frames()
	s.longestLine = 64 << s.rng.IntN(8)
	read := 512 << s.rng.IntN(2)
	largest := max(read<<s.rng.IntN(3), linebuf.ClassSize(s.longestLine))
	if s.largest = largest; s.framed { // what stands for a delimiter is longer
		s.largest *= 8
	}
	limit := 4 * largest * (1 + s.rng.IntN(4))
	if s.plenty = s.rng.IntN(3) == 0; s.plenty {
		limit = 4 * senderCount * 8 * largest
	}
	s.buffers = linebuf.NewPool(int64(limit))
	s.streams = intake.NewShared(s.buffers, read, read<<s.rng.IntN(3), time.Now())
	s.tuneIntake()
	s.queueCap, s.gateFree, s.maxPace = 1+s.rng.IntN(8), 1+s.rng.IntN(4), 1<<s.rng.IntN(8)
	if s.plot == peaceful || s.plot == hang {
		s.window = max(512, int64(limit)/16)
	}
}
