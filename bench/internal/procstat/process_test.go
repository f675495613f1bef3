//go:build linux

package procstat

import (
	"os"
	"testing"
	"time"
)

func TestMetersOfThisProcessShowWhatItUses(t *testing.T) {
	pid := os.Getpid()
	before, err := CPUSeconds(pid)
	if err != nil {
		t.Fatal(err)
	}
	after := before // in steps of a hundredth of a second
	for end := time.Now().Add(10 * time.Second); err == nil && after <= before && time.Now().Before(end); {
		after, err = CPUSeconds(pid)
	}
	if err != nil || after <= before {
		t.Errorf("processor time was %v and then %v, %v", before, after, err)
	}
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
