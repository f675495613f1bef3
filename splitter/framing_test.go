package splitter

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"linesplit/internal/framing"
	"linesplit/internal/intake"
	"linesplit/internal/intake/naive"
	"linesplit/linebuf"
)

// framedListener is a TCP listener whose senders have a framing.
type framedListener struct {
	*net.TCPListener
	framing framing.Framing
}

func (l framedListener) Framing() framing.Framing { return l.framing }

// eachDriver runs a test with event loops and with goroutines.
func eachDriver(t *testing.T, f framing.Framing, test func(t *testing.T, ln net.Listener, r *rig)) {
	for _, loops := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			ln := framedListener{listenTCP(t).(*net.TCPListener), f}
			test(t, ln, newRig(t, ln, plenty, Options{Loops: loops, Tuning: Tuning{MaxLine: 1 << 10}}))
		})
	}
}

func TestCountedLines(t *testing.T) {
	eachDriver(t, framing.Octet, func(t *testing.T, ln net.Listener, r *rig) {
		nc := dial(t, ln.Addr())
		long := fmt.Sprintf("2000 %s", strings.Repeat("x\n", 1000))
		write(t, nc, "5 a\nb\x00c")
		r.wants("5 a\nb\x00c")
		write(t, nc, "3 d")
		write(t, nc, "\n\n"+long+"1 e")
		r.wants("5 a\nb\x00c3 d\n\n1 e")
		write(t, nc, "10 not all")
		r.untilRead(7 + 5 + len(long) + 3 + 10)
		nc.Close()
		r.until("the end", func() bool { return r.Stats().Connections == 0 })
		st := r.end()
		if n := dropped(st, intake.ReasonTorn).Count; n != (linebuf.Count{Lines: 1, Bytes: 10}) {
			t.Errorf("torn: %+v", n)
		}
		if n := dropped(st, intake.ReasonOversize).Count; n != (linebuf.Count{Lines: 1, Bytes: uint64(len(long))}) {
			t.Errorf("too long: %+v", n)
		}
	})
}

func TestSenderThatDoesNotCountIsClosed(t *testing.T) {
	eachDriver(t, framing.Octet, func(t *testing.T, ln net.Listener, r *rig) {
		nc := dial(t, ln.Addr())
		write(t, nc, "1 aa line\n")
		if _, err := nc.Read(make([]byte, 1)); err == nil {
			t.Error("the sender got data")
		}
		r.wants("1 a")
		st := r.end()
		if n := dropped(st, intake.ReasonFraming).Count; n != (linebuf.Count{Lines: 1, Bytes: 7}) || st.Broken != 0 {
			t.Errorf("%+v, %d broken", n, st.Broken)
		}
	})
}

func TestEachSenderHasItsFraming(t *testing.T) {
	eachDriver(t, framing.Auto, func(t *testing.T, ln net.Listener, r *rig) {
		for _, in := range []string{"7 <1>a\nbc", "<1>a\n", "{\"a\":\n1}\x00"} {
			before := r.size()
			nc := dial(t, ln.Addr())
			if in[0] == '{' {
				write(t, nc, `{"a":`+"\x00")
				in = `{"a":` + "\x00\n1}\x00"
				write(t, nc, "\n1}\x00")
			} else {
				write(t, nc, in[:1])
				write(t, nc, in[1:])
			}
			r.until("the line", func() bool { return r.size() == before+len(in) })
			if got := r.output()[before:]; got != in {
				t.Errorf("%q, want %q", got, in)
			}
			nc.Close()
		}
	})
}

// What looks like another framing is a hint only where lines are expected.
func TestFramingThatIsExpectedGetsNoHint(t *testing.T) {
	for f, in := range map[framing.Framing]string{framing.Octet: "13 <34>1 message", framing.NUL: "a\x00b\x00c\x00"} {
		var log testLog
		ln := framedListener{listenTCP(t).(*net.TCPListener), f}
		r := newRig(t, ln, plenty, Options{Logger: log.logger()})
		write(t, dial(t, ln.Addr()), in)
		r.wants(in)
		if got := log.with("do not look like lines"); len(got) > 0 {
			t.Errorf("%v: %q", f, got)
		}
	}
}

// FuzzServeFramed is FuzzServe for other framings.
func FuzzServeFramed(f *testing.F) {
	f.Add([]byte("6 <13>ab6 <13>cd"), uint8(3), uint16(20), uint8(0), uint16(1), true)
	f.Add([]byte("a\x00b\nc\x00\x00"), uint8(1), uint16(16), uint8(2), uint16(2), false)
	f.Add([]byte("300 <13>"+strings.Repeat("a b c\n", 60)), uint8(2), uint16(600), uint8(1), uint16(100), false)
	f.Fuzz(func(t *testing.T, in []byte, fr uint8, most uint16, policy uint8, step uint16, together bool) {
		if most < 16 || step == 0 {
			return
		}
		p := Oversize(policy % 3)
		c := &scripted{data: in, step: int(step), err: io.EOF, together: together, closed: make(chan struct{})}
		want, _ := naive.CutFramed(in, framing.Framing(fr%4), int(most), p.String())
		o := Options{Tuning: Tuning{MaxLine: int(most), Oversize: p}, ReadSize: 512}
		r := newRig(t, fakeFramed{newFakeListener(c, io.EOF), framing.Framing(fr % 4)}, plenty, o)
		r.ended()
		r.wants(want.Out)
		st := r.ledger()
		if torn := dropped(st, intake.ReasonTorn).Bytes; !want.Closed && torn != uint64(want.Torn) {
			t.Errorf("%d bytes torn, want %d", torn, want.Torn)
		}
		if n := dropped(st, intake.ReasonFraming).Lines; (n == 1) != want.Uncounted && p != Close {
			t.Errorf("uncounted %d, want %v", n, want.Uncounted)
		}
	})
}

type fakeFramed struct {
	*fakeListener
	framing framing.Framing
}

func (l fakeFramed) Framing() framing.Framing { return l.framing }
