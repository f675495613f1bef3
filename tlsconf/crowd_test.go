package tlsconf

import (
	"cmp"
	"errors"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/clienthello"
	"linesplit/internal/clientlimit"
)

// crowd is a server whose clients make sham handshakes: the server writes a byte for its answer,
// and waits for a byte of the client.
type crowd struct {
	h        *Handshakes
	clients  sync.WaitGroup
	tried    int           // handshakes of honest clients
	inTime   int           // those that succeeded at once
	finished chan struct{} // closed when no more clients come
}

// sham is the server's side of an in-memory connection from an address.
type sham struct {
	net.Conn
	from net.IP
}

func (s *sham) RemoteAddr() net.Addr { return &net.TCPAddr{IP: s.from, Port: 1} }

// connect makes a handshake, for which client is the client's side, and returns the server's error.
func (c *crowd) connect(from net.IP, client func(net.Conn)) error {
	near, far := net.Pipe()
	defer far.Close()
	c.clients.Go(func() { defer near.Close(); client(near) })
	w := c.h.Watch(&sham{far, from})
	w.hello = clienthello.MaxSize
	return w.inPlace(func() error {
		b := make([]byte, 1)
		if _, err := w.Write(b); err != nil {
			return err
		}
		_, err := w.Read(b)
		return err
	})
}

// silent returns a client that reads the answer, does not go on, and leaves after stays.
func silent(stays time.Duration) func(net.Conn) {
	return func(near net.Conn) {
		b := make([]byte, 1)
		if _, err := near.Read(b); err != nil {
			return
		}
		near.SetReadDeadline(time.Now().Add(stays))
		near.Read(b)
	}
}

// honest answers a round trip after it was answered.
func honest(roundTrip time.Duration) func(net.Conn) {
	return func(near net.Conn) {
		b := make([]byte, 1)
		if _, err := near.Read(b); err != nil {
			return
		}
		time.Sleep(roundTrip)
		near.Write(b)
	}
}

// attack keeps n silent clients connecting, each pause after its last connection has ended. Client
// i connects from the address that from returns for its try.
func (c *crowd) attack(n int, stays, pause time.Duration, from func(i, try int) net.IP) {
	for i := range n {
		c.clients.Go(func() {
			for try := 0; ; try++ {
				c.connect(from(i, try), silent(stays))
				time.Sleep(pause)
				select {
				case <-c.finished:
					return
				default:
				}
			}
		})
	}
}

// send makes handshakes of honest clients, one each pause, and counts those that succeed at once.
func (c *crowd) send(n int, pause, roundTrip, limit time.Duration, from net.IP) {
	var senders sync.WaitGroup
	var mu sync.Mutex
	for range n {
		senders.Go(func() {
			began := time.Now()
			err := c.connect(from, honest(roundTrip))
			mu.Lock()
			defer mu.Unlock()
			c.tried++
			if err == nil && time.Since(began) <= limit {
				c.inTime++
			}
		})
		time.Sleep(pause)
	}
	senders.Wait()
}

// Waiting clients were served first in, first out: at 64 MiB, 5,000 that sent their ClientHello and
// nothing more, and came back when they were ended, kept half of the honest ones out. Here there
// are 16 places, and in proportion as many clients.
func TestHonestClientsGetATurnBesideSilentOnes(t *testing.T) {
	const (
		attackers = 900
		senders   = 50
		second    = time.Second
	)
	honestFrom := net.IPv4(192, 0, 2, 1)
	spread := func(n int) func(i, try int) net.IP {
		return func(i, _ int) net.IP { return net.IPv4(10, 0, byte(i%n>>8), byte(i%n)) }
	}
	one := func(int, int) net.IP { return honestFrom }
	for _, tt := range []struct {
		name      string
		stays     time.Duration
		pause     time.Duration
		from      func(i, try int) net.IP
		roundTrip time.Duration
		limit     time.Duration // for an honest client
		share     int           // percent of the honest clients that are served within limit
	}{
		{"from one address", maxWait, second / 5, spread(1), second / 50, second / 2, 100},
		{"from 200 addresses", maxWait, second / 5, spread(200), second / 50, second / 2, 100},
		{"each from its own address", maxWait, second / 5, spread(attackers), second / 50, second / 2, 95},
		{"far away", maxWait, second / 5, spread(200), second / 5, second, 100},
		{"leave before they are ended", second / 5, 0, spread(200), second / 50, second / 2, 95},
		{"from the address of honest clients", maxWait, second / 5, one, second / 50, second / 2, 30},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &crowd{h: NewHandshakes(1, nil), finished: make(chan struct{})}
				c.attack(attackers, tt.stays, tt.pause, tt.from)
				time.Sleep(second) // the silent ones have taken all places
				c.send(senders, second/10, tt.roundTrip, tt.limit, honestFrom)
				close(c.finished)
				c.clients.Wait()
				t.Logf("%d of %d in time; %+v", c.inTime, c.tried, c.h.Stats())
				if share := 100 * c.inTime / c.tried; share < tt.share {
					t.Errorf("%d%% of the honest clients had their handshake within %v, want %d%%", share, tt.limit, tt.share)
				}
				if st := c.h.Stats(); st.Running+st.Waiting != 0 || st.Bytes != 0 {
					t.Errorf("at the end: %+v", st)
				}
			})
		})
	}
}

// Honest clients, some of which are so slow that they pass for silent ones, as on a machine that is
// too busy, are not taken for attackers.
func TestAddressWithSomeFailedHandshakesGetsItsTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{h: NewHandshakes(1, nil), finished: make(chan struct{})}
		c.attack(900, maxWait, time.Second/5, func(i, _ int) net.IP { return net.IPv4(10, 0, 0, byte(i%200)) })
		time.Sleep(time.Second)
		from := net.IPv4(192, 0, 2, 1)
		for range 20 {
			c.clients.Go(func() { c.connect(from, honest(time.Second)) })
			c.send(2, time.Second/5, time.Second/50, time.Second/2, from)
		}
		close(c.finished)
		c.clients.Wait()
		if c.inTime < c.tried*3/4 {
			t.Errorf("%d of %d clients had their handshake at once", c.inTime, c.tried)
		}
	})
}

// A client that waits for a place gives up when its time is over, as it may wait behind others for
// ever.
func TestWaitForAPlaceEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{h: NewHandshakes(1, nil)}
		busy := make(chan struct{})
		for range minPlaces {
			w := c.h.Watch(&sham{nil, net.IPv4(10, 0, 0, 1)})
			w.hello = clienthello.MaxSize
			c.clients.Go(func() { w.inPlace(func() error { <-busy; return nil }) }) // never waits for its client
		}
		synctest.Wait()
		err := c.connect(net.IPv4(10, 0, 0, 2), silent(time.Minute))
		if !errors.Is(err, errNoPlace) || HandshakeFault(err) != "no place" {
			t.Errorf("without a place: %v", err)
		}
		close(busy)
		c.clients.Wait()
		if st := c.h.Stats(); st.Running+st.Waiting != 0 || st.Bytes != 0 {
			t.Errorf("at the end: %+v", st)
		}
	})
}

// A client that does not take the server's answer kept its place for as long as a handshake may
// last: only the wait for its own bytes counted.
func TestClientThatDoesNotReadMakesRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := &crowd{h: NewHandshakes(1, nil)}
		deaf := make(chan struct{})
		for range minPlaces {
			c.clients.Go(func() { c.connect(net.IPv4(10, 0, 0, 1), func(net.Conn) { <-deaf }) })
		}
		synctest.Wait()
		began := time.Now()
		err := c.connect(net.IPv4(10, 0, 0, 2), honest(0))
		if took := time.Since(began); err != nil || took > displaceAfter+2*displaceEvery {
			t.Errorf("an honest client: %v after %v", err, took)
		}
		close(deaf)
		c.clients.Wait()
	})
}

func TestQueueServesTheBlamelessFirstAndOfThemTheNewest(t *testing.T) {
	var q queue
	now := time.Unix(1000, 0)
	at := func(n byte) (a [4]byte) { return [4]byte{10, 0, 0, n} }
	addr := func(n byte) net.Conn { a := at(n); return &sham{nil, a[:]} }
	q.blame(networkOf(addr(1)), 2*maxBlame, now)
	q.blame(networkOf(addr(1)), 2*maxBlame, now)
	q.blame(networkOf(addr(2)), 2*maxBlame, now)
	q.blame(networkOf(addr(3)), 0, now)
	names := make(map[*waiter]string)
	add := func(name string, n byte) {
		names[q.add(networkOf(addr(n)), 1, now)] = name
	}
	add("most to its account", 1)
	add("old", 3)
	add("some to its account", 2)
	add("old too", 4)
	add("new", 3)
	if n := q.blameless(); n != 3 {
		t.Errorf("%d wait without anything to their accounts, want 3", n)
	}
	for i, want := range []string{"new", "old too", "old", "some to its account", "most to its account"} {
		w := q.next()
		if names[w] != want {
			t.Fatalf("waiter %d is %q, want %q", i, names[w], want)
		}
		q.remove(w)
	}
	if q.next() != nil || q.waiting != 0 || len(q.origins) != 2 {
		t.Errorf("left: %d waiters, %d addresses", q.waiting, len(q.origins))
	}
	now = now.Add(2 * blameLasts)
	add("most to its account, forgiven", 1)
	add("blameless", 5)
	q.blame(networkOf(addr(5)), 1, now)
	if got := names[q.next()]; got != "most to its account, forgiven" {
		t.Errorf("%q comes first", got)
	}
}

// Whatever comes, fails and leaves, the next waiter is the one that a look at all of them finds.
func TestQueueFindsTheNext(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	var q queue
	now := time.Unix(1000, 0)
	var all []*waiter
	for range 5000 {
		now = now.Add(time.Duration(rnd.IntN(2000)) * time.Millisecond)
		from := networkOf(&sham{nil, net.IPv4(10, 0, 0, byte(rnd.IntN(20)))})
		switch rnd.IntN(5) {
		case 0, 1:
			all = append(all, q.add(from, 1, now))
		case 2:
			q.blame(from, time.Duration(rnd.Int64N(int64(maxBlame))), now)
		case 3:
			q.praise(from)
		case 4:
			if len(all) > 0 {
				i := rnd.IntN(len(all))
				q.remove(all[i])
				all = slices.Delete(all, i, i+1)
			}
		}
		if len(all) == 0 {
			continue
		}
		want := slices.MinFunc(all, func(a, b *waiter) int {
			return cmp.Or(cmp.Compare(a.from.blame, b.from.blame), cmp.Compare(b.number, a.number))
		})
		if got := q.next(); got != want || q.waiting != len(all) {
			t.Fatalf("next is number %d of %d waiters, want %d of %d", got.number, q.waiting, want.number, len(all))
		}
	}
}

// However many addresses fail, the accounts take a bounded amount of memory, and time that does not
// depend on how many there are.
func TestAccountsAreBounded(t *testing.T) {
	var q queue
	now := time.Unix(1000, 0)
	for i := range 2 * maxBlamed {
		q.blame(clientlimit.Network(networkOf(&sham{nil, net.IPv4(10, byte(i>>16), byte(i>>8), byte(i))})), 1, now)
	}
	if len(q.origins) > maxBlamed {
		t.Errorf("%d addresses have an account, want at most %d", len(q.origins), maxBlamed)
	}
	for i := range maxBlamed {
		now = now.Add(time.Second)
		q.blame(networkOf(&sham{nil, net.IPv4(10, 1, byte(i>>8), byte(i))}), 1, now)
	}
	if len(q.origins) > 200 {
		t.Errorf("%d addresses have an account, though one came each second", len(q.origins))
	}
}
