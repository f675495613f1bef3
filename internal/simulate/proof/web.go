package proof

import (
	"time"

	"linesplit/internal/simulate/websink"
)

// startWebTarget starts another node of a target that takes HTTP requests.
func (s *stage) startWebTarget() {
	if s.store == nil {
		s.store = websink.NewStore(s.tally)
	}
	w, err := websink.Start(s.store, s.setup.bulk)
	if err != nil {
		s.fail(Unproven, "start a target: %w", err)
		return
	}
	s.acking = append(s.acking, w)
}

// restartAcking ends a target that acknowledges, one after the other in turn, and starts it again a
// moment later.
func (s *stage) restartAcking(turn int) {
	t := s.acking[turn%len(s.acking)]
	t.Stop()
	s.startRecovery()
	s.sleep(100 * time.Millisecond)
	if err := t.Listen(); err != nil {
		s.fail(Unproven, "restart a target: %w", err)
	}
}

// webTargetsFail lets two nodes fail in every way: they ask to wait, answer with errors, nonsense,
// or half an answer, and cut connections before they have taken the lines and after that. One after
// the other is restarted, too. What a node has taken the other one knows, so that no line may be
// there twice.
func webTargetsFail(s *stage) {
	s.startLoad(2, steadyRate)
	for i, t := range s.acking {
		t.Fail(uint64(i + 1))
	}
	n := s.size(6, 3)
	for i := range n {
		if s.failed() {
			return
		}
		s.awaitLines(2000)
		s.restartAcking(i)
	}
	for _, t := range s.acking {
		t.Fail(0)
	}
	s.awaitLines(400)
	again, wrong := s.store.Again()
	if wrong > 0 {
		s.fail(Failed, "%d batches or documents had the ID of others", wrong)
	}
	s.recordStaged(again > 0, "restarts: %d; answers that were lost: %d", n, again)
}
