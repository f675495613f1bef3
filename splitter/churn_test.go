package splitter

import (
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// At the connection limit each sender that came and went made two lines of log: 720 connections
// made 858 lines, and a stranger with a loop 54,243 in two seconds.
func TestChurnAtTheConnectionLimitIsLoggedInSum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log testLog
		ln := newFakeListener()
		r := newRig(t, ln, plenty, Options{Tuning: Tuning{MaxConnections: 1}, Logger: log.logger()})
		const senders = 720
		for range senders {
			near, far := net.Pipe()
			ln.next <- far
			synctest.Wait() // accepting has paused
			near.Close()
			synctest.Wait()
			time.Sleep(10 * time.Millisecond)
		}
		if st := r.Stats(); st.Accepted != senders {
			t.Fatalf("%d accepted, want %d", st.Accepted, senders)
		}
		time.Sleep(time.Minute)
		pauses, again := log.with("accepting pauses"), log.with("accepting again")
		if len(pauses) != 1 || len(again) != 2 || !strings.Contains(again[1], "count=1438") {
			t.Errorf("want one pause, and accepting again at once and in sum:\n%s%s",
				strings.Join(pauses, ""), strings.Join(again, ""))
		}
	})
}

// Failed handshakes, which any stranger can cause, make a line at once and one in half a minute.
// Those of one kind, such as checks of a balancer in plain text, hid those of all others.
func TestFailedHandshakesAreLoggedInSum(t *testing.T) {
	var log testLog
	r := newRig(t, listenTLS(t), plenty, Options{Logger: log.logger()})
	const failures = 50
	for range failures {
		c := dial(t, r.addr)
		write(t, c, "these are lines, and no client hello\n")
		io.Copy(io.Discard, c)
		c.Close()
	}
	r.until("the failures", func() bool { return r.Stats().HandshakeErrors == failures })
	if _, err := tls.Dial("tcp", r.addr.String(), &tls.Config{ServerName: "not.trusted"}); err == nil {
		t.Error("a client trusts the certificate")
	}
	r.until("a line of either kind", func() bool { return len(log.with("TLS handshake failed")) == 2 })
	if all := log.with("TLS handshake failed"); !strings.Contains(all[1], "bad certificate") {
		t.Errorf("the second line:\n%s", all[1])
	}
	r.end()
	r.FlushLog()
	all := log.with("TLS handshake failed")
	if len(all) != 3 || !strings.Contains(all[2], "count=49") || !strings.Contains(all[0], "does not speak TLS") {
		t.Errorf("want three lines, the third for 49 failures, with advice:\n%s", strings.Join(all, ""))
	}
}
