package admin

import (
	"fmt"
	"net/http"
	"testing"
	"time"

	"linesplit/tlsconf"
)

// Guesses of the token were as fast as the network: 40,000 in a second. Now a peer has some at once
// and one a second after that, and right tokens cost it none.
func TestGuessesAreSlowed(t *testing.T) {
	var g guesses
	now := began
	guess := func(peer string, right bool) bool {
		may, is := g.compare(peer, now, func() bool { return right })
		if is && !right {
			t.Error("a wrong token is right")
		}
		return may
	}
	compared := 0
	for range 1000 {
		if guess("a", false) {
			compared++
		}
	}
	if compared != guessBurst {
		t.Errorf("%d guesses at once", compared)
	}
	if guess("a", true) || !guess("b", true) {
		t.Error("the right token: compared for a guesser, or not for another peer")
	}
	for range 60 {
		now = now.Add(guessInterval)
		if !guess("a", false) || guess("a", false) {
			t.Fatal("not one guess a second")
		}
	}
	now = now.Add(time.Hour)
	for range 1000 {
		if !guess("a", true) {
			t.Fatal("right tokens use up guesses")
		}
	}
}

// Peers without number take bounded memory, those that guess most stay slowed, and none of them
// keeps out a peer that has the token. 1,024 guessing addresses locked out all others.
func TestGuessersAreBounded(t *testing.T) {
	var g guesses
	wrong := func(peer string) bool {
		may, _ := g.compare(peer, began, func() bool { return false })
		return may
	}
	for range guessBurst {
		wrong("persistent")
	}
	for i := range 10 * maxGuessers {
		wrong(fmt.Sprint(i))
	}
	if len(g.until) > maxGuessers {
		t.Errorf("%d accounts", len(g.until))
	}
	if wrong("persistent") {
		t.Error("a peer with a large debt was forgotten")
	}
	if _, is := g.compare("honest", began, func() bool { return true }); !is {
		t.Error("a peer that has not guessed is kept out")
	}
	later := began.Add(time.Minute)
	if may, _ := g.compare("new", later, func() bool { return false }); !may || len(g.until) != 1 {
		t.Errorf("after a minute: compared %v, %d accounts", may, len(g.until))
	}
}

func TestGuesserIsToldToWait(t *testing.T) {
	s := serveOn(t, "127.0.0.1:0", tlsconf.ServerFiles{}, Options{Token: loadToken(t)})
	codes := map[int]int{}
	for range 3 * guessBurst {
		codes[s.status(t, "GET", "/api/v1/config", "Authorization", "Bearer wrong-token")]++
	}
	if codes[http.StatusUnauthorized] < guessBurst || codes[http.StatusTooManyRequests] == 0 {
		t.Errorf("%v", codes)
	}
	if got := s.status(t, "GET", "/api/v1/status", "Authorization", "Bearer wrong-token"); got != 200 {
		t.Errorf("what needs no token: status %d", got)
	}
	if got := s.status(t, "GET", "/healthz", "Authorization", "Bearer wrong-token"); got != 200 {
		t.Errorf("probe: status %d", got)
	}
}
