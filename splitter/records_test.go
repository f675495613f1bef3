package splitter

import (
	"errors"
	"fmt"
	"io"
	"net"
	"regexp"
	"testing"
	"time"

	"linesplit/internal/intake"
	"linesplit/linebuf"
)

var notIndented = regexp.MustCompile(`^[^ ]`)

// A record ends with the next one, after a time without a further line, and with its connection.
func TestLinesAreJoined(t *testing.T) {
	for _, loops := range []int{0, 2} {
		t.Run(fmt.Sprintf("%d loops", loops), func(t *testing.T) {
			ln := struct{ *net.TCPListener }{listenTCP(t).(*net.TCPListener)}
			r := newRig(t, ln, plenty, Options{Loops: loops,
				Tuning: Tuning{RecordStart: notIndented, RecordWait: 50 * time.Millisecond}})
			nc := dial(t, ln.Addr())
			write(t, nc, "error\n at x\n at")
			r.wants("11 error\n at x")
			write(t, nc, " y\n")
			r.wants("11 error\n at x" + " at y\n")
			write(t, nc, "one\ntwo\n 2\n")
			r.until("the others", func() bool { return r.Stats().Queued.Lines == 4 })
			write(t, nc, "three\n 3")
			nc.Close()
			r.until("the last one", func() bool { return r.Stats().Queued.Lines == 5 })
			r.end()
		})
	}
}

// A broken connection loses its unfinished line alone.
func TestBrokenSenderLosesNoWholeLine(t *testing.T) {
	c := &scripted{data: []byte("error\n at x\nhal"), step: 5, err: errors.New("broken"), closed: make(chan struct{})}
	r := newRig(t, newFakeListener(c, io.EOF), plenty, Options{Tuning: Tuning{RecordStart: notIndented}})
	r.ended()
	r.wants("11 error\n at x")
	if n := dropped(r.ledger(), intake.ReasonTorn).Count; n != (linebuf.Count{Lines: 1, Bytes: 3}) {
		t.Errorf("torn: %+v", n)
	}
}
