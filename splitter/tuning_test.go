package splitter

import (
	"io"
	"net"
	"reflect"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/clientlimit"
	"linesplit/linebuf"
)

func TestNewAppliesTheTuning(t *testing.T) {
	tuning := Tuning{
		MaxLine: 1, Oversize: Close, MaxConnections: 2, Drain: 3, IdleTimeout: 4, LineTimeout: 5,
		PerClient:   clientlimit.Limits{Connections: 6, Rate: 7},
		RecordStart: notIndented, RecordLines: 8, RecordWait: 9,
	}
	s := New(linebuf.NewPool(plenty), nil, Options{Tuning: tuning})
	from, to := reflect.ValueOf(tuning), reflect.ValueOf(*s.tuned())
	for i := range to.NumField() {
		name := to.Type().Field(i).Name
		if got := to.Field(i).Interface(); to.Field(i).IsZero() || got != from.Field(i).Interface() {
			t.Errorf("%s is %v", name, got)
		}
	}
}

// A line that has begun keeps its maximum length; later lines get the new one, even if that needs a
// larger buffer.
func TestTuneMaxLineAppliesToNewLines(t *testing.T) {
	long := strings.Repeat("x", 100<<10)
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxLine: 1 << 20}})
	c := dial(t, r.addr)
	write(t, c, long)
	r.untilRead(len(long))
	r.Tune(Tuning{MaxLine: 1000, Oversize: Truncate})
	write(t, c, "y\n"+long+"\n")
	r.wants(long + "y\n" + long[:999] + "\n")
	r.Tune(Tuning{MaxLine: 1 << 20})
	write(t, c, long+long+"\n")
	r.wants(long + "y\n" + long[:999] + "\n" + long + long + "\n")
	c.Close()
	r.end()
}

// A connection that waits for room is served when the limit rises.
func TestTuneMaxConnectionsAdmitsWaiters(t *testing.T) {
	for _, limit := range []int{0, 2} {
		r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxConnections: 1}})
		a := dial(t, r.addr)
		write(t, a, "a\n")
		r.wants("a\n")
		b := dial(t, r.addr)
		write(t, b, "b\n")
		r.untilFull()
		r.Tune(Tuning{MaxConnections: limit})
		r.wants("a\nb\n")
		r.Tune(Tuning{MaxConnections: 1}) // ends no connection
		write(t, a, "c\n")
		r.wants("a\nb\nc\n")
		a.Close()
		b.Close()
		r.end()
	}
}

// A drain takes the time that is set when it begins.
func TestTuneDrainAppliesToTheNextDrain(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{Drain: time.Hour}})
	c := dial(t, r.addr)
	write(t, c, "a\n")
	r.wants("a\n")
	r.Tune(Tuning{})
	if st := r.end(); st.CutOff != 1 {
		t.Errorf("%d cut off", st.CutOff)
	}
}

// Connections lists the open connections, at most as many as its limit.
func TestConnectionsAreListed(t *testing.T) {
	before := time.Now()
	ln := listenTCP(t)
	r := newRig(t, ln, plenty, Options{Tuning: Tuning{MaxLine: 10}})
	var conns []net.Conn
	for i := range 3 {
		c := dial(t, r.addr)
		write(t, c, strings.Repeat("line\n", i+1))
		r.until("it is read", func() bool { return r.Stats().Queued.Lines == uint64((i+1)*(i+2)/2) })
		conns = append(conns, c)
	}
	write(t, conns[2], "a line that is too long\nrest")
	r.untilRead(15 + 24 + 4)
	all := r.Connections(10)
	for i, c := range conns {
		want := Connection{ID: uint64(i) + 1, Peer: c.LocalAddr().String(), Listener: "tcp://" + r.addr.String(),
			Lines: uint64(i) + 1, Bytes: uint64(i+1) * 5, Since: all[i].Since}
		if i == 2 {
			want.Lines, want.Bytes = 4, 15+24+4
		}
		if all[i] != want || want.Since.Before(before) || want.Since.After(time.Now()) {
			t.Errorf("%+v, want %+v", all[i], want)
		}
	}
	for limit, want := range map[int][]Connection{-1: {}, 0: {}, 1: all[2:], 2: all[1:], 3: all, 4: all} {
		if got := r.Connections(limit); !slices.Equal(got, want) {
			t.Errorf("with limit %d: %+v", limit, got)
		}
	}
	for _, c := range conns {
		c.Close()
	}
	r.until("all are gone", func() bool { return len(r.Connections(10)) == 0 })
}

// Senders that something else serves are listed among the others, with what they have handed over.
func TestOtherSendersAreListed(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	first := dial(t, r.addr)
	write(t, first, "a\n")
	r.until("the first is there", func() bool { return len(r.Connections(10)) == 1 })
	ln := listenTCP(t)
	far := dial(t, ln.Addr())
	nc, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	x, ok := r.Admit(nc, ln)
	if !ok {
		t.Fatal("refused")
	}
	b := r.pool.MustGet(10)
	b.B, b.Lines, b.Read = append(b.B, "two\nlines\n"...), 2, time.Now()
	if _, err := x.Send(t.Context(), b); err != nil {
		t.Fatal(err)
	}
	x.DropOversize(100, 50)
	last := dial(t, r.addr)
	write(t, last, "c\n")
	r.until("the last is there", func() bool { return len(r.Connections(10)) == 3 })
	all := r.Connections(10)
	want := Connection{ID: 2, Peer: far.LocalAddr().String(), Listener: "tcp://" + ln.Addr().String(), Lines: 3, Bytes: 60,
		Since: all[1].Since}
	if all[1] != want || all[0].ID != 1 || all[2].ID != 3 {
		t.Errorf("%+v, want %+v between two others", all, want)
	}
	if got := r.Connections(2); !slices.Equal(got, all[1:]) {
		t.Errorf("the two newest are %+v", got)
	}
	x.Leave()
	if got := r.Connections(10); len(got) != 2 || r.Stats().Connections != 2 {
		t.Errorf("%+v are left; %+v", got, r.Stats())
	}
}

// Whatever Tune changes while lines come in, all lines that no rule drops are delivered.
func TestTuneUnderLoadLosesNoLine(t *testing.T) {
	const senders, lines = 8, 3000
	r := newRig(t, listenTCP(t), plenty, Options{})
	stop := make(chan struct{})
	var changing, sending sync.WaitGroup
	for i := range 2 {
		changing.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-stop:
					return
				default:
					r.Tune(Tuning{
						MaxLine: 200 + n%1000, Oversize: Oversize(n % 3), MaxConnections: n % 5, Drain: time.Duration(n),
					})
					r.Connections(i * 5)
				}
			}
		})
	}
	var want strings.Builder
	for i := range senders {
		text := numbered(i, lines, 100)
		want.WriteString(text)
		sending.Go(func() {
			c := dial(t, r.addr)
			defer c.Close()
			if _, err := io.WriteString(c, text); err != nil {
				t.Error(err)
			}
		})
	}
	sending.Wait()
	r.until("all lines", func() bool { return r.Stats().Received.Lines == senders*lines })
	close(stop)
	changing.Wait()
	r.until("the output", func() bool { return r.size() >= want.Len() })
	if sorted(r.output()) != sorted(want.String()) {
		t.Error("not the lines that were sent")
	}
	r.end()
}
