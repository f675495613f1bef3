package relpsource

import (
	"context"
	"errors"
	"math/bits"
	"sync/atomic"
	"time"

	"linesplit/internal/relp"
	"linesplit/linebuf"
)

// answer is what is due for some frames. Its receipt, which the buffer of their lines holds, says
// when.
type answer struct {
	linebuf.Receipt
	numbers []uint32      // of the frames
	due     chan struct{} // closed once all groups have released the receipt
	left    atomic.Int32  // groups that have not

	response []byte // to the one frame, if it is another one than success
}

// await makes b hold the receipt of a new answer for each of the groups.
func await(b *linebuf.Buffer, groups linebuf.Groups, numbers []uint32) *answer {
	a := &answer{numbers: numbers, due: make(chan struct{})}
	a.left.Store(int32(bits.OnesCount16(uint16(groups))))
	a.InitWatching(a)
	b.Watch(&a.Receipt, groups)
	return a
}

// Released implements linebuf.Issuer.
func (a *answer) Released(*linebuf.Receipt, int) {
	if a.left.Add(-1) == 0 {
		close(a.due)
	}
}

// dueNow is of answers that wait for nothing.
var dueNow = func() chan struct{} { c := make(chan struct{}); close(c); return c }()

func (a *answer) isDue() bool {
	select {
	case <-a.due:
		return true
	default:
		return false
	}
}

// append appends the responses to b.
func (a *answer) append(b []byte) []byte {
	if a.response != nil {
		return append(b, a.response...)
	}
	for _, n := range a.numbers {
		b = relp.AppendResponse(b, n, relp.OK, "OK", nil)
	}
	return b
}

// errUnanswered is why a session ends whose lines are not confirmed by the end of the process.
var errUnanswered = errors.New("the service has ended")

// maxResponses limits the bytes of one write, but for the responses to one buffer.
const maxResponses = 16 << 10

// write writes responses in the order of answers, each when it is due, until answers is closed and
// empty. It fails if the session is cut off, or if v.ended ends before all are due.
func (s *session) write() error {
	var out []byte
	var next *answer // was read ahead
	for {
		a := next
		if next = nil; a == nil {
			if a = <-s.answers; a == nil {
				return nil
			}
		}
		select {
		case <-a.due:
		case <-s.v.ended.Done():
			if !a.isDue() {
				return errUnanswered
			}
		case <-s.dead.Done():
			return context.Cause(s.dead)
		}
		n := int64(1)
		out = a.append(out[:0])
		for len(out) < maxResponses {
			if next = poll(s.answers); next == nil || !next.isDue() {
				break
			}
			out, next = next.append(out), nil
			n++
		}
		s.nc.SetWriteDeadline(time.Now().Add(answerTimeout)) // an error ends the write, too
		if _, err := s.nc.Write(out); err != nil {
			return err
		}
		s.unanswered.Add(-n)
	}
}

// poll returns an answer that is there already, or nil.
func poll(answers <-chan *answer) *answer {
	select {
	case a := <-answers:
		return a
	default:
		return nil
	}
}
