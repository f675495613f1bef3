package splitter

import (
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/internal/intake"
)

// Senders notice the FIN, write what they have and close: nothing is lost, and the drain ends
// early.
func TestDrainWaitsForSenders(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{Drain: wait}})
	c := dial(t, r.addr)
	write(t, c, "before\n")
	r.wants("before\n")
	r.soft()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the sender reads %v, want a clean end", err)
	}
	write(t, c, "after\nlast")
	c.Close()
	if st := r.end(); st.CutOff != 0 {
		t.Errorf("%d cut off", st.CutOff)
	}
	r.wants("before\nafter\nlast\n")
}

// A sender that does not close is read until nothing has come for a moment, and cut off. Its
// unfinished line is dropped as torn.
func TestDrainCutsOffSenders(t *testing.T) {
	t.Parallel()
	const drain = 3 * time.Second // long enough for a slow machine to write
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{Drain: drain}})
	idle, busy := dial(t, r.addr), dial(t, r.addr)
	in := numbered(0, 100, 600)
	write(t, busy, in)
	r.wants(in)
	began := time.Now()
	r.soft()
	if _, err := busy.Read(make([]byte, 1)); err != io.EOF { // the drain has begun
		t.Errorf("the sender reads %v, want a clean end", err)
	}
	write(t, busy, "more\nunfini")
	st := r.end()
	if took := time.Since(began); took < drain {
		t.Errorf("it took %v", took)
	}
	if d := dropped(st, intake.ReasonTorn); st.CutOff != 2 || d.Lines != 1 || d.Bytes != 6 {
		t.Errorf("%+v", st)
	}
	r.wants(in + "more\n")
	for _, c := range []net.Conn{idle, busy} { // all their data was read, so they are not reset
		if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
			t.Errorf("the sender reads %q, %v", b, err)
		}
	}
}

// Data that has arrived by the end of the drain is read, although the channel was full until then.
// On a Unix socket, data has arrived once it is written.
func TestArrivedDataIsReadAfterDrain(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	r := newRigOn(t, ln, plenty, 1, Options{Tuning: Tuning{Drain: 100 * time.Millisecond}})
	r.gate.Lock()
	c := dial(t, r.addr)
	in := numbered(0, 20_000, 600) // more than the splitter and the kernel take
	c.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	n, _ := io.WriteString(c, in)
	if n == len(in) {
		t.Fatal("the sender was not held back")
	}
	r.soft()
	r.until("the end of the drain", func() bool {
		c := r.registry.newest(1)[0] // it waits for the channel
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.cut
	})
	r.gate.Unlock()
	st := r.end()
	if got := st.Received.Bytes; got != uint64(n) {
		t.Errorf("received %d bytes of %d that were written", got, n)
	}
	r.wants(in[:strings.LastIndexByte(in[:n], '\n')+1])
	if st.CutOff != 1 {
		t.Errorf("%d cut off", st.CutOff)
	}
}

// A sender that never stops writing does not hold up the end.
func TestReadingAfterDrainIsBounded(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	c := dial(t, r.addr)
	go func() {
		for in := numbered(0, 100, 600); ; {
			if _, err := io.WriteString(c, in); err != nil {
				return
			}
		}
	}()
	r.until("lines", func() bool { return r.Stats().Queued.Lines > 0 })
	began := time.Now()
	st := r.end()
	if took := time.Since(began); took > wait/2 { // without the bound it would take for ever
		t.Errorf("it took %v", took)
	}
	if st.CutOff != 1 {
		t.Errorf("%d cut off", st.CutOff)
	}
}

// The hard end waits neither for senders nor for the channel nor for the budget.
func TestHardEndWaitsForNothing(t *testing.T) {
	r := newRigOn(t, listenTCP(t), 512<<10, 1, Options{Tuning: Tuning{Drain: wait}})
	r.gate.Lock()
	in := numbered(0, 20_000, 600)
	for range 20 {
		c := dial(t, r.addr)
		go io.WriteString(c, in)
	}
	dial(t, r.addr)
	r.until("a full channel", func() bool { return r.Stats().Accepted == 21 && r.connectionsWithLines() > 2 })
	r.soft()
	r.hard()
	select {
	case <-r.served:
	case <-time.After(wait):
		t.Error("Serve did not return")
	}
	r.gate.Unlock()
	st := r.ledger()
	if d := dropped(st, intake.ReasonShutdown); d.Lines == 0 {
		t.Errorf("nothing was dropped: %+v", st)
	}
	if st.CutOff != 21 {
		t.Errorf("%d cut off", st.CutOff)
	}
}

// connectionsWithLines returns the number of connections that have brought lines. If the test takes
// no buffers, two of them have handed their lines over, and the others wait with theirs.
func (r *rig) connectionsWithLines() (n int) {
	for _, c := range r.Connections(100) {
		if c.Lines > 0 {
			n++
		}
	}
	return n
}

func TestHardEndAloneIsEnough(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{Drain: wait}})
	c := dial(t, r.addr)
	write(t, c, "a\nb")
	r.wants("a\n")
	r.hard()
	r.ended()
	if d := dropped(r.ledger(), intake.ReasonTorn); d.Lines != 1 {
		t.Errorf("dropped %+v", d)
	}
}

func TestDrainOverUnixSocket(t *testing.T) {
	ln, err := net.Listen("unix", t.TempDir()+"/s")
	if err != nil {
		t.Fatal(err)
	}
	r := newRig(t, ln, plenty, Options{Tuning: Tuning{Drain: wait}})
	c := dial(t, r.addr)
	write(t, c, "a\n")
	r.wants("a\n")
	r.soft()
	if _, err := c.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the sender reads %v", err)
	}
	write(t, c, "b\n")
	c.Close()
	r.end()
	r.wants("a\nb\n")
}
