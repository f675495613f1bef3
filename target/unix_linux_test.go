package target

import (
	"errors"
	"syscall"
	"testing"
	"time"
)

// Over a Unix socket, acknowledged means read by the application: never more than it has read, and
// everything in the end.
func TestUnixAckedIsRead(t *testing.T) {
	t.Parallel()
	c, peer := connectPlain(t, SchemeUnix, Options{Margin: 1 << 20, Retain: 8 << 20})
	data := pattern(3 << 20)
	w := startWrite(c, data, patient())
	for read := 0; read < len(data); {
		if p := c.Progress(); p.Acked > uint64(read) || p.Read != p.Acked {
			t.Fatalf("Acked = %d, Read = %d; the peer has read %d", p.Acked, p.Read, read)
		}
		n := min(1+read/3, 100_000, len(data)-read)
		readN(t, peer, n)
		read += n
	}
	w.done.Wait()
	p := c.Progress()
	if w.err != nil || p.Acked != uint64(len(data)) || p.Read != p.Acked || p.Unread != 0 {
		t.Errorf("Write: %v; %+v; want all of %d read", w.err, p, len(data))
	}
}

func TestUnixClosesWithDataUnread(t *testing.T) {
	c, peer := connectPlain(t, SchemeUnix, Options{})
	const read, unread = 100_000, 50_000
	w := startWrite(c, pattern(read+unread), patient())
	readN(t, peer, read)
	w.done.Wait()
	arrived(t, peer, unread)
	before := c.Progress()
	peer.Close()
	event(t, c)
	p := failed(t, c)
	if !errors.Is(p.Err, syscall.ECONNRESET) || p.Acked > read || p.Acked < before.Acked || p.FIN || p.Over {
		t.Errorf("%+v; want ECONNRESET and at most %d acknowledged", p, read)
	}
	if !p.AllRead {
		t.Error("AllRead is false although what was acknowledged was also read")
	}
}

func TestUnixClosesWithEverythingRead(t *testing.T) {
	c, peer := connectPlain(t, SchemeUnix, Options{})
	data := pattern(100_000)
	w := startWrite(c, data, patient())
	readN(t, peer, len(data))
	peer.Close()
	w.done.Wait()
	event(t, c)
	if p := sawFIN(t, c); p.Err != nil || p.Acked != uint64(len(data)) || !p.AllRead {
		t.Errorf("%+v; want all of %d acknowledged and read", p, len(data))
	}
}

func TestUnixAnswersOurHalfClose(t *testing.T) {
	c, peer := connectPlain(t, SchemeUnix, Options{})
	data := pattern(100_000)
	got := collect(peer)
	mustWrite(t, c, data)
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	got.all(t, data)
	eventually(t, "all to be read", func() bool { return c.Progress().Acked == uint64(len(data)) })
	peer.Close()
	event(t, c)
	if p := sawFIN(t, c); p.Err != nil || p.Acked != uint64(len(data)) || !p.AllRead {
		t.Errorf("%+v; want all of %d acknowledged and read", p, len(data))
	}
}

// A peer that has only half-closed goes on reading, and what it reads is counted, also after we
// have half-closed too: the socket then looks as if the peer had gone.
func TestUnixHalfClosedPeerIsCounted(t *testing.T) {
	t.Parallel()
	c, peer := connectPlain(t, SchemeUnix, Options{})
	closeWrite(t, peer)
	event(t, c)
	sawFIN(t, c)
	const size, read = 100_000, 40_000
	mustWrite(t, c, pattern(size))
	if p := c.Progress(); p.Acked > 0 {
		t.Errorf("Acked = %d before the peer has read anything", p.Acked)
	}
	if err := c.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if p := c.Progress(); p.Acked > 0 || p.Over {
		t.Errorf("%+v after both have half-closed, and the peer has read nothing", p)
	}
	readN(t, peer, read)
	if p := c.Progress(); p.Acked > read || p.Over {
		t.Errorf("%+v; the peer has read %d", p, read)
	}
	readN(t, peer, size-read)
	eventually(t, "all to be read", func() bool { return c.Progress().Acked == size })
	peer.Close()
	time.Sleep(10 * time.Millisecond)
	if p := c.Progress(); p.Err != nil || p.Acked != size {
		t.Errorf("%+v after the peer has read everything and closed", p)
	}
}

// A peer that has half-closed dies with data unread.
func TestUnixHalfClosedPeerDies(t *testing.T) {
	t.Parallel()
	for name, closeFirst := range map[string]bool{"we write on": false, "we have half-closed": true} {
		t.Run(name, func(t *testing.T) {
			c, peer := connectPlain(t, SchemeUnix, Options{})
			closeWrite(t, peer)
			event(t, c)
			const size, read = 100_000, 40_000
			mustWrite(t, c, pattern(size))
			readN(t, peer, read)
			if closeFirst {
				if err := c.CloseWrite(); err != nil {
					t.Fatal(err)
				}
			}
			peer.Close()
			event(t, c)
			p := failed(t, c)
			if !errors.Is(p.Err, syscall.ECONNRESET) || p.Acked > read || p.Over {
				t.Errorf("%+v; the peer died having read %d of %d", p, read, size)
			}
		})
	}
}
