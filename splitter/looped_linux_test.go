package splitter

import (
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"linesplit/internal/intake"
)

// Under a shortage of memory a loop with many connections came late to a sender whose line had long
// been complete in the kernel, and dropped the half of it that it had read.
func TestEvictionReadsTheRestOfALineFirst(t *testing.T) {
	if *loopsFlag == 0 {
		t.Skip("without event loops")
	}
	const half = "half of a line, and "
	for _, rest := range []string{"the rest\n", "more of it"} {
		ln := listenTCP(t)
		r := newRig(t, ln, plenty, Options{})
		nc := dial(t, ln.Addr())
		write(t, nc, half)
		r.untilRead(len(half))
		c := r.registry.newest(1)[0]
		busy, release := make(chan struct{}), make(chan struct{})
		c.loop.on.Post(func() { // the loop comes late
			close(busy)
			<-release
			r.evictNow(c)
		})
		<-busy
		write(t, nc, rest)
		r.until("it arrives", func() bool {
			n, err := unix.IoctlGetInt(c.loop.fd.Int(), unix.SIOCINQ)
			return err == nil && n == len(rest)
		})
		close(release)
		nc.Close()
		if rest[len(rest)-1] == '\n' {
			r.wants(half + rest)
			continue
		}
		r.until("the line is dropped", func() bool { return dropped(r.Stats(), intake.ReasonMemory).Lines == 1 })
	}
}

// While the channel and the memory were full, a line that was completed at the last moment waited
// for memory, which it did not need. If all that held memory did, none went on.
func TestCompletedLineDoesNotWaitForMemory(t *testing.T) {
	if *loopsFlag == 0 {
		t.Skip("without event loops")
	}
	ln := listenTCP(t)
	r := newRigOn(t, ln, plenty, 1, Options{})
	r.gate.Lock()
	for i := range 2 { // one is taken, the other fills the channel
		write(t, dial(t, ln.Addr()), "a line\n")
		r.until("the line", func() bool { return r.Stats().Queued.Lines == uint64(i+1) })
	}
	nc := dial(t, ln.Addr())
	write(t, nc, "half, ")
	r.untilRead(6)
	all := r.pool.MustGet(plenty)
	write(t, nc, "more, ")
	c := r.registry.newest(1)[0]
	r.until("the wait for memory", func() bool {
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cancel != nil
	})
	write(t, nc, "rest\n")
	r.until("the rest arrives", func() bool {
		n, err := unix.IoctlGetInt(c.loop.fd.Int(), unix.SIOCINQ)
		return err == nil && n == len("more, rest\n")
	})
	r.ask(c)
	r.until("it is read", func() bool { return c.received.Load().Lines == 1 })
	r.gate.Unlock()
	r.until("the line", func() bool { return strings.HasSuffix(r.output(), "half, more, rest\n") })
	r.pool.Put(all)
	nc.Close()
}

// evictNow asks the connection to give back its memory, and lets it obey.
func (r *rig) evictNow(c *conn) {
	r.ask(c)
	if !c.in.Asked() {
		r.t.Error("the connection is not asked")
	}
	c.in.Obey()
}

// ask has the connection asked to give back its memory.
func (r *rig) ask(c *conn) {
	var greedy intake.Stream
	greedy.Init(r.streams, &conn{v: c.v}, intake.Options{}, c.limits(), time.Now())
	greedy.Replace(r.pool.MustGet(int(r.streams.Usage().UnfinishedMax)))
	greedy.Account()
	greedy.End()
}

// lastListener accepts connections with the last descriptor that the process may have.
type lastListener struct {
	net.Listener
	t *testing.T
}

func (l lastListener) Accept() (net.Conn, error) {
	nc, err := l.Listener.Accept()
	if err == nil {
		leaveNoDescriptor(l.t)
	}
	return nc, err
}

// leaveNoDescriptor limits the descriptors of the process to those that it has, until the test
// ends.
func leaveNoDescriptor(t *testing.T) {
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Error(err)
	}
	free, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 0) // the lowest free number
	if err != nil {
		t.Error(err)
	}
	unix.Close(free)
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: uint64(free), Max: limit.Max}); err != nil {
		t.Error(err)
	}
	t.Cleanup(func() { unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) })
}

// A loop needs one more descriptor for a moment. A connection that had got the last one was never
// read, and stayed open until the collector found it. This test takes all descriptors.
func TestLastDescriptorIsServed(t *testing.T) {
	ln := listenTCP(t)
	c := dial(t, ln.Addr())
	write(t, c, "a line\n")
	r := newRig(t, lastListener{ln, t}, plenty, Options{Loops: *loopsFlag})
	r.wants("a line\n")
	c.Close()
	r.until("its end", func() bool { return r.Stats().Connections == 0 })
}

// Connections that came faster than loops took them went to the same loop, all of them if it had
// something else to do, and stayed there.
func TestBurstSpreadsOverLoops(t *testing.T) {
	if *loopsFlag == 0 {
		t.Skip("no loops")
	}
	ln := listenTCP(t)
	r := newRig(t, ln, plenty, Options{})
	c := dial(t, ln.Addr())
	write(t, c, "a line\n")
	r.wants("a line\n") // there are loops now
	c.Close()
	r.until("its end", func() bool { return r.Stats().Connections == 0 })
	loops := r.loops.Enter(0, nil).Loops()
	defer r.loops.Leave()
	busy := make(chan struct{})
	for _, l := range loops {
		l.Post(func() { <-busy })
	}
	const each = 10
	for range each * len(loops) {
		dial(t, ln.Addr())
	}
	r.until("they are accepted", func() bool { return r.Stats().Connections == int64(each*len(loops)) })
	close(busy)
	for _, l := range loops {
		r.until("each loop has its share", func() bool { return l.Descriptors() == each })
	}
}
