package clientlimit

import (
	"net/netip"
	"testing"
	"time"
)

func TestRatesAllowABurstAndThenTheRate(t *testing.T) {
	r := newRates(5)
	now := time.Now()
	allowed := 0
	for i := range 1000 { // for 10 s
		if r.allow(clientAddr(0), now.Add(time.Duration(i)*10*time.Millisecond)) {
			allowed++
		}
	}
	if allowed < 53 || allowed > 55 {
		t.Errorf("%d in 10 s at 5/s", allowed)
	}
	for i := range 5 * maxRates {
		if !r.allow(clientAddr(i+1), now) {
			t.Fatal("the first connection of a client was refused")
		}
	}
	if n := len(r.now) + len(r.old); n > 2*maxRates {
		t.Errorf("%d clients are remembered", n)
	}
}

// clientAddr returns one of 2^24 addresses.
func clientAddr(i int) netip.Addr {
	return netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})
}
