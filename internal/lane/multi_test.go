package lane

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/cespare/xxhash/v2"

	"linesplit/linebuf"
)

// several is a Multi over groups of targets, each of which is a bench. It is its own Sharer.
type several struct {
	t        *testing.T
	pool     *linebuf.Pool
	groups   []*bench
	waits    []bool
	budgets  []int64 // of groups that senders do not wait for
	accounts []*linebuf.Account
	dropped  []int                 // lines, by group
	got      []map[string][]string // lines of keys, by group
	multi    *Multi
}

// newSeveral returns groups with a number of targets each. Senders wait for those without a budget.
func newSeveral(t *testing.T, limit int64, drop bool, targets []int, budgets []int64) *several {
	s := &several{t: t, pool: linebuf.NewPool(0), budgets: budgets, dropped: make([]int, len(targets))}
	var groups []Group
	for i, n := range targets {
		b := &bench{t: t, pool: s.pool, routes: New(s.pool, limit), woken: map[*Lane]int{}}
		for k := range n {
			b.homes = append(b.homes, b.home(fmt.Sprint("group-", i, "-target-", k), 2))
		}
		b.routes.Assign(b.homes)
		s.groups, s.waits = append(s.groups, b), append(s.waits, budgets[i] == 0)
		s.accounts, s.got = append(s.accounts, &linebuf.Account{}), append(s.got, map[string][]string{})
		groups = append(groups, Group{b.routes, budgets[i] == 0})
	}
	JoinRoom(groups)
	s.multi = NewMulti(groups, s, false, func(r *Routes) *Source { return (&bench{routes: r}).source(drop) })
	return s
}

func (s *several) Share(b *linebuf.Buffer, views []*linebuf.Buffer) []*linebuf.Buffer {
	views = s.pool.Share(b, s.accounts, views)
	for i, v := range views {
		if !s.waits[i] && s.accounts[i].Held() > max(s.budgets[i], v.Memory()) {
			s.Drop(i, v)
			views[i] = nil
		}
	}
	return views
}

func (s *several) Drop(i int, view *linebuf.Buffer) {
	s.dropped[i] += view.Lines
	s.pool.Put(view)
}

// take takes at most n buffers out of a lane, confirms them, and notes their lines by key.
func (s *several) take(group int, l *Lane, n int) {
	for range n {
		b := l.Pop()
		if b == nil {
			break
		}
		lines := strings.Split(strings.TrimSuffix(string(b.B), "\n"), "\n")
		if len(lines) != b.Lines {
			s.t.Errorf("a buffer counts %d lines and has %d", b.Lines, len(lines))
		}
		for _, line := range lines {
			key, number, _ := strings.Cut(line, " ")
			s.got[group][key] = append(s.got[group][key], number)
		}
		l.Confirmed().Add(uint64(b.Lines))
		s.pool.Put(b)
	}
	s.groups[group].routes.Settle()
}

// takeAll empties all lanes, until no key moves any more.
func (s *several) takeAll() {
	for i, b := range s.groups {
		for settled := false; !settled; settled = b.routes.Settle() {
			for _, l := range b.lanes() {
				s.take(i, l, 1<<20)
			}
		}
		for _, l := range b.lanes() {
			s.take(i, l, 1<<20)
		}
	}
}

// offer offers a buffer until it is taken, and takes some buffers out of lanes meanwhile. It
// returns how often there was no room.
func (s *several) offer(b *linebuf.Buffer, rng *rand.Rand) (refused int) {
	for !s.multi.Offer(b) {
		refused++
		room := s.multi.Room()
		for closed := false; !closed; {
			i := rng.IntN(len(s.groups))
			all := s.groups[i].lanes()
			s.take(i, all[rng.IntN(len(all))], 3)
			select {
			case <-room:
				closed = true
			default:
			}
		}
	}
	return refused
}

// checkGroup demands that a group has the lines that were sent, so many of each key, in order, or
// has dropped them if it may.
func (s *several) checkGroup(seed uint64, i int, sent map[string]int) {
	s.t.Helper()
	came, all := 0, 0
	for key, count := range sent {
		got := s.got[i][key]
		came, all = came+len(got), all+count
		last := 0
		for _, number := range got {
			var is int
			fmt.Sscan(number, &is)
			if is <= last || s.waits[i] && is != last+1 {
				s.t.Fatalf("seed %d, group %d: %s %d comes behind %d", seed, i, key, is, last)
			}
			last = is
		}
		if s.waits[i] && len(got) != count {
			s.t.Errorf("seed %d, group %d: %d lines of %s came, %d were sent", seed, i, len(got), key, count)
		}
	}
	if came+s.dropped[i] != all || s.waits[i] && s.dropped[i] > 0 {
		s.t.Errorf("seed %d, group %d: %d lines came, %d were dropped, %d were sent", seed, i, came, s.dropped[i], all)
	}
	if held := s.accounts[i].Held(); held != 0 {
		s.t.Errorf("seed %d, group %d: %d bytes are charged at the end", seed, i, held)
	}
}

// Whatever room lanes have and however targets change, each group that senders wait for gets each
// line once, in the order of its key, and the other groups lose whole buffers beyond their budgets,
// which are counted.
func TestMultiGivesEachGroupEachLineInOrder(t *testing.T) {
	for seed := range uint64(60) {
		rng := rand.New(rand.NewPCG(seed, 1))
		s := newSeveral(t, 1<<10, false, []int{1 + rng.IntN(3), 1 + rng.IntN(3), 2}, []int64{0, 0, 4 << 10})
		sent, refused := map[string]int{}, 0
		for range 300 {
			var lines []string
			for range 1 + rng.IntN(30) {
				key := fmt.Sprint("key", rng.IntN(20))
				sent[key]++
				lines = append(lines, fmt.Sprint(key, " ", sent[key]))
			}
			refused += s.offer(s.groups[0].buffer(lines...), rng)
			if rng.IntN(20) == 0 { // a target goes or comes back
				g := s.groups[rng.IntN(len(s.groups))]
				keep := slices.Clone(g.homes)
				rng.Shuffle(len(keep), func(i, j int) { keep[i], keep[j] = keep[j], keep[i] })
				g.routes.Assign(keep[:1+rng.IntN(len(keep))])
			}
		}
		s.takeAll()
		for i := range s.groups {
			s.checkGroup(seed, i, sent)
		}
		if n := s.pool.InUse(); n != 0 || refused == 0 {
			t.Errorf("seed %d: %d bytes were not given back; %d times there was no room", seed, n, refused)
		}
	}
}

// A buffer for a full lane of one group goes to no group at all: otherwise groups would account for
// different lines.
func TestMultiIsAllOrNothing(t *testing.T) {
	s := newSeveral(t, 512, false, []int{1, 1}, []int64{0, 0})
	n := 0
	for s.multi.Offer(s.groups[0].buffer(fmt.Sprint("key ", n), strings.Repeat("x", 400))) {
		n++
		for _, l := range s.groups[0].lanes() { // the first group keeps up
			s.take(0, l, 9)
		}
	}
	for _, l := range s.groups[0].lanes() {
		s.take(0, l, 9)
	}
	if got := len(s.got[0]["key"]); n == 0 || got != n {
		t.Errorf("%d buffers were taken, and the group with room has %d", n, got)
	}
	if full := s.groups[1].lanes(); full[0].Stats().FullSince.IsZero() && full[1].Stats().FullSince.IsZero() {
		t.Error("no lane is said to hold up a sender")
	}
}

// Lines without a key are dropped once, for all groups together.
func TestMultiDropsLinesWithoutKeys(t *testing.T) {
	s := newSeveral(t, 1<<20, true, []int{2, 2}, []int64{0, 1 << 20})
	for _, lines := range [][]string{{" none", "a 1", " none", "b 1", "a 2", " none"}, {" none"}} {
		if !s.multi.Offer(s.groups[0].buffer(lines...)) {
			t.Fatal("no room")
		}
	}
	if n := s.multi.TakeDropped(); n.Lines != 4 || n.Bytes != 24 || s.multi.TakeDropped().Lines != 0 {
		t.Errorf("%+v were dropped", n)
	}
	s.takeAll()
	for i, got := range s.got {
		if !slices.Equal(got["a"], []string{"1", "2"}) || !slices.Equal(got["b"], []string{"1"}) || len(got) != 2 || s.dropped[i] > 0 {
			t.Errorf("group %d: %v, %d dropped", i, got, s.dropped[i])
		}
	}
	if n := s.pool.InUse(); n != 0 {
		t.Errorf("%d bytes were not given back", n)
	}
}

// A group without any target holds up senders if they wait for it, and otherwise loses the lines.
func TestMultiWithoutTargets(t *testing.T) {
	s := newSeveral(t, 1<<20, false, []int{1, 0}, []int64{0, 1 << 20})
	if !s.multi.Offer(s.groups[0].buffer("a 1", "b 1")) || s.dropped[1] != 2 || s.dropped[0] != 0 {
		t.Errorf("dropped %v", s.dropped)
	}
	s = newSeveral(t, 1<<20, false, []int{1, 0}, []int64{0, 0})
	b := s.groups[0].buffer("a 1", "b 1")
	room := s.multi.Room()
	if s.multi.Offer(b) || b.Lines != 2 {
		t.Error("taken although a group has no target")
	}
	s.groups[1].homes = append(s.groups[1].homes, s.groups[1].home("new", 1))
	s.groups[1].routes.Assign(s.groups[1].homes)
	<-room
	if !s.multi.Offer(b) {
		t.Error("no room although there is a target")
	}
	s.takeAll()
	if len(s.got[0]) != 2 || len(s.got[1]) != 2 {
		t.Errorf("%v", s.got)
	}
}

// In steady state handing out a buffer allocates nothing.
func TestMultiDoesNotAllocate(t *testing.T) {
	s := newSeveral(t, 1<<20, false, []int{2, 2}, []int64{0, 1 << 20})
	text := []byte("a 1\nb 1\nc 1\nd 1\n")
	hash := func(line []byte) (uint64, bool) { return xxhash.Sum64(line[:1]), true }
	s.multi = NewMulti([]Group{{s.groups[0].routes, true}, {s.groups[1].routes, false}}, s, false,
		func(r *Routes) *Source { return r.NewSource(hash, false, 0) })
	offer := func() {
		b := s.pool.MustGet(512)
		b.B, b.Lines = append(b.B, text...), 4
		if !s.multi.Offer(b) {
			t.Fatal("no room")
		}
		for _, g := range s.groups {
			for _, h := range g.homes {
				for _, l := range h.Lanes {
					for b := l.Pop(); b != nil; b = l.Pop() {
						s.pool.Put(b)
					}
				}
			}
		}
	}
	for range 100 {
		offer()
	}
	if n := testing.AllocsPerRun(200, offer); n > 0 {
		t.Errorf("%v allocations for each buffer", n)
	}
}
