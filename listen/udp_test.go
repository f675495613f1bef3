package listen

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/accept"
	"linesplit/linebuf"
	"linesplit/splitter"
)

// For all sizes of reads, each datagram's lines come whole, with a newline at the end.
func TestUDPDeliversWholeLines(t *testing.T) {
	longest := strings.Repeat("x", 65506)
	tests := []struct{ sent, want string }{
		{"a line\n", "a line\n"},
		{"no newline", "no newline\n"},
		{"", ""},
		{"two\nlines", "two\nlines\n"},
		{"\n", "\n"},
		{"x", "x\n"},
		{longest + "\n", longest + "\n"},
		{longest + "x", longest + "x\n"}, // 65,507 bytes, the maximum of IPv4
		{"\n\n\n", "\n\n\n"},
		{"nul \x00 and \r", "nul \x00 and \r\n"},
	}
	for _, size := range []int{7, 256, 65507, 65508, 128 << 10} {
		ln, conn, sender := udp(t, nil)
		for _, tt := range tests {
			send(t, sender, tt.sent)
			if got := readN(t, conn, len(tt.want), size); got != tt.want {
				t.Errorf("reads of %d: sent %d bytes, read %d bytes %.50q", size, len(tt.sent), len(got), got)
			}
		}
		must(t, conn.Close())
		must(t, ln.Close())
	}
}

// One Read takes all datagrams that have arrived.
func TestUDPReadTakesABatch(t *testing.T) {
	_, conn, sender := udp(t, nil)
	for i := range 10 {
		send(t, sender, fmt.Sprint(i))
	}
	b := make([]byte, 4096)
	if n, err := conn.Read(b); string(b[:n]) != "0\n1\n2\n3\n4\n5\n6\n7\n8\n9\n" || err != nil {
		t.Errorf("read %q, %v", b[:n], err)
	}
}

func TestUDPListenerIsNamedAfterItsAddress(t *testing.T) {
	ln, conn, _ := udp(t, nil)
	if want := "udp://" + ln.Addr().String(); accept.Name(ln) != want || strings.HasSuffix(want, ":0") {
		t.Errorf("name %s", accept.Name(ln))
	}
	if conn.LocalAddr().String() != ln.Addr().String() || conn.RemoteAddr() == nil {
		t.Errorf("%v → %v", conn.RemoteAddr(), conn.LocalAddr())
	}
	if _, err := conn.Write([]byte("x")); err == nil {
		t.Error("Write works")
	}
	_, err := Open(t.Context(), mustParse(t, accept.Name(ln)), nil, nil)
	if err == nil || !strings.Contains(err.Error(), "another program listens") {
		t.Errorf("a second listener: %v", err)
	}
}

// Both ways to end softly deliver all that is in the socket's buffer.
func TestUDPSoftEndDeliversTheBuffer(t *testing.T) {
	ways := map[string]func(net.Listener, net.Conn) error{
		"listener": func(ln net.Listener, _ net.Conn) error { return ln.Close() },
		"connection": func(_ net.Listener, conn net.Conn) error {
			return conn.(interface{ CloseWrite() error }).CloseWrite()
		},
	}
	for name, end := range ways {
		t.Run(name, func(t *testing.T) {
			ln, conn, sender := udp(t, nil)
			var want strings.Builder
			for i := range 100 {
				send(t, sender, fmt.Sprintf("%d", i))
				fmt.Fprintf(&want, "%d\n", i)
			}
			must(t, end(ln, conn))
			must(t, conn.SetReadDeadline(past)) // has no effect any more
			got, err := readAll(conn, 64)
			if string(got) != want.String() || err != nil {
				t.Errorf("read %q, %v", got, err)
			}
			must(t, conn.Close())
		})
	}
}

// A soft end wakes a waiting Read.
func TestUDPSoftEndWakesRead(t *testing.T) {
	ln, conn, _ := udp(t, nil)
	ended := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 10))
		ended <- err
	}()
	time.Sleep(time.Millisecond)
	must(t, ln.Close())
	if err := <-ended; err != io.EOF {
		t.Errorf("Read: %v", err)
	}
}

// Senders that never stop do not delay the end of the listener.
func TestUDPSoftEndUnderFlood(t *testing.T) {
	ln, conn, sender := udp(t, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var flood sync.WaitGroup
	for range 4 {
		flood.Go(func() {
			for ctx.Err() == nil {
				sender.Write([]byte("a line\n"))
			}
		})
	}
	readN(t, conn, 1000, 4096)
	must(t, ln.Close())
	ended := make(chan error, 1)
	go func() {
		_, err := io.Copy(io.Discard, conn)
		ended <- err
	}()
	select {
	case err := <-ended:
		must(t, err)
	case <-time.After(time.Minute):
		t.Error("no end")
	}
	cancel()
	flood.Wait()
	must(t, conn.Close())
}

// A splitter's soft end delivers all datagrams that have arrived.
func TestUDPSoftEndOfSplitter(t *testing.T) {
	const datagrams = 200
	ln, err := Open(t.Context(), mustParse(t, "udp://127.0.0.1:0"), nil, nil)
	must(t, err)
	sender, err := net.Dial("udp", ln.Addr().String())
	must(t, err)
	defer sender.Close()
	out := make(chan *linebuf.Buffer, 1) // so that some datagrams stay in the socket
	pool := linebuf.NewPool(16 << 20)
	s := splitter.New(pool, out, splitter.Options{Tuning: splitter.Tuning{Drain: 30 * time.Second}})
	soft, end := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() {
		served <- s.Serve(soft, t.Context(), ln)
		close(out)
	}()
	for i := range datagrams {
		send(t, sender, fmt.Sprintf("line %d", i))
	}
	end()
	lines := 0
	for b := range out {
		lines += bytes.Count(b.B, []byte("\n"))
		pool.Put(b)
		time.Sleep(100 * time.Microsecond)
	}
	must(t, <-served)
	if lines != datagrams {
		t.Errorf("%d lines, want %d", lines, datagrams)
	}
}

// After a connection was closed, for instance for a line that is too long, Accept returns another.
func TestUDPAcceptAfterClose(t *testing.T) {
	ln, conn, sender := udp(t, nil)
	accepted := make(chan net.Conn)
	go func() {
		next, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- next
	}()
	read := make(chan error)
	go func() {
		_, err := conn.Read(make([]byte, 1))
		read <- err
	}()
	time.Sleep(time.Millisecond)
	must(t, conn.Close())
	if err := <-read; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Read: %v", err)
	}
	next := <-accepted
	send(t, sender, "again")
	if got := readN(t, next, 6, 100); got != "again\n" {
		t.Errorf("read %q", got)
	}
	if err := conn.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	if err := conn.SetReadDeadline(past); !errors.Is(err, net.ErrClosed) {
		t.Errorf("deadline of a closed connection: %v", err)
	}
	must(t, next.Close())
}

func TestUDPReadAndAcceptHaveDeadlines(t *testing.T) {
	ln, conn, sender := udp(t, nil)
	must(t, conn.SetReadDeadline(time.Now().Add(time.Millisecond)))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("Read: %v", err)
	}
	must(t, conn.SetReadDeadline(time.Time{}))
	send(t, sender, "x")
	if got := readN(t, conn, 2, 10); got != "x\n" {
		t.Errorf("read %q", got)
	}
	must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(time.Millisecond)))
	if _, err := ln.Accept(); !isTimeout(err) {
		t.Errorf("Accept: %v", err)
	}
	must(t, ln.(deadlineListener).SetDeadline(time.Time{}))
	accepted := make(chan error)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	must(t, ln.Close())
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := ln.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	must(t, conn.Close())
}

func TestUDPGuardDropsDatagrams(t *testing.T) {
	g := &Guard{Deny: prefixes("127.0.0.2")}
	ln, conn, sender := udp(t, g)
	denied := udpFrom(t, "127.0.0.2", ln.Addr().String())
	for range 3 {
		send(t, denied, "denied")
	}
	send(t, sender, "let in")
	if got := readN(t, conn, 7, 100); got != "let in\n" {
		t.Errorf("read %q", got)
	}
	if s := g.Stats(); s.Denied != 3 {
		t.Errorf("%+v", s)
	}
}

func TestOpenPacketGuardsAllReads(t *testing.T) {
	if _, err := OpenPacket(t.Context(), mustParse(t, "tcp://127.0.0.1:0"), nil); err == nil {
		t.Error("OpenPacket opened TCP")
	}
	g := &Guard{Deny: prefixes("127.0.0.2")}
	for _, guard := range []*Guard{nil, {}, g} {
		pc, err := OpenPacket(t.Context(), mustParse(t, "udp://127.0.0.1:0"), guard)
		must(t, err)
		defer pc.Close()
		p := pc.(packets) // the methods that relay uses
		denied := udpFrom(t, "127.0.0.2", pc.LocalAddr().String())
		sender := udpFrom(t, "127.0.0.1", pc.LocalAddr().String())
		b := make([]byte, 65535)
		reads := []func() (int, error){
			func() (int, error) { n, _, err := pc.ReadFrom(b); return n, err },
			func() (int, error) { n, _, err := p.ReadFromUDPAddrPort(b); return n, err },
			func() (int, error) { n, _, _, _, err := p.ReadMsgUDPAddrPort(b, nil); return n, err },
		}
		for _, read := range reads {
			if guard == g {
				send(t, denied, "denied")
			}
			send(t, sender, "let in")
			if n, err := read(); string(b[:n]) != "let in" || err != nil {
				t.Errorf("read %q, %v", b[:n], err)
			}
		}
	}
	if s := g.Stats(); s.Denied != 3 {
		t.Errorf("%+v", s)
	}
}

// udp opens a listener for lines, with its connection and a sender.
func udp(t *testing.T, g *Guard) (net.Listener, net.Conn, net.Conn) {
	t.Helper()
	ln := openGuarded(t, "udp://127.0.0.1:0", g)
	conn, err := ln.Accept()
	must(t, err)
	t.Cleanup(func() { conn.Close() })
	return ln, conn, udpFrom(t, "127.0.0.1", ln.Addr().String())
}

func udpFrom(t *testing.T, host, to string) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.UDPAddr{IP: net.ParseIP(host)}}
	conn, err := d.Dial("udp", to)
	if err != nil {
		t.Skipf("no address %s here: %v", host, err)
	}
	t.Cleanup(func() { conn.Close() })
	return conn
}

func send(t *testing.T, conn net.Conn, s string) {
	t.Helper()
	_, err := conn.Write([]byte(s))
	must(t, err)
}

// readN reads until it has n bytes, size at a time.
func readN(t *testing.T, conn net.Conn, n, size int) string {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	var got []byte
	b := make([]byte, size)
	for len(got) < n {
		k, err := conn.Read(b)
		if err != nil {
			t.Errorf("after %d bytes: %v", len(got), err)
			break
		}
		got = append(got, b[:k]...)
	}
	must(t, conn.SetReadDeadline(time.Time{}))
	return string(got)
}
