package target

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

var tlsVersions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// tlsPair connects through TLS. The server's end is the tls.Conn; its NetConn is the socket.
func tlsPair(t testing.TB, version uint16, change func(server *tls.Config)) (*Conn, *tls.Conn) {
	t.Helper()
	files := certs(t)
	server := files.ServerTLS()
	server.MinVersion, server.MaxVersion = version, version
	if change != nil {
		change(server)
	}
	ln, a := listen(t, SchemeTLS)
	c, peer := connect(t, tls.NewListener(ln, server), a, Options{TLS: files.ClientTLS})
	return c, peer.(*tls.Conn)
}

// eachTLS runs test with a connection of each version, side by side with other tests.
func eachTLS(t *testing.T, test func(t *testing.T, c *Conn, peer *tls.Conn)) {
	t.Helper()
	t.Parallel()
	for name, version := range tlsVersions {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c, peer := tlsPair(t, version, nil)
			test(t, c, peer)
		})
	}
}

// Everything arrives, whatever kind of server it is, and the server's answer to our close proves
// it.
func TestTLSDelivers(t *testing.T) {
	t.Parallel()
	for name, version := range tlsVersions {
		for _, tickets := range []bool{false, true} {
			for _, mutual := range []bool{false, true} {
				t.Run(fmt.Sprintf("%s tickets %v client certificate %v", name, tickets, mutual), func(t *testing.T) {
					t.Parallel()
					c, peer := tlsPair(t, version, func(server *tls.Config) {
						server.SessionTicketsDisabled = !tickets
						if mutual {
							server.ClientAuth = tls.RequireAnyClientCert
						}
					})
					got := collect(peer)
					var all []byte
					sizes := []int{1, maxRecord - 1, maxRecord, maxRecord + 1, maxBatch, maxBatch + 1, 0, 300_000}
					for _, size := range sizes {
						p := pattern(size)
						all = append(all, p...)
						mustWrite(t, c, p)
						if p := c.Progress(); p.Written != uint64(len(all)) || p.Acked > p.Written {
							t.Errorf("%+v after %d bytes", p, len(all))
						}
					}
					if err := c.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					if !bytes.Equal(got.all(t, all), all) || got.err != nil {
						t.Errorf("the server read %d of %d bytes, %v", got.got.Len(), len(all), got.err)
					}
					peer.Close()
					eventually(t, "the end", func() bool { return c.Progress().Over })
					if p := c.Progress(); !p.AllRead || p.Acked != uint64(len(all)) || p.Err != nil || !p.FIN {
						t.Errorf("%+v, want all of %d acknowledged and AllRead", p, len(all))
					}
				})
			}
		}
	}
}

// relayHandshake relays the handshake between c and a TLS server. Afterwards the test uses front as
// a receiver for which it decides what arrives.
func relayHandshake(t *testing.T, version uint16) (c *Conn, front net.Conn) {
	t.Helper()
	files := certs(t)
	server := files.ServerTLS()
	server.MinVersion, server.MaxVersion = version, version
	ln, a := listen(t, SchemeTLS)
	var relay sync.WaitGroup
	back, inner := net.Pipe()
	relay.Go(func() {
		var err error
		if front, err = ln.Accept(); err != nil {
			t.Error(err)
			return
		}
		t.Cleanup(func() { front.Close() })
		var up, down sync.WaitGroup
		up.Go(func() { io.Copy(back, front) })
		down.Go(func() { io.Copy(front, back) })
		if err := tls.Server(inner, server).Handshake(); err != nil {
			t.Error(err)
		}
		// With TLS 1.2 the server sends the last message: it must pass before the relay ends.
		inner.Close()
		down.Wait()
		front.SetReadDeadline(time.Now())
		up.Wait()
		front.SetReadDeadline(time.Time{})
	})
	c, err := DialTracked(t.Context(), a, &Options{TLS: files.ClientTLS})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	relay.Wait()
	return c, front
}

// wholeRecords returns how many bytes of plaintext the complete records in stream hold; plain has
// the plaintext length of each record.
func wholeRecords(stream []byte, plain []int) (acked uint64) {
	for i := 0; len(stream) >= 5; i++ {
		size := 5 + int(stream[3])<<8 + int(stream[4])
		if len(stream) < size {
			break
		}
		acked += uint64(plain[i])
		stream = stream[size:]
	}
	return acked
}

// A receiver dies in the middle of a record. Only the records that it has received completely
// count: it cannot decrypt the last one.
func TestTLSAckedCountsWholeRecords(t *testing.T) {
	t.Parallel()
	for name, version := range tlsVersions {
		for _, size := range []int{700, 5000, maxRecord, maxRecord + 1, 3 * maxRecord} {
			t.Run(fmt.Sprintf("%s in writes of %d", name, size), func(t *testing.T) {
				t.Parallel()
				c, front := relayHandshake(t, version)
				var plain []int // plaintext length of each record
				var w sync.WaitGroup
				w.Go(func() {
					p := pattern(size)
					for {
						for left := size; left > 0; left -= maxRecord {
							plain = append(plain, min(left, maxRecord))
						}
						if _, err := c.Write(p, func() error { c.Progress(); return nil }); err != nil {
							return
						}
						c.Progress()
					}
				})
				const read = 12345
				stream := readN(t, front, read)
				unread := settled(t, c, front)
				stream = append(stream, peek(t, front, unread)...)
				reset(t, front)
				w.Wait()
				want := wholeRecords(stream, plain)
				p := c.Progress()
				if p.Acked != want || p.AllRead || p.Err == nil {
					t.Errorf("%+v; want %d acknowledged: %d bytes on the wire", p, want, len(stream))
				}
				if c.ackedWire-uint64(len(stream)) > 10_000 {
					t.Errorf("%d bytes acknowledged on the wire, of which %d after the handshake", c.ackedWire, len(stream))
				}
			})
		}
	}
}

// A TLS peer that closes with data unread sends close_notify all the same, and crypto/tls takes
// that for a clean end.
func TestTLSCloseNotifyProvesNothing(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		mustWrite(t, c, pattern(5000))
		arrived(t, peer.NetConn(), 5000)
		allAcked(t, c)
		peer.Close()
		event(t, c)
		p := failed(t, c)
		if p.AllRead || p.Over || p.Acked != 5000 {
			t.Errorf("%+v; want an error and no AllRead", p)
		}
	})
}

// A close_notify without a FIN is a reason to leave the connection, and not a failure.
func TestTLSCloseNotifyAlone(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		if err := peer.CloseWrite(); err != nil { // sends close_notify and no FIN
			t.Fatal(err)
		}
		event(t, c)
		if p := sawFIN(t, c); p.Err != nil || p.AllRead || p.Over {
			t.Errorf("%+v", p)
		}
		got := collect(peer)
		data := pattern(100_000)
		mustWrite(t, c, data)
		eventually(t, "all to be acknowledged and read", func() bool {
			p := c.Progress()
			return p.Acked == p.Written && p.Unread == 0
		})
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.all(t, data), data) || got.err != nil {
			t.Errorf("the server read %d bytes, %v", got.got.Len(), got.err)
		}
	})
}

// A write that the peer blocks for longer than the write deadline goes on in the middle of a
// record.
func TestTLSWriteGoesOn(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		data := pattern(12 << 20)
		goOn := patient()
		var got *collector
		asked := 0
		n, err := c.Write(data, func() error {
			if asked++; asked == 3 {
				got = collect(peer)
			}
			return goOn()
		})
		if err != nil || n != len(data) || asked < 3 {
			t.Fatalf("Write = %d, %v, having asked %d times", n, err, asked)
		}
		if err := c.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got.all(t, data), data) || got.err != nil {
			t.Errorf("the server read %d of %d bytes, %v", got.got.Len(), len(data), got.err)
		}
	})
}

// A write that waiting stops returns the error of waiting, and close_notify on a connection that
// takes no more does not wait for it.
func TestTLSCloseWriteDoesNotWait(t *testing.T) {
	t.Parallel()
	c, peer := tlsPair(t, tls.VersionTLS13, nil)
	enough := context.Canceled
	n, err := c.Write(pattern(32<<20), func() error { return enough })
	if err != enough || n == 0 {
		t.Fatalf("Write = %d, %v", n, err)
	}
	start := time.Now()
	c.CloseWrite()
	c.Abort()
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("CloseWrite and Abort took %v although the peer takes nothing", d)
	}
	peer.Close()
}

// onFailedWrite is a socket that calls failed before a failed Write returns, so that the reading
// goroutine sees the failure first.
type onFailedWrite struct {
	*net.TCPConn
	failed func()
}

func (h onFailedWrite) Write(p []byte) (int, error) {
	n, err := h.TCPConn.Write(p)
	if err != nil {
		h.failed()
	}
	return n, err
}

// The write of close_notify takes the error of a reset from the socket, and the reading goroutine
// sees an end of file. That must not count as the answer to a FIN that was never sent.
func TestTLSResetDuringCloseNotify(t *testing.T) {
	t.Parallel()
	files := certs(t)
	ln, a := listen(t, SchemeTLS)
	var peer net.Conn
	var accepted sync.WaitGroup
	accepted.Go(func() { peer = accept(t, tls.NewListener(ln, files.ServerTLS())) })
	c, err := dial(t.Context(), a, &Options{TLS: files.ClientTLS})
	accepted.Wait()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	mustWrite(t, c, pattern(5000))
	socket := peer.(*tls.Conn).NetConn()
	arrived(t, socket, 5000)
	allAcked(t, c)
	reset(t, socket)
	eventually(t, "the RST", func() (closed bool) {
		control(t, c.raw, func(fd int) error {
			counts, err := countTCP(fd)
			closed = counts.closed
			return err
		})
		return closed
	})
	c.raw = onFailedWrite{c.raw.(*net.TCPConn), func() {
		c.reader.Go(c.read)
		event(t, c)
	}}
	c.CloseWrite()
	if p := c.Progress(); p.AllRead || p.Err == nil || p.Over {
		t.Errorf("%+v after a reset with data unread", p)
	}
}

// afterWrite is a socket that calls answered before a Write returns, so that the peer's answer
// comes first.
type afterWrite struct {
	*net.TCPConn
	answered func()
}

func (s afterWrite) Write(p []byte) (int, error) {
	n, err := s.TCPConn.Write(p)
	s.answered()
	return n, err
}

// A peer that has read our close_notify, and so everything before it, may close before we send our
// FIN.
func TestTLSPeerClosesBeforeOurFIN(t *testing.T) {
	eachTLS(t, func(t *testing.T, c *Conn, peer *tls.Conn) {
		data := pattern(100_000)
		got := collect(peer)
		mustWrite(t, c, data)
		var closing sync.WaitGroup
		closing.Go(func() {
			got.done.Wait()
			peer.Close()
		})
		c.deadline = time.Now().Add(wait) // or close_notify may be late for it, and is left out
		c.raw.SetWriteDeadline(c.deadline)
		c.raw = afterWrite{c.raw.(*net.TCPConn), func() { sawFIN(t, c) }}
		c.CloseWrite()
		closing.Wait()
		eventually(t, "the end", func() bool { return c.Progress().Over })
		if p := c.Progress(); !p.AllRead || p.Err != nil || p.Acked != uint64(len(data)) {
			t.Errorf("%+v", p)
		}
	})
}
