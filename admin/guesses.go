package admin

import (
	"sync"
	"time"
)

const (
	guessBurst    = 10          // wrong tokens that a peer may send at once
	guessInterval = time.Second // between further ones
	maxGuessers   = 1024        // peers that are told apart; all others share one account
)

// guesses slows down peers that send wrong tokens: beyond guessBurst, a peer's tokens are compared
// once in guessInterval. The zero value is ready; its methods are safe for concurrent use.
type guesses struct {
	mu    sync.Mutex           // protects the field below
	until map[string]time.Time // by peer: when the guesses so far will be forgotten
}

// compare reports whether a token of a peer may be compared now, and if so, what equal returned.
func (g *guesses) compare(peer string, now time.Time, equal func() bool) (may, is bool) {
	account, may := g.charge(peer, now)
	if !may {
		return false, false
	}
	if !equal() {
		return true, false
	}
	g.refund(account)
	return true, true
}

// charge counts a guess before its result is known, so that many at once are counted, too.
func (g *guesses) charge(peer string, now time.Time) (account string, may bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.until == nil {
		g.until = map[string]time.Time{}
	}
	until, known := g.until[peer]
	if !known && len(g.until) >= maxGuessers && !g.forgetLocked(now) {
		peer = "others"
		until = g.until[peer]
	}
	if until.Before(now) {
		until = now
	}
	if until.Sub(now) > (guessBurst-1)*guessInterval {
		return peer, false
	}
	g.until[peer] = until.Add(guessInterval)
	return peer, true
}

func (g *guesses) refund(account string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.until[account] = g.until[account].Add(-guessInterval)
}

// forgetLocked removes accounts without debts and reports whether there is room now.
func (g *guesses) forgetLocked(now time.Time) bool {
	for peer, until := range g.until {
		if !until.After(now) {
			delete(g.until, peer)
		}
	}
	return len(g.until) < maxGuessers
}
