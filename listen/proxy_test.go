package listen

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"linesplit/internal/testcert"
)

const v1 = "PROXY TCP4 203.0.113.9 198.51.100.1 4711 514\r\n"

// v2 returns a header of version 2 with a body.
func v2(command, family byte, body string) string {
	b := append([]byte(nil), proxyproto.SIGV2...)
	b = append(b, 0x20|command, family)
	b = binary.BigEndian.AppendUint16(b, uint16(len(body)))
	return string(b) + body
}

const (
	bodyV4   = "\xcb\x00\x71\x09\xc6\x33\x64\x01\x12\x67\x02\x02" // v1's addresses
	localCmd = 0
	proxyCmd = 1
	inet     = 0x11
	inet6    = 0x21
	unixFam  = 0x31
)

// trusting takes 127.0.0.1 for a proxy.
func trusting(timeout time.Duration) *Guard {
	return &Guard{ProxyFrom: prefixes("127.0.0.1"), HeaderTimeout: timeout}
}

// TestHeaders: whatever the header, what is behind it is read to the byte, however it is cut into segments.
func TestHeaders(t *testing.T) {
	tests := []struct{ name, header, remote, local string }{ // no remote: the proxy's own
		{"v1", v1, "203.0.113.9:4711", "198.51.100.1:514"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535"},
		{"v1, unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v1, unknown with addresses", "PROXY UNKNOWN ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff 65535 65535\r\n", "", ""},
		{"v2", v2(proxyCmd, inet, bodyV4), "203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, options", v2(proxyCmd, inet, bodyV4+"\x04\x00\x01x"), "203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, long options", v2(proxyCmd, inet, bodyV4+"\x04\x0f\x00"+strings.Repeat("x", 0xf00)), "203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, IPv6", v2(proxyCmd, inet6, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01"+"\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x02\x00\x01\xff\xff"), "[2001:db8::1]:1", "[2001:db8::2]:65535"},
		{"v2, local", v2(localCmd, 0, ""), "", ""},
		{"v2, local with addresses", v2(localCmd, inet, bodyV4), "", ""},
		{"v2, no address", v2(proxyCmd, 0, ""), "", ""},
		{"v2, Unix", v2(proxyCmd, unixFam, strings.Repeat("\x00", 216)), "", ""},
	}
	guard := trusting(0)
	guard.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	guard.Allow = prefixes("203.0.113.0/24", "2001:db8::/32") // and not the proxy
	ln := openGuarded(t, "tcp://127.0.0.1:0", guard)
	for _, tt := range tests {
		for _, step := range []int{1, 15, 16, 20, 1 << 20} {
			if step == 1 && len(tt.header) > 1000 {
				continue
			}
			near, err := net.Dial("tcp", ln.Addr().String())
			must(t, err)
			go trickle(near, tt.header+"first\nsecond\n", step)
			must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(30*time.Second)))
			far, err := ln.Accept()
			if err != nil {
				t.Fatalf("%s, %d at a time: %v", tt.name, step, err)
			}
			remote, local := tt.remote, tt.local
			if remote == "" {
				remote, local = near.LocalAddr().String(), near.RemoteAddr().String()
			}
			if far.RemoteAddr().String() != remote || far.LocalAddr().String() != local {
				t.Errorf("%s: %v → %v, want %s → %s", tt.name, far.RemoteAddr(), far.LocalAddr(), remote, local)
			}
			got := make([]byte, len("first\nsecond\n"))
			if _, err := io.ReadFull(far, got); err != nil || string(got) != "first\nsecond\n" {
				t.Errorf("%s, %d at a time: read %q, %v", tt.name, step, got, err)
			}
			near.Close()
			far.Close()
		}
	}
	if s := guard.Stats(); s != (GuardStats{}) {
		t.Errorf("%+v", s)
	}
}

// trickle writes step bytes at a time, each in a segment of its own.
func trickle(conn net.Conn, s string, step int) {
	for len(s) > 0 {
		n := min(step, len(s))
		conn.Write([]byte(s[:n]))
		if s = s[n:]; len(s) > 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// TestBadHeaders: such connections are reset and counted, and never reach Accept.
func TestBadHeaders(t *testing.T) {
	tests := []struct {
		name, sent string
		close      bool // behind it
	}{
		{"absent", "<13>Oct 11 22:14:15 a line\n", false},
		{"absent, HTTP", "GET / HTTP/1.1\r\n\r\n", false},
		{"absent, one byte", "x", false},
		{"absent, TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false},
		{"only line ends", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", false},
		{"nothing", "", true},
		{"late", "", false},
		{"late in the middle", v1[:30], false},
		{"truncated signature", "PRO", true},
		{"truncated", v1[:30], true},
		{"truncated line end", v1[:len(v1)-1], true},
		{"v2 truncated", v2(proxyCmd, inet, bodyV4)[:20], true},
		{"v2 truncated before its length", v2(proxyCmd, inet, bodyV4)[:15], true},
		{"no such protocol", "PROXY TCP5 203.0.113.9 198.51.100.1 4711 514\r\n", false},
		{"no address", "PROXY TCP4 example.com 198.51.100.1 4711 514\r\n", false},
		{"wrong family", "PROXY TCP4 ::1 ::2 4711 514\r\n", false},
		{"port", "PROXY TCP4 203.0.113.9 198.51.100.1 4711 70000\r\n", false},
		{"too few", "PROXY TCP4 203.0.113.9 198.51.100.1 4711\r\n", false},
		{"no line feed", "PROXY TCP4 203.0.113.9 198.51.100.1 4711 514\r" + strings.Repeat("x", 100), false},
		{"no carriage return", "PROXY TCP4 203.0.113.9 198.51.100.1 4711 514\n", false},
		{"short line", "PROXY\r\nthis is what follows", false},
		{"too long", "PROXY UNKNOWN " + strings.Repeat("x", 100) + "\r\n", false},
		{"no blank", "PROXYUNKNOWN    \r\n", false},
		{"v2, version", strings.Replace(v2(proxyCmd, inet, bodyV4), "\x21", "\x31", 1), false},
		{"v2, command", v2(2, inet, bodyV4), false},
		{"v2, family", v2(proxyCmd, 0x41, bodyV4), false},
		{"v2, too short for its family", v2(proxyCmd, inet6, bodyV4), false},
		{"v2, too long", v2(proxyCmd, inet, bodyV4+strings.Repeat("x", 5000)), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			g := trusting(200 * time.Millisecond)
			ln := openGuarded(t, "tcp://127.0.0.1:0", g)
			near, err := net.Dial("tcp", ln.Addr().String())
			must(t, err)
			defer near.Close()
			_, err = io.WriteString(near, tt.sent)
			must(t, err)
			if tt.close {
				must(t, near.(*net.TCPConn).CloseWrite())
			}
			wantReset(t, near)
			if s := g.Stats(); s.ProxyErrors != 1 || s.Denied != 0 {
				t.Errorf("%+v", s)
			}
			must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(10*time.Millisecond)))
			if _, err := ln.Accept(); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("Accept: %v", err)
			}
		})
	}
}

// TestUntrusted: what others send is theirs, also if it looks like a header.
func TestUntrusted(t *testing.T) {
	g := &Guard{ProxyFrom: prefixes("192.0.2.0/24"), HeaderTimeout: time.Millisecond}
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	near, far := connect(t, ln)
	if _, ok := far.(*net.TCPConn); !ok || far.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("a %T from %v", far, far.RemoteAddr())
	}
	_, err := io.WriteString(near, v1)
	must(t, err)
	got := make([]byte, len(v1))
	if _, err := io.ReadFull(far, got); err != nil || string(got) != v1 {
		t.Errorf("read %q, %v", got, err)
	}
}

// TestJudgedByHeader: the address in the header is looked for in the lists, not the proxy's.
func TestJudgedByHeader(t *testing.T) {
	g := trusting(0)
	g.Deny = prefixes("127.0.0.0/8", "203.0.113.0/24")
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	for _, tt := range []struct {
		header string
		in     bool
	}{{v1, false}, {"PROXY TCP4 192.0.2.1 198.51.100.1 4711 514\r\n", true}, {"PROXY UNKNOWN\r\n", true}} {
		near, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer near.Close()
		_, err = io.WriteString(near, tt.header)
		must(t, err)
		if !tt.in {
			wantReset(t, near)
			continue
		}
		far, err := ln.Accept()
		must(t, err)
		exchange(t, near, far)
	}
	denied := dialFrom(t, "127.0.0.2", ln)
	wantReset(t, denied)
	if s := g.Stats(); s.Denied != 2 || s.ProxyErrors != 0 {
		t.Errorf("%+v", s)
	}
}

// TestBelowHeader: the connection can be used as the *net.TCPConn that it is.
func TestBelowHeader(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer near.Close()
	_, err = io.WriteString(near, v1)
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	type whole interface {
		syscall.Conn
		io.ReaderFrom
		CloseWrite() error
		SetLinger(int) error
		NetConn() net.Conn
	}
	raw, ok := far.(whole).NetConn().(*net.TCPConn)
	if !ok || raw.RemoteAddr().String() != near.LocalAddr().String() {
		t.Errorf("below is a %T from %v", raw, raw.RemoteAddr())
	}
	exchange(t, near, far)
}

func TestTLSBehindHeader(t *testing.T) {
	f := testcert.New(t, t.TempDir())
	ln, err := Open(t.Context(), mustParse(t, "tls://127.0.0.1:0"), f.ServerTLS(), trusting(0))
	must(t, err)
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	defer near.Close()
	_, err = io.WriteString(near, v1)
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	if _, ok := far.(*tls.Conn); !ok || far.RemoteAddr().String() != "203.0.113.9:4711" {
		t.Errorf("a %T from %v", far, far.RemoteAddr())
	}
	exchange(t, tls.Client(near, f.ClientTLS()), far)
}

// TestSlowHeaders: those who are slow with their header hold up nobody, and end with the listener.
func TestSlowHeaders(t *testing.T) {
	g := trusting(time.Hour)
	ln := openGuarded(t, "tcp://127.0.0.1:0", g)
	var slow []net.Conn
	for range 50 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		defer conn.Close()
		_, err = io.WriteString(conn, v1[:20])
		must(t, err)
		slow = append(slow, conn)
	}
	other := dialFrom(t, "127.0.0.2", ln)
	far, err := ln.Accept()
	must(t, err)
	exchange(t, other, far)

	_, err = io.WriteString(slow[7], v1[20:])
	must(t, err)
	far, err = ln.Accept()
	must(t, err)
	exchange(t, slow[7], far)

	must(t, ln.Close())
	for i, conn := range slow {
		if i != 7 {
			wantReset(t, conn)
		}
	}
	if s := g.Stats(); s != (GuardStats{}) {
		t.Errorf("%+v: what the end of the listener has ended counts as wrong", s)
	}
}

// TestLastCall: a caller that goes on accepting until a deadline leaves nobody behind whose header has come.
func TestLastCall(t *testing.T) {
	const clients = 100
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	for range clients {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		_, err = io.WriteString(conn, v1+"a line\n")
		must(t, err)
		must(t, conn.Close())
	}
	must(t, ln.(deadlineListener).SetDeadline(time.Now().Add(30*time.Second)))
	for range clients {
		conn, err := ln.Accept()
		must(t, err)
		if got, err := io.ReadAll(conn); string(got) != "a line\n" || err != nil {
			t.Errorf("read %q, %v", got, err)
		}
		conn.Close()
	}
}

// TestProxyDeadlines: a past deadline fails at once, a later one is waited for, and Close ends a waiting Accept.
func TestProxyDeadlines(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0)).(deadlineListener)
	must(t, ln.SetDeadline(past))
	if _, err := ln.Accept(); !isTimeout(err) {
		t.Errorf("Accept: %v", err)
	}
	must(t, ln.SetDeadline(time.Time{}))
	accepted := make(chan error)
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	must(t, ln.SetDeadline(time.Now().Add(5*time.Millisecond)))
	if err := <-accepted; !isTimeout(err) {
		t.Errorf("Accept: %v", err)
	}
	must(t, ln.SetDeadline(time.Time{}))
	go func() {
		_, err := ln.Accept()
		accepted <- err
	}()
	must(t, ln.Close())
	if err := <-accepted; !errors.Is(err, net.ErrClosed) {
		t.Errorf("Accept: %v", err)
	}
	if err := ln.SetDeadline(past); !errors.Is(err, net.ErrClosed) {
		t.Errorf("SetDeadline: %v", err)
	}
}

// TestManyAtOnce: with the listener closed in between, each connection is either accepted or reset.
func TestManyAtOnce(t *testing.T) {
	ln := openGuarded(t, "tcp://127.0.0.1:0", trusting(0))
	var clients sync.WaitGroup
	for range 50 {
		conn, err := net.Dial("tcp", ln.Addr().String())
		must(t, err)
		clients.Go(func() {
			defer conn.Close()
			io.WriteString(conn, v1)
			conn.SetDeadline(time.Now().Add(30 * time.Second))
			if _, err := conn.Read(make([]byte, 1)); isTimeout(err) {
				t.Error("neither served nor reset")
			}
		})
	}
	for range 20 {
		conn, err := ln.Accept()
		must(t, err)
		conn.Close()
	}
	must(t, ln.Close())
	clients.Wait()
}

func isTimeout(err error) bool {
	netErr, ok := errors.AsType[net.Error](err)
	return ok && netErr.Timeout()
}

func wantReset(t *testing.T, conn net.Conn) {
	t.Helper()
	must(t, conn.SetReadDeadline(time.Now().Add(30*time.Second)))
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("read %d, %v, want a reset", n, err)
	}
}

// FuzzHeader sends what it is given, once all at once and once in two parts: the header is the same, and what is behind it is left.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{v1, v1 + "rest", v2(proxyCmd, inet, bodyV4) + "rest", v2(localCmd, 0, "abc"), v2(proxyCmd, 0, ""), "PROXY UNKNOWN\r\n", "PROXY", "", "\r\n\r\n"} {
		f.Add([]byte(seed), 7)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.Fatal(err)
	}
	defer ln.Close()
	f.Fuzz(func(t *testing.T, data []byte, cut int) {
		if len(data) > 8<<10 {
			return
		}
		cut = min(max(cut, 0), len(data))
		whole, rest, err := headerOf(t, ln, data)
		again, restAgain, errAgain := headerOf(t, ln, data[:cut], data[cut:])
		if (err == nil) != (errAgain == nil) {
			t.Fatalf("%v in one part, %v in two", err, errAgain)
		}
		if err != nil {
			return
		}
		if !whole.EqualsTo(again) || !bytes.Equal(rest, restAgain) {
			t.Errorf("in one part %+v and %q, in two %+v and %q", whole, rest, again, restAgain)
		}
		if !bytes.HasSuffix(data, rest) {
			t.Errorf("%q is left of %q", rest, data)
		}
		if source, _, ok := addresses(whole); ok && !source.AddrPort().Addr().IsValid() {
			t.Errorf("a header without an address: %+v", whole)
		}
		if again, err := parseHeader(data[:len(data)-len(rest)]); err != nil || !again.EqualsTo(whole) {
			t.Errorf("parsed on its own: %+v, %v", again, err)
		}
	})
}

// headerOf sends parts over a connection and ends it, and returns what readHeader makes of it and what it has left.
func headerOf(t *testing.T, ln net.Listener, parts ...[]byte) (h *proxyproto.Header, rest []byte, err error) {
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	far, err := ln.Accept()
	must(t, err)
	defer far.Close()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for _, p := range parts {
			near.Write(p)
		}
		near.(*net.TCPConn).CloseWrite()
	}()
	defer func() { <-sent; near.Close() }()
	h, err = readHeader(far.(*net.TCPConn))
	if err != nil {
		far.Close()
		return nil, nil, err
	}
	rest, readErr := io.ReadAll(far)
	must(t, readErr)
	return h, rest, nil
}

// FuzzParse: what Parse accepts has a canonical form that it accepts, too.
func FuzzParse(f *testing.F) {
	for _, seed := range []string{"tcp://:9000", "tls://[::1]:1", "udp://0.0.0.0:514", "unix:///a?mode=0660&uid=0", "unix://@a", "stdin:", "tcp:", "://"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		s, err := Parse(value)
		if err != nil {
			if s != (Spec{}) {
				t.Errorf("%+v beside %v", s, err)
			}
			return
		}
		if again, err := Parse(s.String()); err != nil || again != s {
			t.Errorf("Parse(%q) = %+v, %v, want %+v", s.String(), again, err, s)
		}
	})
}

// FuzzParsePrefix: what ParsePrefix accepts is a network in its plain form.
func FuzzParsePrefix(f *testing.F) {
	for _, seed := range []string{"10.0.0.0/8", "::ffff:10.0.0.0/104", "::1", "10.1.2.3/8", "fe80::1%x", "::ffff:0:0/90"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePrefix(text)
		if err != nil {
			return
		}
		if !p.IsValid() || p.Masked() != p || p.Addr().Is4In6() || p.Addr().Zone() != "" {
			t.Errorf("ParsePrefix(%q) = %v", text, p)
		}
		if again, err := ParsePrefix(p.String()); err != nil || again != p {
			t.Errorf("ParsePrefix(%q) = %v, %v", p, again, err)
		}
	})
}
