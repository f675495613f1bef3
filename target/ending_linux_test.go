package target

import (
	"crypto/tls"
	"io"
	"net"
	"sync"
	"testing"
)

// endOf ends c after the peer's FIN as a machine does that sees everything read, and returns its
// last progress.
func endOf(t *testing.T, c *Conn) Progress {
	t.Helper()
	sawFIN(t, c)
	allAcked(t, c)
	eventually(t, "all to seem read", func() bool { return c.Progress().SeemsRead() })
	c.CloseWrite()
	eventually(t, "the end", func() bool { p := c.Progress(); return p.Over || p.Err != nil })
	return c.Progress()
}

// A process that stops closes its connection, while its TLS holds the rest of a record of which it
// has taken the first line. Its kernel has nothing unread, so a FIN follows its close_notify, and
// no RST. That counted as proof that it had read everything, and the lines in its TLS were lost.
func TestTLSPeerClosesWithLinesInItsTLS(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		mustWrite(t, c, pattern(5000))
		readN(t, peer, 100)
		peer.Close()
		if p := endOf(t, c); p.AllRead || p.Known > 100 || p.Acked != 5000 {
			t.Errorf("%+v; want at most 100 known to be read", p)
		}
	})
}

// A peer says close_notify and FIN, reads on, and closes with everything read, or closes at once.
// Our close_notify meets a closed socket. Once its RST made an orderly restart look like a failure,
// and all lines went twice; now no more than the peer's TLS may have held.
func TestTLSPeerClosesAfterItsFIN(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		const early, late = 299_000, 1000
		var reading sync.WaitGroup
		reading.Go(func() { io.CopyN(io.Discard, peer, early) })
		mustWrite(t, c, pattern(early))
		reading.Wait()
		closeWrite(t, peer)
		closeWrite(t, peer.NetConn())
		event(t, c)
		mustWrite(t, c, pattern(late)) // it was on its way
		readN(t, peer, late)
		peer.NetConn().Close()
		p := endOf(t, c)
		least := uint64(early + late - slackTLS - 2*maxRecord) // whole records count
		if p.AllRead || p.Acked != early+late || p.Known < least || p.Known > p.Acked-slackTLS+maxRecord {
			t.Errorf("%+v; want about 64 KiB less than all known to be read", p)
		}
	})
}

// A peer that reads on after its close_notify and FIN takes our close_notify: nothing goes twice.
func TestTLSPeerReadsOnAfterItsFIN(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		data := pattern(100_000)
		closeWrite(t, peer)
		closeWrite(t, peer.NetConn())
		got := collect(peer)
		mustWrite(t, c, data)
		var closing sync.WaitGroup
		closing.Go(func() {
			got.done.Wait()
			peer.Close()
		})
		if p := endOf(t, c); !p.AllRead || p.Err != nil || p.Acked != uint64(len(data)) {
			t.Errorf("%+v", p)
		}
		closing.Wait()
	})
}

// A peer's FIN comes before ours, but the reading goroutine, for want of CPU time, sees it only
// after we have sent ours. It was taken for the answer to ours, and so for proof that everything
// was read.
func TestLateSightOfAFINIsNoAnswer(t *testing.T) {
	t.Parallel()
	ln, a := listen(t, SchemeTCP)
	var peer net.Conn
	var accepted sync.WaitGroup
	accepted.Go(func() { peer = accept(t, ln) })
	c, err := dial(t.Context(), a, &Options{})
	accepted.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for range 12 { // small packets: that they are unread shows, see finTests
		mustWrite(t, c, pattern(5000))
		allAcked(t, c)
	}
	arrived(t, peer, 60_000)
	closeWrite(t, peer)
	eventually(t, "the FIN", func() bool {
		c.Progress()
		c.mu.Lock()
		defer c.mu.Unlock()
		return c.counts.peerFIN
	})
	c.CloseWrite()
	c.reader.Go(c.read)
	eventually(t, "the end", func() bool { return c.Progress().Over })
	if p := c.Progress(); p.AllRead {
		t.Errorf("%+v though the peer has read nothing", p)
	}
}
