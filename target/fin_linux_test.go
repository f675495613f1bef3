package target

import (
	"net"
	"testing"
)

// finSize is the number of bytes that the tests write. It fits into a receive buffer of
// net.core.rmem_max at its default.
const finSize = 100_000

// finTest is one way in which a connection ends, and what Progress must report then.
type finTest struct {
	name     string
	viaProxy bool
	narrow   bool // the peer keeps its initial receive buffer
	act      func(t *testing.T, c *Conn, peer net.Conn, data []byte)
	allRead  bool
	over     bool
	err      bool
	acked    uint64
}

var finTests = []finTest{
	{
		name: "closes with everything read, later writes draw a RST",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize)
			peer.Close()
			if p := sawFIN(t, c); p.Err != nil || p.Over || p.Acked != finSize {
				t.Errorf("after the FIN: %+v", p)
			}
			mustWrite(t, c, data[:1000])
			event(t, c)
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		// This cannot be told from a half-close.
		name: "closes with everything read, and nothing is written after",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize)
			peer.Close()
			sawFIN(t, c)
		},
		acked: finSize,
	},
	{
		name: "closes with everything read, we half-close after it",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize)
			peer.Close()
			sawFIN(t, c)
			eventually(t, "a window that no longer rises", func() bool { return c.Progress().SeemsRead() })
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		allRead: true, over: true, acked: finSize,
	},
	{
		name: "closes with data unread",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize/2)
			arrived(t, peer, finSize/2)
			allAcked(t, c)
			peer.Close()
			event(t, c)
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		name: "closes with one byte unread",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize-1)
			arrived(t, peer, 1)
			allAcked(t, c)
			peer.Close()
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		name: "half-closes, reads on, dies with data unread",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize)
			closeWrite(t, peer)
			sawFIN(t, c)
			writeLooking(t, c, data)
			readN(t, peer, 1000)
			arrived(t, peer, finSize-1000)
			allAcked(t, c)
			reset(t, peer)
			event(t, c)
			failed(t, c)
		},
		err: true, acked: 2 * finSize,
	},
	{
		name: "half-closes with data unread and dies",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			arrived(t, peer, finSize)
			allAcked(t, c)
			closeWrite(t, peer)
			sawFIN(t, c)
			reset(t, peer)
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		// This cannot be told from the case before it.
		name: "half-closes with data unread, reads on, dies with everything read",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			closeWrite(t, peer)
			sawFIN(t, c)
			readN(t, peer, finSize)
			reset(t, peer)
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		name: "we half-close, it reads to our FIN and closes",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			got := collect(peer)
			writeLooking(t, c, data)
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			got.all(t, data)
			peer.Close()
			event(t, c)
			sawFIN(t, c)
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		allRead: true, over: true, acked: finSize,
	},
	{
		name: "we half-close, it closes with data unread",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			arrived(t, peer, finSize)
			allAcked(t, c)
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			peer.Close()
			event(t, c)
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		name: "it half-closes, reads to our FIN and closes",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			closeWrite(t, peer)
			sawFIN(t, c)
			got := collect(peer)
			writeLooking(t, c, data)
			allAcked(t, c)
			eventually(t, "everything to be read", func() bool { return c.Progress().SeemsRead() })
			<-c.Events() // for the FIN
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			got.all(t, data)
			peer.Close()
			event(t, c)
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		allRead: true, over: true, acked: finSize,
	},
	{
		// If the peer were killed now, nothing would show it.
		name: "it half-closes, we half-close while it has not read everything",
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			closeWrite(t, peer)
			sawFIN(t, c)
			// One packet of 60,000 bytes shows the kernel that packets fill its memory well. The
			// window then ends wider than it began, and nothing seems unread unless a look falls in
			// between.
			for range 12 {
				writeLooking(t, c, data[:5000])
				allAcked(t, c)
			}
			arrived(t, peer, 60_000)
			if p := c.Progress(); p.Unread == 0 {
				t.Errorf("%+v though the peer has read nothing", p)
			}
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		narrow: true, over: true, acked: 60_000,
	},
	{
		name: "via a proxy: closes with everything read, later writes draw a RST", viaProxy: true,
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			writeLooking(t, c, data)
			readN(t, peer, finSize)
			peer.Close()
			sawFIN(t, c)
			mustWrite(t, c, data[:1000])
			failed(t, c)
		},
		err: true, acked: finSize,
	},
	{
		name: "via a proxy: it half-closes, reads to our FIN and closes", viaProxy: true,
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			closeWrite(t, peer)
			sawFIN(t, c)
			got := collect(peer)
			writeLooking(t, c, data)
			allAcked(t, c)
			eventually(t, "everything to be read", func() bool { return c.Progress().SeemsRead() })
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			got.all(t, data)
			peer.Close()
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		over: true, acked: finSize,
	},
	{
		name: "via a proxy: we half-close, it reads to our FIN and closes", viaProxy: true,
		act: func(t *testing.T, c *Conn, peer net.Conn, data []byte) {
			got := collect(peer)
			writeLooking(t, c, data)
			if err := c.CloseWrite(); err != nil {
				t.Error(err)
			}
			got.all(t, data)
			peer.Close()
			sawFIN(t, c)
			eventually(t, "the end", func() bool { return c.Progress().Over })
		},
		allRead: true, over: true, acked: finSize,
	},
}

// See allReadLocked for the rules of how a connection ends.
func TestFIN(t *testing.T) {
	t.Parallel()
	for _, test := range finTests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			ln, a := listen(t, SchemeTCP)
			a.ViaProxy = test.viaProxy
			c, peer := connect(t, ln, a, Options{Margin: 64 << 10, Retain: 8 << 20})
			if !test.narrow {
				setReceiveBuffer(t, peer, 4<<20)
			}
			test.act(t, c, peer, pattern(finSize))
			p := c.Progress()
			if p.AllRead != test.allRead || p.Over != test.over || (p.Err != nil) != test.err || p.Acked != test.acked {
				t.Errorf("%+v\nend %+v\nwant AllRead %v, Over %v, an error %v, Acked %d",
					p, c.end, test.allRead, test.over, test.err, test.acked)
			}
		})
	}
}
