package splice

import (
	"bytes"
	"crypto/rand"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"

	"linesplit/internal/loop"
)

// looped is a connection whose streams a loop carries until both ends have ended.
type looped struct {
	client, target    net.Conn // the far ends
	bytesIn, bytesOut atomic.Uint64
	loop              *loop.Loop
	streams           Streams
	sides             [2]loopedSide
	ended             int
	errs              []error
	done              chan struct{}
}

type loopedSide struct {
	Socket
	of *looped
}

func (s *loopedSide) Ready(l *loop.Loop, ev loop.Events) {
	s.Note(ev)
	r := s.of
	if !r.sides[0].IsOpen() || !r.sides[1].IsOpen() {
		return
	}
	for i, f := range []*Stream{&r.streams.In, &r.streams.Out} {
		if r.ended&(1<<i) != 0 {
			continue
		}
		if ended, err := f.Step(l); ended {
			r.ended |= 1 << i
			r.errs = append(r.errs, err)
			f.CloseWrite()
		}
	}
	if r.ended == 3 {
		r.ended = 7
		r.sides[0].Close()
		r.sides[1].Close()
		close(r.done)
	}
}

// carryOnLoop starts a looped connection over sockets of a network.
func carryOnLoop(t testing.TB, c *Carrier, network string) *looped {
	t.Helper()
	g, err := loop.New(1)
	must(t, err)
	r := &looped{loop: g.Loops()[0], done: make(chan struct{})}
	var near [2]net.Conn
	r.client, near[0] = connected(t, network)
	r.target, near[1] = connected(t, network)
	var fds [2]int
	for i := range near {
		fds[i], err = loop.Detach(near[i].(Bare))
		must(t, err)
		r.sides[i].of, r.sides[i].TCP = r, network == "tcp"
	}
	r.loop.Post(func() {
		r.streams.Init(c, &r.sides[0].Socket, &r.sides[1].Socket, &r.bytesIn, &r.bytesOut)
		for i := range fds {
			if err := r.loop.Adopt(&r.sides[i].FD, fds[i], &r.sides[i]); err != nil {
				t.Error(err)
			}
		}
	})
	t.Cleanup(func() {
		r.client.Close()
		r.target.Close()
		<-r.done
		g.Shutdown()
	})
	return r
}

// Bytes of every size arrive whole both ways, through pipes and, where there are none, through
// buffers.
func TestStreamsCarryEveryByte(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		for _, pipes := range []int{0, maxPipes} {
			c := NewCarrier()
			c.pipes.limit = pipes
			for _, size := range []int{0, 1, smallBuffer, largeBuffer - 1, largeBuffer, largeBuffer + 1, 3<<20 + 7} {
				r := carryOnLoop(t, c, network)
				var both sync.WaitGroup
				both.Go(func() { sendThrough(t, r.client, r.target, size) })
				both.Go(func() { sendThrough(t, r.target, r.client, size) })
				both.Wait()
				<-r.done
				if in, out := r.bytesIn.Load(), r.bytesOut.Load(); in != uint64(size) || out != uint64(size) {
					t.Errorf("%s, %d bytes: %d counted in, %d out", network, size, in, out)
				}
				for _, err := range r.errs {
					if err != nil {
						t.Errorf("%s, %d bytes: %v", network, size, err)
					}
				}
			}
			c.pipes.trim(true)
		}
	}
}

// sendThrough sends random bytes and an end from one side and wants them at the other.
func sendThrough(t *testing.T, from, to net.Conn, size int) {
	sent := make([]byte, size)
	rand.Read(sent)
	var sending sync.WaitGroup
	sending.Go(func() {
		from.Write(sent)
		from.(interface{ CloseWrite() error }).CloseWrite()
	})
	got, err := io.ReadAll(to)
	sending.Wait()
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes: %d came through, %v", size, len(got), err)
	}
}

// A stream at rest holds neither buffer nor pipe, also after much has passed and while the other
// direction is blocked.
func TestIdleStreamHoldsNothing(t *testing.T) {
	before := openPipes(t)
	c := NewCarrier()
	r := carryOnLoop(t, c, "tcp")
	var sending sync.WaitGroup
	sending.Go(func() { r.client.Write(make([]byte, 64<<20)) })
	io.CopyN(io.Discard, r.target, 1<<20)
	eventually(t, "a pipe in use", func() bool { return openPipes(t) > before })
	io.CopyN(io.Discard, r.target, 63<<20)
	sending.Wait()
	held := make(chan bool, 1)
	eventually(t, "nothing held", func() bool {
		r.loop.Post(func() { held <- r.streams.In.buf != nil || r.streams.In.pipe != nil })
		return !<-held
	})
	c.Trim(false)
	c.Trim(false)
	if n := openPipes(t); n != before {
		t.Errorf("%d ends of pipes are left", n-before)
	}
}

// What a slow receiver does not take waits in the stream, and nothing more is read.
func TestBlockedStreamStopsReading(t *testing.T) {
	r := carryOnLoop(t, NewCarrier(), "tcp")
	taken := fill(t, r.client)
	waiting := make(chan int, 1)
	r.loop.Post(func() { waiting <- r.streams.In.Pending() })
	if n := <-waiting; n == 0 || n > pipeSize {
		t.Errorf("%d bytes wait", n)
	}
	got := make(chan int64, 1)
	go func() {
		n, _ := io.Copy(io.Discard, r.target)
		got <- n
	}()
	must(t, r.client.(*net.TCPConn).CloseWrite())
	r.target.(*net.TCPConn).CloseWrite()
	if n := <-got; n != taken {
		t.Errorf("%d bytes came through, want %d", n, taken)
	}
}

// While stalled connections hold all large buffers, a loop had read more than fits into a small
// one: the rest was lost, and the loop did not end.
func TestBlockedStreamWithoutRoomForBuffers(t *testing.T) {
	c := NewCarrier()
	c.room.Store(largeBuffer - 1)
	c.pipes.limit = 0
	r := carryOnLoop(t, c, "tcp")
	taken := fill(t, r.client)
	held := make(chan int, 1)
	r.loop.Post(func() { held <- len(r.streams.In.buf) })
	if n := <-held; n != smallBuffer {
		t.Errorf("a buffer of %d bytes is held", n)
	}
	must(t, r.client.(*net.TCPConn).CloseWrite())
	r.target.(*net.TCPConn).CloseWrite()
	if n, err := io.Copy(io.Discard, r.target); n != taken || err != nil {
		t.Errorf("%d bytes came through, want %d; %v", n, taken, err)
	}
	<-r.done
	if got := c.room.Load(); got != largeBuffer-1 {
		t.Errorf("at the end room for %d bytes", got)
	}
}
