//go:build unix

package cli

import (
	"syscall"
	"testing"
	"time"
)

// A signal that `timeout` sent to a command and to its group killed the command before its account.
func TestRepeatedSignalDoesNotKillACommand(t *testing.T) {
	ctx, stop := untilInterrupted(t.Context())
	defer stop()
	terminate := func() {
		if err := syscall.Kill(syscall.Getpid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
	}
	terminate()
	<-ctx.Done()
	for began := time.Now(); time.Since(began) < 20*time.Millisecond; { // it may be back late
		terminate()
		time.Sleep(time.Millisecond)
	}
}
