package listen

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"
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

	// fromAWS is the body of a header as a load balancer of AWS has sent it, with its checksum.
	fromAWS = "\xac\x1f\x07\x71\xac\x1f\x0a\x1f\xc8\xf2\x00\x50\x03\x00\x04\xe8\xd6\x89\x2d" +
		"\xea\x00\x17\x01vpce-08d2bf15fac5001c9\x04\x00\x24" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00" +
		"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"

	longIPv6 = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"
)

// For all headers, and however they are cut into segments, the data after the header is read to the
// byte.
func TestDataAfterHeaderIsWhole(t *testing.T) {
	tests := []struct{ name, header, remote, local string }{ // empty addresses: those of the proxy's connection
		{"v1", v1, "203.0.113.9:4711", "198.51.100.1:514"},
		{"v1, IPv6", "PROXY TCP6 2001:db8::1 2001:db8::2 1 65535\r\n", "[2001:db8::1]:1", "[2001:db8::2]:65535"},
		{"v1, IPv6 to IPv4", "PROXY TCP6 2001:db8::1 192.0.2.2 1 2\r\n", "[2001:db8::1]:1", "[::]:2"},
		{"v1, IPv6 to IPv4, by the other's name", "PROXY TCP4 2001:db8::1 192.0.2.2 1 2\r\n", "[2001:db8::1]:1", "[::]:2"},
		{"v1, IPv4 to IPv6", "PROXY TCP4 203.0.113.9 2001:db8::2 1 2\r\n", "203.0.113.9:1", "0.0.0.0:2"},
		{"v1, IPv4 to IPv6, by the other's name", "PROXY TCP6 203.0.113.9 2001:db8::2 1 2\r\n", "203.0.113.9:1", "0.0.0.0:2"},
		{"v1, IPv4 to IPv4 written as IPv6", "PROXY TCP4 203.0.113.9 ::ffff:192.0.2.2 1 2\r\n", "203.0.113.9:1", "192.0.2.2:2"},
		{"v1, the longest line", "PROXY TCP4 2001:db8:ffff:ffff:ffff:ffff:ffff:ffff 255.255.255.255 65535 65535\r\n",
			"[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535", "[::]:65535"},
		{"v1, unknown", "PROXY UNKNOWN\r\n", "", ""},
		{"v1, unknown with addresses", "PROXY UNKNOWN " + longIPv6 + " " + longIPv6 + " 65535 65535\r\n", "", ""},
		{"v2", v2(proxyCmd, inet, bodyV4), "203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, options", v2(proxyCmd, inet, bodyV4+"\x04\x00\x01x"), "203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, long options", v2(proxyCmd, inet, bodyV4+"\x04\x0f\x00"+strings.Repeat("x", 0xf00)),
			"203.0.113.9:4711", "198.51.100.1:514"},
		{"v2, checksum, as AWS sends it", v2(proxyCmd, inet, fromAWS), "172.31.7.113:51442", "172.31.10.31:80"},
		{"v2, IPv6", v2(proxyCmd, inet6, "\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01"+
			"\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x02\x00\x01\xff\xff"), "[2001:db8::1]:1", "[2001:db8::2]:65535"},
		{"v2, local", v2(localCmd, 0, ""), "", ""},
		{"v2, local with addresses", v2(localCmd, inet, bodyV4), "", ""},
		{"v2, no address", v2(proxyCmd, 0, ""), "", ""},
		{"v2, Unix", v2(proxyCmd, unixFam, strings.Repeat("\x00", 216)), "", ""},
	}
	guard := trusting(0)
	guard.Logger = slog.New(slog.NewTextHandler(t.Output(), nil))
	guard.Allow = prefixes("203.0.113.0/24", "2001:db8::/32", "172.31.0.0/16") // the proxy is not in it
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
			remote := cmp.Or(tt.remote, near.LocalAddr().String())
			local := cmp.Or(tt.local, near.RemoteAddr().String())
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

// trickle writes step bytes at a time, each step in its own segment.
func trickle(conn net.Conn, s string, step int) {
	for len(s) > 0 {
		n := min(step, len(s))
		conn.Write([]byte(s[:n]))
		if s = s[n:]; len(s) > 0 {
			time.Sleep(50 * time.Microsecond)
		}
	}
}

// Connections with wrong or missing headers are reset and counted, and never reach Accept.
func TestBadHeadersAreReset(t *testing.T) {
	tests := []struct {
		name, sent string
		close      bool // close the write side afterwards
	}{
		{"absent", "<13>Oct 11 22:14:15 a line\n", false},
		{"absent, HTTP", "GET / HTTP/1.1\r\n\r\n", false},
		{"absent, one byte", "x", false},
		{"absent, TLS", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", false},
		{"only line ends", "\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\n", false},
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
		{"v2, wrong checksum", v2(proxyCmd, inet, bodyV4+"\x03\x00\x04\x00\x00\x00\x00"), false},
		{"v2, wrong checksum without addresses", v2(localCmd, 0, "\x03\x00\x04\x00\x00\x00\x00"), false},
		{"v2, short checksum", v2(proxyCmd, inet, bodyV4+"\x03\x00\x02\x00\x00"), false},
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

// The beginning of a header must not be taken for a complete one: the signature of version 2
// contains line ends.
func TestPartOfHeaderIsIncomplete(t *testing.T) {
	for _, header := range []string{"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r"} {
		for n := range len(header) + 1 {
			if more, err := missing([]byte(header[:n])); more <= 0 || err != nil {
				t.Errorf("%q: %d more, %v", header[:n], more, err)
			}
		}
	}
}

// FuzzHeader sends data at once and again in two parts: both give the same header and leave the
// same rest.
func FuzzHeader(f *testing.F) {
	for _, seed := range []string{v1, v1 + "rest", v2(proxyCmd, inet, bodyV4) + "rest", v2(localCmd, 0, "abc"),
		v2(proxyCmd, 0, ""), "PROXY UNKNOWN\r\n", "PROXY", "", "\r\n\r\n"} {
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

// headerOf sends parts over a connection and ends it. It returns the result of readHeader and the
// data left.
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
