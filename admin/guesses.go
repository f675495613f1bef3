package admin

import (
	"sync"
	"time"
)

const (
	guessBurst    = 10          // wrong tokens that a peer may send at once
	guessInterval = time.Second // between further ones
	maxGuessers   = 1024        // accounts; a new one takes the place of the one with the smallest debt
)

// guesses slows down peers that send wrong tokens: beyond guessBurst, a peer's tokens are compared
// once in guessInterval. The zero value is ready; its methods are safe for concurrent use.
type guesses struct {
	mu    sync.Mutex           // protects the field below
	until map[string]time.Time // by peer: when the guesses so far will be forgotten
}

// compare reports whether a token of a peer may be compared now, and if so, what equal returned.
func (g *guesses) compare(peer string, now time.Time, equal func() bool) (may, is bool) {
	if !g.charge(peer, now) {
		return false, false
	}
	if !equal() {
		return true, false
	}
	g.refund(peer)
	return true, true
}

// charge counts a guess before its result is known, so that many at once are counted, too.
func (g *guesses) charge(peer string, now time.Time) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = map[string]time.Time{}
	}
	until, known := g.until[peer]
	if !known && len(g.until) >= maxGuessers {
		g.forgetLocked(now)
	}
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) > (guessBurst-1)*guessInterval {
		return false
	}
	g.until[peer] = until.Add(guessInterval)
	return true
}

func (g *guesses) refund(peer string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if until, known := g.until[peer]; known {
		g.until[peer] = until.Add(-guessInterval)
	}
}

// forgetLocked makes room: it removes all accounts without debts, or else the one with the
// smallest. A peer that has not guessed must not pay for the guesses of others.
func (g *guesses) forgetLocked(now time.Time) {
	smallest := ""
	for peer, until := range g.until {
		if !until.After(now) {
			delete(g.until, peer)
		} else if smallest == "" || until.Before(g.until[smallest]) {
			smallest = peer
		}
	}
	if len(g.until) >= maxGuessers {
		delete(g.until, smallest)
	}
}
