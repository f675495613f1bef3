package workerpool

import (
	"testing"
	"time"
)

func TestFineTimer(t *testing.T) {
	timer, err := newFineTimer()
	if err != nil {
		t.Fatal(err)
	}
	defer timer.close()
	for _, d := range []time.Duration{-time.Second, 0, 1, time.Millisecond} {
		start := time.Now()
		timer.set(d)
		<-timer.rings
		if took := time.Since(start); took < d {
			t.Errorf("set to %v, it rang after %v", d, took)
		}
	}
	timer.set(time.Millisecond)
	timer.set(time.Hour)
	select {
	case <-timer.rings:
		t.Error("it rang for a time that was replaced")
	case <-time.After(20 * time.Millisecond):
	}
}

// An alarm that is due soon comes within less than the millisecond of the runtime's timers. Of many
// tries one does on any machine.
func TestAlarmIsFine(t *testing.T) {
	a := newAlarm(true)
	defer a.stop()
	best := time.Hour
	for range 200 {
		start := time.Now()
		<-a.set(start.Add(100 * time.Microsecond))
		a.rang()
		best = min(best, time.Since(start))
	}
	if a.fine == nil || best < 100*time.Microsecond || best > 900*time.Microsecond {
		t.Errorf("an alarm of 100µs came after %v at best", best)
	}
}
