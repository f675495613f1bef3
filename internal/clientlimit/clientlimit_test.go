package clientlimit

import (
	"net/netip"
	"testing"
	"testing/synctest"
	"time"
)

func TestConnectionsOfOneAddressAreLimited(t *testing.T) {
	var c Clients
	a, b := clientAddr(1), clientAddr(2)
	limits := Limits{Connections: 2}
	for _, want := range []Verdict{Admitted, Admitted, TooMany, TooMany} {
		if got := c.Admit(a, limits); got != want {
			t.Errorf("Admit = %v, want %v", got, want)
		}
	}
	if got := c.Admit(b, limits); got != Admitted {
		t.Errorf("Admit = %v for another address", got)
	}
	c.Dismiss(a)
	if got := c.Admit(a, limits); got != Admitted {
		t.Errorf("Admit = %v after a connection has ended", got)
	}
	for range 2 {
		c.Dismiss(a)
	}
	c.Dismiss(b)
	if len(c.counts) != 0 {
		t.Errorf("%d addresses are remembered", len(c.counts))
	}
}

func TestConnectionsCountBeforeThereIsALimit(t *testing.T) {
	var c Clients
	c.Admit(clientAddr(1), Limits{})
	if got := c.Admit(clientAddr(1), Limits{Connections: 1}); got != TooMany {
		t.Errorf("Admit = %v with a limit that is reached", got)
	}
}

func TestRateOfOneAddressIsLimited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c Clients
		limits := Limits{Rate: 2}
		for _, want := range []Verdict{Admitted, Admitted, TooFast} {
			if got := c.Admit(clientAddr(1), limits); got != want {
				t.Errorf("Admit = %v, want %v", got, want)
			}
		}
		time.Sleep(time.Second / 2)
		if got := c.Admit(clientAddr(1), limits); got != Admitted {
			t.Errorf("Admit = %v half a second later", got)
		}
	})
}

func TestClientsWithoutAnAddressAreAdmitted(t *testing.T) {
	var c Clients
	for range 3 {
		if got := c.Admit(netip.Addr{}, Limits{Connections: 1, Rate: 1}); got != Admitted {
			t.Errorf("Admit = %v", got)
		}
		c.Dismiss(netip.Addr{})
	}
}
