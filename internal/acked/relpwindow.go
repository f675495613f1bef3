package acked

import (
	"fmt"

	"linesplit/internal/relp"
)

// relpWindow is a run of frames that were sent, from the oldest unanswered one on. Servers may
// answer them in any order.
type relpWindow struct {
	frames [maxUnanswered]sentFrame // a ring
	oldest int                      // its place in the ring
	number uint32                   // its transaction number
	count  int
}

// sentFrame is a frame that was sent.
type sentFrame struct {
	line     Part
	answered bool
}

// add adds a frame. The window has room for it, and its number follows that of the last one.
func (w *relpWindow) add(number uint32, line Part) {
	if w.count == 0 {
		w.number = number
	}
	w.frames[(w.oldest+w.count)%maxUnanswered] = sentFrame{line: line}
	w.count++
}

// answer notes that the frame with a number is answered, and returns its line.
func (w *relpWindow) answer(number uint32) (Part, error) {
	distance := int(number) - int(w.number)
	if distance < 0 {
		distance += relp.MaxNumber // the numbers have begun again
	}
	f := &w.frames[(w.oldest+distance)%maxUnanswered]
	switch {
	case number == 0 || distance >= w.count:
		return Part{}, fmt.Errorf("a response to transaction %d, which was not sent; the oldest of %d unanswered ones is %d",
			number, w.unanswered(), w.number)
	case f.answered:
		return Part{}, fmt.Errorf("a second response to transaction %d", number)
	}
	f.answered = true
	line := f.line
	for w.count > 0 && w.frames[w.oldest].answered {
		w.frames[w.oldest].line = Part{}
		w.oldest = (w.oldest + 1) % maxUnanswered
		w.number = relp.Next(w.number)
		w.count--
	}
	return line, nil
}

// unanswered returns the number of frames without an answer.
func (w *relpWindow) unanswered() (n int) {
	for i := range w.count {
		if !w.frames[(w.oldest+i)%maxUnanswered].answered {
			n++
		}
	}
	return n
}
