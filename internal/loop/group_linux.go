package loop

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// supported reports whether this system has event loops.
const supported = true

// Group is a number of loops. Its methods are safe for concurrent use.
type Group struct {
	loops   []*Loop
	table   table
	start   time.Time // timers count from here
	running sync.WaitGroup
	stop    sync.Once
}

// New starts n loops, at least one. The caller ends them with Shutdown.
func New(n int) (*Group, error) {
	g := &Group{start: time.Now()}
	for i := range max(1, n) {
		l, err := newLoop(g, i)
		if err != nil {
			for _, l := range g.loops {
				l.poller.close()
			}
			return nil, fmt.Errorf("start event loop %d: %w", i, err)
		}
		g.loops = append(g.loops, l)
	}
	for _, l := range g.loops {
		g.running.Go(l.run)
	}
	return g, nil
}

// spareProcs is the number of processors of the Go scheduler beside those that loops hold while
// they wait: for dials, TLS, logs, metrics and the garbage collector.
const spareProcs = 2

// MakeRoom raises GOMAXPROCS, if necessary, so that the given number of loops leaves processors for
// other goroutines. From then on the runtime does not follow changes of a container's CPU limit;
// the number of loops could not follow them either. Without loops MakeRoom does nothing.
func MakeRoom(loops int) {
	if want := loops + spareProcs; loops > 0 && runtime.GOMAXPROCS(0) < want {
		runtime.GOMAXPROCS(want)
	}
}

// Loops returns all loops. The slice must not be modified.
func (g *Group) Loops() []*Loop { return g.loops }

// Least returns the loop with the fewest descriptors. Among equals it prefers the given one, which
// may be nil: no other thread has to wake up for it.
func (g *Group) Least(prefer *Loop) *Loop {
	if prefer == nil {
		prefer = g.loops[0]
	}
	best, fewest := prefer, prefer.count.Load()
	for _, l := range g.loops {
		if n := l.count.Load(); n < fewest {
			best, fewest = l, n
		}
	}
	return best
}

// Near returns l, for a connection that it has accepted: another thread would have to wake up, and
// get the socket into its caches. If l has more than a quarter more descriptors than some other
// loop, Near returns the one with the fewest.
func (g *Group) Near(l *Loop) *Loop {
	best := g.Least(l)
	if fewest := best.count.Load(); l.count.Load() <= fewest+fewest/4 {
		return l
	}
	return best
}

// Shutdown ends all loops and returns when they have ended. Tasks that were posted before still
// run. It closes the descriptors that are left without telling their handlers. It must not be
// called on a loop, and nothing may be adopted any more.
func (g *Group) Shutdown() {
	g.stop.Do(func() {
		for _, l := range g.loops {
			l.Post(func() { l.stopping = true })
		}
		g.running.Wait()
		g.table.closeAll()
		for _, l := range g.loops {
			l.poller.close()
		}
	})
}

// errTooMany is the error for descriptors with a number beyond the table.
var errTooMany = errors.New("descriptor number too large for the event loops")

const (
	chunkSize = 1024
	maxChunks = 4096 // for four million descriptors
)

// table maps descriptors to their handlers. Numbers of descriptors are small and dense, and the
// kernel gives out each only once at a time, so one table serves all loops. The goroutine that
// adopts a descriptor writes its entry; from then on only the descriptor's loop does.
type table struct {
	chunks [maxChunks]atomic.Pointer[[chunkSize]entry]
}

// entry is the registration of a descriptor. gen publishes the other fields.
type entry struct {
	gen     atomic.Uint32 // generation; odd while the descriptor is registered
	pending Events        // events not yet passed to the handler
	queued  bool          // in the loop's queue
	handler Handler
}

// at returns the entry of a descriptor that is or was registered.
func (t *table) at(fd int32) *entry {
	return &t.chunks[fd/chunkSize].Load()[fd%chunkSize]
}

// grow returns the entry of a descriptor, or nil for a number beyond the table.
func (t *table) grow(fd int) *entry {
	if fd < 0 || fd >= maxChunks*chunkSize {
		return nil
	}
	p := &t.chunks[fd/chunkSize]
	if p.Load() == nil {
		p.CompareAndSwap(nil, new([chunkSize]entry))
	}
	return t.at(int32(fd))
}

// prepare sets a handler and returns the generation of the registration that publish then begins.
// What the caller writes in between is published, too.
func (e *entry) prepare(h Handler) (gen uint32) {
	gen = e.gen.Load() + 1 // pairs with leave on the loop that had a descriptor of this number before
	e.handler, e.pending, e.queued = h, 0, false
	return gen
}

func (e *entry) publish(gen uint32) { e.gen.Store(gen) }

// leave ends the registration: no event of its generation reaches a handler any more.
func (e *entry) leave() {
	e.handler = nil
	e.gen.Add(1)
}

// closeAll closes all descriptors that are registered. No loop runs any more.
func (t *table) closeAll() {
	for i := range t.chunks {
		c := t.chunks[i].Load()
		if c == nil {
			continue
		}
		for j := range c {
			if e := &c[j]; e.gen.Load()&1 == 1 {
				e.leave()
				Close(i*chunkSize + j)
			}
		}
	}
}
