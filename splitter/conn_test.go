package splitter

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"linesplit/internal/intake"
)

func TestLinesPassByteForByte(t *testing.T) {
	for _, tc := range []struct{ name, in, want string }{
		{"lines", "a\nb\nc\n", "a\nb\nc\n"},
		{"no last newline", "a\nb", "a\nb\n"},
		{"carriage returns", "a\r\nb\r\n\r\n", "a\r\nb\r\n\r\n"},
		{"empty lines", "\n\n\na\n\n", "\n\n\na\n\n"},
		{"any bytes", "\x00\x01\xff\n\xc3\x28\n\x00\n", "\x00\x01\xff\n\xc3\x28\n\x00\n"},
		{"nothing", "", ""},
		{"a newline", "\n", "\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			r := newRig(t, listenTCP(t), plenty, Options{})
			c := dial(t, r.addr)
			write(t, c, tc.in)
			c.Close()
			r.wants(tc.want)
			r.until("the sender's end", func() bool { return r.Stats().Connections == 0 && r.Stats().Accepted == 1 })
			st := r.end()
			lines := uint64(strings.Count(tc.want, "\n"))
			if st.Received.Bytes != uint64(len(tc.want)) || st.Queued.Lines != lines {
				t.Errorf("counted %+v", st)
			}
		})
	}
}

// Bytes of two connections must never be joined in one line, even if last lines lack their
// newlines.
func TestLinesOfManySendersStayWhole(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		t.Run(network, func(t *testing.T) {
			ln := listenTCP(t)
			if network == "unix" {
				ln.Close()
				var err error
				if ln, err = net.Listen("unix", filepath.Join(t.TempDir(), "s")); err != nil {
					t.Fatal(err)
				}
			}
			r := newRig(t, ln, plenty, Options{})
			var want strings.Builder
			var wg sync.WaitGroup
			for i := range 40 {
				text := numbered(i, 500, 600) + fmt.Sprintf("the last of %d", i)
				want.WriteString(text + "\n")
				wg.Go(func() {
					c := dial(t, r.addr)
					write(t, c, text)
					c.Close()
				})
			}
			wg.Wait()
			r.until("all bytes", func() bool { return r.size() >= want.Len() })
			if sorted(r.output()) != sorted(want.String()) {
				t.Error("lines were lost, torn or glued")
			}
			r.end()
		})
	}
}

func TestLinesSurviveHostileReads(t *testing.T) {
	const in = "first\n\nthe second line\r\nunfinished"
	reset := &net.OpError{Op: "read", Err: os.NewSyscallError("read", errors.New("connection reset by peer"))}
	for at := 0; at <= len(in); at++ {
		whole := in[:at][:strings.LastIndexByte(in[:at], '\n')+1]
		for _, end := range []error{io.EOF, io.ErrUnexpectedEOF, reset} {
			for _, step := range []int{1, 7, 1 << 20} {
				for _, how := range []string{"", "together", "empty"} {
					t.Run(fmt.Sprintf("%d/%v/%d/%s", at, end, step, how), func(t *testing.T) {
						want, tornBytes := whole, len(in[:at])-len(whole)
						if end == io.EOF && tornBytes > 0 {
							want, tornBytes = in[:at]+"\n", 0
						}
						c := &scripted{data: []byte(in[:at]), step: step, err: end, together: how == "together",
							empty: how == "empty", closed: make(chan struct{})}
						r := newRig(t, newFakeListener(c, io.EOF), plenty, Options{})
						r.ended()
						if r.err != nil {
							t.Errorf("a finite listener ended with %v", r.err)
						}
						<-c.closed
						r.wants(want)
						if d := dropped(r.ledger(), intake.ReasonTorn); d.Bytes != uint64(tornBytes) || (d.Lines == 1) != (tornBytes > 0) {
							t.Errorf("dropped as torn: %+v, want %d bytes", d, tornBytes)
						}
					})
				}
			}
		}
	}
}

// Buffers have all sizes relative to the lines, over a real socket and through Read.
func TestLinesAroundMaxLine(t *testing.T) {
	for _, maxLine := range []int{1, 2, 511, 512, 513, 16 << 10, 16<<10 + 1, 100_000, 1 << 20} {
		for _, policy := range []Oversize{Drop, Truncate} {
			t.Run(fmt.Sprint(maxLine, policy), func(t *testing.T) {
				x := func(n int) string { return strings.Repeat("x", max(0, n)) + "\n" }
				in := x(maxLine-2) + x(maxLine-1) + x(maxLine) + "a" + x(maxLine-2) + x(2*maxLine) + x(3) +
					x(maxLine+5000) + x(maxLine-1) + "end"
				want := model([]byte(in), maxLine, policy)
				o := Options{Tuning: Tuning{MaxLine: maxLine, Oversize: policy}, ReadSize: 512}

				t.Run("socket", func(t *testing.T) {
					r := newRig(t, listenTCP(t), plenty, o)
					c := dial(t, r.addr)
					write(t, c, in)
					c.Close()
					r.until("the end", func() bool { return r.Stats().Accepted == 1 && r.Stats().Connections == 0 })
					checkResult(r, want)
				})
				t.Run("read", func(t *testing.T) {
					c := &scripted{data: []byte(in), step: 999, err: io.EOF, together: true, closed: make(chan struct{})}
					r := newRig(t, newFakeListener(c, io.EOF), plenty, o)
					r.ended()
					checkResult(r, want)
				})
			})
		}
	}
}

func checkResult(r *rig, want result) {
	r.t.Helper()
	r.wants(want.out)
	st := r.end()
	for why, n := range want.dropped {
		if got := st.Dropped[why]; got.Count != n {
			r.t.Errorf("dropped %+v, want %+v", got, n)
		}
	}
	if st.TruncatedLines != want.truncated {
		r.t.Errorf("%d truncated, want %d", st.TruncatedLines, want.truncated)
	}
}

func TestClosePolicyClosesTheConnection(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{Tuning: Tuning{MaxLine: 10, Oversize: Close}})
	good := dial(t, r.addr)
	bad := dial(t, r.addr)
	write(t, bad, "one\ntwo\n"+strings.Repeat("x", 10))
	bad.SetReadDeadline(time.Now().Add(wait))
	if _, err := bad.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the connection was not closed: %v", err)
	}
	r.wants("one\ntwo\n")
	write(t, good, "three\n")
	r.wants("one\ntwo\nthree\n")
	good.Close()
	if d := dropped(r.end(), intake.ReasonOversize); d.Lines != 1 || d.Bytes != 10 {
		t.Errorf("dropped %+v", d)
	}
}

// Other projects take "connection reset by peer" for a clean end and deliver half a line.
func TestResetInMidLineDropsTheLine(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	c := dial(t, r.addr)
	write(t, c, "whole\nhal")
	r.wants("whole\n")
	c.(*net.TCPConn).SetLinger(0)
	c.Close()
	r.until("the tail to be dropped", func() bool { return dropped(r.Stats(), intake.ReasonTorn).Lines == 1 })
	if d := dropped(r.end(), intake.ReasonTorn); d.Bytes != 3 {
		t.Errorf("dropped %+v", d)
	}
	r.wants("whole\n")
}

func TestHalfCloseOfSenderIsACleanEnd(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	c := dial(t, r.addr)
	write(t, c, "a\nb")
	c.(*net.TCPConn).CloseWrite()
	r.wants("a\nb\n")
	if b, err := io.ReadAll(c); err != nil || len(b) > 0 {
		t.Errorf("the sender read %q, %v", b, err)
	}
}

func TestLineInSingleBytes(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{ReadSize: 512})
	c := dial(t, r.addr)
	in := numbered(1, 20, 700)
	for i := range len(in) {
		write(t, c, in[i:i+1])
	}
	c.Close()
	r.wants(in)
}

// A quiet connection holds no buffer, and one with an unfinished line only a small one.
func TestIdleConnectionHoldsNoBuffer(t *testing.T) {
	r := newRig(t, listenTCP(t), plenty, Options{})
	var conns []net.Conn
	for range 50 {
		c := dial(t, r.addr)
		write(t, c, numbered(0, 100, 600))
		conns = append(conns, c)
	}
	quiet := func() bool { return r.pool.InUse() == 0 }
	r.until("all lines", func() bool { return r.Stats().Queued.Lines == 5000 })
	r.until("all buffers to be back", quiet)
	if n := r.Stats().Connections; n != 50 {
		t.Errorf("%d connections", n)
	}
	for _, c := range conns {
		write(t, c, "unfinished")
	}
	r.until("small buffers", func() bool { return r.charged() == 50*512 && r.pool.InUse() == 50*512 })
	for _, c := range conns {
		write(t, c, "\n")
	}
	r.until("all lines", func() bool { return r.Stats().Queued.Lines == 5050 })
	r.until("all buffers to be back", quiet)
	for _, c := range conns {
		c.Close()
	}
}

// A full channel holds the sender back; nothing is dropped.
func TestFullChannelHoldsSenderBack(t *testing.T) {
	r := newRigOn(t, listenTCP(t), 1<<20, 2, Options{})
	r.gate.Lock()
	c := dial(t, r.addr)
	in := numbered(0, 30_000, 600)
	sent := make(chan struct{})
	go func() { defer close(sent); write(t, c, in); c.Close() }()
	select {
	case <-sent:
		t.Error("the sender was not held back")
	case <-time.After(300 * time.Millisecond):
	}
	if n := r.pool.InUse(); n > r.pool.Limit() {
		t.Errorf("%d bytes in use", n)
	}
	r.gate.Unlock()
	<-sent
	r.wants(in)
}
