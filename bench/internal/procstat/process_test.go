//go:build linux

package procstat

import (
	"os"
	"testing"
)

// A proxy that rests uses less than 10 ms in a whole run, which /proc/PID/stat shows as nothing.
func TestProcessorTimeIsFinerThanTheTicksOfProc(t *testing.T) {
	smallest := 1.0
	before, err := CPUSeconds(os.Getpid())
	for range 100 {
		after, errAfter := CPUSeconds(os.Getpid())
		if err != nil || errAfter != nil || after <= before {
			t.Fatalf("processor time was %v (%v) and then %v (%v)", before, err, after, errAfter)
		}
		smallest, before = min(smallest, after-before), after
	}
	if smallest > 0.5/userHZ {
		t.Errorf("processor time grew by %v s or more at a time", smallest)
	}
}

func TestMetersOfThisProcessShowWhatItUses(t *testing.T) {
	pid := os.Getpid()
	now, err := resident(pid)
	if err != nil || now < 1<<20 {
		t.Errorf("resident = %d, %v", now, err)
	}
	if peak, err := peakRSS(pid); err != nil || peak < now/2 {
		t.Errorf("peak %d, now %d, %v", peak, now, err)
	}
	if n, err := descriptors(pid); err != nil || n < 3 {
		t.Errorf("descriptors = %d, %v", n, err)
	}
}
