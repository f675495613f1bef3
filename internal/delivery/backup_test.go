package delivery

import (
	"testing"
	"time"
)

// A connection to a backup that had waited for the end of a write was used although another target
// had come up meanwhile.
func TestBackupThatRestsAgainIsNotUsed(t *testing.T) {
	onStage(t, 2, func(s *stage) {
		backup, primary := s.targets[0], s.targets[1]
		backup.Target.Address.Backup = true
		primary.Target.DialFailed(errSilent)
		s.shared.SetBackends(NewBackends(s.targets))
		s.pass(5 * time.Second)
		old := s.out()
		b := s.buffers.MustGet(512)
		b.B, b.Lines, b.Read = append(b.B, "line\n"...), 1, time.Now()
		s.m.Take(b)
		old.told.FIN = true
		s.m.Check(time.Now())
		if s.dialled != backup {
			t.Fatalf("dialled %v, want the backup", s.dialled)
		}
		waits := s.connect()
		primary.Target.DialSucceeded()
		_, p := s.m.Writing()
		old.written += len(p)
		s.m.Wrote(len(p), nil, time.Now())
		if !waits.closed || s.m.out != nil && s.out() == waits {
			t.Errorf("closed: %v", waits.closed)
		}
	})
}
