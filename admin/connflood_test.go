package admin

import (
	"fmt"
	"net"
	"testing"
	"time"
)

// flood adds n connections, in turn from so many addresses, in the time that passes between two
// connections of an ordinary flood, and reports whether held keep their places.
func (c *crowded) flood(n, addresses int, held ...net.Conn) bool {
	for i := range n {
		c.now = c.now.Add(time.Second / 590)
		c.add(&conn{from: fmt.Sprintf("10.0.%d.%d", i%addresses/256, i%addresses%256)}, c.now)
	}
	for _, conn := range held {
		if c.conns[conn] == nil {
			return false
		}
	}
	return true
}

// Connections that came before their probes' requests had been read lost their places after 128
// further ones, which a flood of 590 a second from 40 addresses opens in a fifth of a second: of
// connections of the same kind, the oldest gave way, whatever its peer had.
func TestFloodTakesNoPlaceOfOthers(t *testing.T) {
	for addresses := range 80 {
		l, probes := newCrowded(t, MaxConns), some(modest, "10.1.0.1")
		for _, probe := range probes {
			l.enter(probe, nil)
		}
		if addresses == 0 {
			continue
		}
		if kept, want := l.flood(5*MaxConns, addresses, probes...), addresses < MaxConns/modest; kept != want {
			t.Errorf("flood from %d addresses: kept %v, want %v", addresses, kept, want)
		}
	}
}

// A single connection of a peer, before it counts as idle, gives way only when there is a peer for
// each place.
func TestFloodTakesNoSinglePlace(t *testing.T) {
	for addresses, want := range map[int]bool{40: true, MaxConns - 1: true, MaxConns: false} {
		l, probe := newCrowded(t, MaxConns), some(1, "10.1.0.1")
		l.enter(probe[0], nil)
		if kept := l.flood(4*MaxConns, addresses, probe...); kept != want {
			t.Errorf("flood from %d addresses: kept %v, want %v", addresses, kept, want)
		}
	}
}

// Places that are kept by requests under way are not there to be shared, whichever client has them.
func TestFloodBesideRequestsThatKeepTheirPlaces(t *testing.T) {
	const anonymous = maxRequests + maxStreams
	l, probes := newCrowded(t, MaxConns), some(modest, "10.1.0.1")
	for _, conn := range some(anonymous, "10.2.0.1") {
		l.enter(conn, nil)
		l.keep(conn, 1)
	}
	for _, probe := range probes {
		l.enter(probe, nil)
	}
	if !l.flood(5*MaxConns, (MaxConns-anonymous)/modest-1, probes...) {
		t.Error("the probes have lost their places")
	}
}
