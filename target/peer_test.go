package target

import (
	"errors"
	"testing"
	"time"
)

// fakeQuery answers with one of its answers after the other.
type fakeQuery []fakeAnswer

type fakeAnswer struct {
	unread uint64
	err    error
}

func (q *fakeQuery) unread() (uint64, error) {
	a := (*q)[0]
	*q = (*q)[1:]
	return a.unread, a.err
}

var errFake = errors.New("no answer")

// A socket that is torn down may seem to have read everything: in its last answer the queue was
// empty although a megabyte was unread. That answer must never count.
func TestLookupCountsOnlyWhatALaterAnswerProves(t *testing.T) {
	now := time.Now()
	q := fakeQuery{{unread: 100}, {unread: 100}, {unread: 0}, {err: errPeerGone}}
	l := peerLookup{query: &q, retry: true}
	if l.see(1000, now); !l.exact || l.read != 900 {
		t.Errorf("read %d, exact %v after two answers in the first look", l.read, l.exact)
	}
	if l.see(2000, now.Add(lookupSeldom)); !l.exact || l.read != 900 || l.query != nil {
		t.Errorf("read %d, exact %v after the socket's end, want 900, which is all that is known", l.read, l.exact)
	}
	l.see(3000, now.Add(time.Hour)) // asks no more
}

// Looks in quick succession ask once, and each proves the one before.
func TestLookupInQuickSuccession(t *testing.T) {
	now := time.Now()
	q := fakeQuery{{unread: 0}, {unread: 10}, {unread: 2000}, {unread: 0}}
	l := peerLookup{query: &q, askedAt: now}
	for i, want := range []uint64{0, 1000, 1990, 1990} {
		acked := uint64(1000 * (i + 1))
		if l.see(acked, now); l.read != want {
			t.Errorf("look %d: read %d, want %d", i, l.read, want)
		}
	}
}

func TestLookupEndsAfterFailures(t *testing.T) {
	now := time.Now()
	failures := func(n int) (q fakeQuery) {
		for range n {
			q = append(q, fakeAnswer{err: errFake})
		}
		return q
	}
	for _, retry := range []bool{false, true} {
		q := failures(lookupTries)
		l := peerLookup{query: &q, retry: retry}
		l.see(1, now)
		if l.exact || (l.query != nil) != retry {
			t.Errorf("retry %v: exact %v, goes on %v", retry, l.exact, l.query != nil)
		}
		l.see(1, now)
		if l.see(1, now); l.query != nil {
			t.Errorf("retry %v: goes on after %d failures", retry, lookupTries)
		}
	}
	q := append(failures(lookupTries-1), fakeAnswer{unread: 1}, fakeAnswer{unread: 1})
	l := peerLookup{query: &q, retry: true}
	for range lookupTries {
		l.see(5, now)
	}
	if !l.exact || l.read != 4 {
		t.Errorf("read %d, exact %v after an answer at last", l.read, l.exact)
	}
}
