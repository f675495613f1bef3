package splitter

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"linesplit/internal/intake"
	"linesplit/listen"
)

// failing is an input that fails once its text has been read.
type failing struct {
	text *strings.Reader
	err  error
}

func (f failing) Read(b []byte) (int, error) {
	if f.text.Len() > 0 {
		return f.text.Read(b)
	}
	return 0, f.err
}

// A standard input that failed, such as a directory or a file on a broken disk, passed for one that
// had been read to its end, unless it failed in mid-line.
func TestStandardInputThatFails(t *testing.T) {
	for text, torn := range map[string]uint64{"": 0, "whole\n": 0, "whole\ncut": 1} {
		var log testLog
		r := newRig(t, listen.Stdin(failing{strings.NewReader(text), syscall.EIO}), plenty, Options{Logger: log.logger()})
		r.ended()
		if !errors.Is(r.err, syscall.EIO) || !strings.Contains(r.err.Error(), "stdin: was not read to its end") {
			t.Errorf("%q: Serve = %v", text, r.err)
		}
		if len(log.with(`level=ERROR msg="standard input failed, its rest is not read" err=`)) == 0 {
			t.Errorf("%q: log %q", text, log.with())
		}
		if st := r.ledger(); dropped(st, intake.ReasonTorn).Lines != torn {
			t.Errorf("%q: %+v", text, st)
		}
		r.wants(strings.TrimSuffix(text, "cut"))
	}
}

// The lines behind the one that was too long were not read, and the exit code was 0.
func TestStandardInputIsLeftAtALineThatIsTooLong(t *testing.T) {
	in := strings.NewReader("a\n" + strings.Repeat("x", 100) + "\nb\n")
	r := newRig(t, listen.Stdin(in), plenty, Options{Tuning: Tuning{MaxLine: 50, Oversize: Close}})
	r.ended()
	if !errors.Is(r.err, errTooLong) {
		t.Errorf("Serve = %v", r.err)
	}
	r.wants("a\n")
}

func TestStandardInputThatEnds(t *testing.T) {
	r := newRig(t, listen.Stdin(strings.NewReader("a\nb")), plenty, Options{})
	r.ended()
	r.wants("a\nb\n")
	r.end()
}

// A sender whose connection was reset after a whole line left no trace in the metrics.
func TestBrokenConnectionsAreCounted(t *testing.T) {
	for name, open := range map[string]func(r *rig) net.Conn{
		"plain": func(r *rig) net.Conn { return dial(t, r.addr) },
		"TLS":   func(r *rig) net.Conn { return dialTLS(t, r.addr, tls.VersionTLS13) },
	} {
		ln := listenTCP(t)
		if name == "TLS" {
			ln.Close()
			ln = listenTLS(t)
		}
		r := newRig(t, ln, plenty, Options{})
		for i := range 4 {
			c := open(r)
			write(t, c, "whole\n")
			r.until("it is read", func() bool { return r.size() == 6*(i+1) })
			if i%2 > 0 {
				below(c).(*net.TCPConn).SetLinger(0)
				c = below(c) // no close_notify
			}
			c.Close()
		}
		r.until("all ends", func() bool { return r.Stats().Connections == 0 })
		if st := r.end(); st.Broken != 2 || st.CutOff != 0 {
			t.Errorf("%s: %+v", name, st)
		}
	}
}
