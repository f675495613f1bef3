package pagetest

import (
	"bytes"
	"net"
	"testing"
	"time"
)

// A target that reads nothing holds up a sender of its keys, and the page says which one does.
func TestPageShowsFullLanes(t *testing.T) {
	t.Parallel()
	ended := make(chan struct{})
	r := newReceiver(t, "127.0.0.1:0", func(net.Conn) { <-ended })
	t.Cleanup(func() { close(ended) }) // before the receiver's, which waits for that
	p := start(t, "-target", r.addr, "-key", "field:1", "-key-down", "wait", "-queue", "1", "-resend-max", "64KiB",
		"-listen", "tcp://127.0.0.1:0", "-admin", "127.0.0.1:0")
	sender, err := net.Dial("tcp", p.input)
	if err != nil {
		t.Fatal(err)
	}
	defer sender.Close()
	lines := bytes.Repeat([]byte("key and a line\n"), 10_000)
	sender.SetWriteDeadline(time.Now().Add(maxWait))
	go func() {
		for {
			if _, err := sender.Write(lines); err != nil { // after the test
				return
			}
		}
	}()
	b := open(t, p.page())
	b.shows(cell(r.name(), "state"), "full for ")
	b.shows(cell(r.name(), "state"), "senders wait")
	b.noComplaints()
}
