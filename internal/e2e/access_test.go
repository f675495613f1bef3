//go:build linux

package e2e

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pires/go-proxyproto"

	"linesplit/internal/testrig"
)

// Tests of access lists and PROXY headers, in both modes.

// A remote client and the server that it addressed, as a proxy in front of linesplit names them.
const (
	farClient = "192.0.2.7:4321"
	farServer = "198.51.100.1:443"
	v1Header  = "PROXY TCP4 192.0.2.7 198.51.100.1 4321 443\r\n"
)

// header returns a PROXY header that names farClient, or no client if the command is LOCAL.
func header(t *testing.T, version byte, command proxyproto.ProtocolVersionAndCommand) []byte {
	t.Helper()
	h := proxyproto.Header{Version: version, Command: command, TransportProtocol: proxyproto.TCPv4,
		SourceAddr: tcpAddr(farClient), DestinationAddr: tcpAddr(farServer)}
	if command == proxyproto.LOCAL {
		h.TransportProtocol, h.SourceAddr, h.DestinationAddr = proxyproto.UNSPEC, nil, nil
	}
	b, err := h.Format()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func tcpAddr(text string) *net.TCPAddr {
	addr, err := net.ResolveTCPAddr("tcp", text)
	if err != nil {
		panic(err) // only for literals
	}
	return addr
}

// reportHeader answers with the version of a PROXY header, the client that it names, and what comes
// after it.
func reportHeader(conn net.Conn) {
	r := bufio.NewReader(conn)
	h, err := proxyproto.Read(r)
	rest, _ := io.ReadAll(r)
	if err != nil {
		fmt.Fprintf(conn, "no header (%v), %s", err, rest)
		return
	}
	fmt.Fprintf(conn, "v%d %v, %s", h.Version, h.SourceAddr, rest)
}

// trustArgs make linesplit accept PROXY headers from this machine.
var trustArgs = []string{"-proxy-protocol-from", "127.0.0.0/8"}

// A proxy in front of linesplit names the client, and linesplit names it to the target.
func TestProxyHeadersArePassedToTargets(t *testing.T) {
	t.Parallel()
	v2 := header(t, 2, proxyproto.PROXY)
	withTLV := slices.Concat(v2[:14], []byte{0, byte(len(v2) - 16 + 5)}, v2[16:], []byte{0x04, 0, 2, 0, 0})
	ins := []struct {
		name   string
		header []byte
		client string // that the target is told; empty: the peer itself
	}{
		{"v1", []byte(v1Header), farClient},
		{"v1 IPv6", []byte("PROXY TCP6 2001:db8::7 2001:db8::1 4321 443\r\n"), "[2001:db8::7]:4321"},
		{"v1 unknown", []byte("PROXY UNKNOWN\r\n"), ""},
		{"v2", v2, farClient},
		{"v2 with an extension", withTLV, farClient},
		{"v2 local", header(t, 2, proxyproto.LOCAL), ""},
	}
	for _, version := range []string{"v1", "v2"} {
		t.Run("to "+version, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			server := testrig.NewServer(t, testrig.ServerOptions{Handler: reportHeader})
			s.StartConnectionMode([]testrig.Target{testrig.WithOptions(server, "proxy-protocol="+version)},
				append(trustArgs, "-access-log", "text")...)
			for _, in := range ins {
				for _, step := range []int{1000, 1} { // at once, and one byte at a time
					conn := s.DialTCP()
					conn.SetNoDelay(true)
					for _, part := range append(inSteps(in.header, step), []byte("hello")) {
						if _, err := conn.Write(part); err != nil {
							t.Fatalf("%s in steps of %d: linesplit broke the connection: %v", in.name, step,
								err)
						}
					}
					conn.CloseWrite()
					peer := in.client
					if peer == "" {
						peer = conn.LocalAddr().String()
					}
					reply, err := io.ReadAll(conn)
					if want := version + " " + peer + ", hello"; err != nil || string(reply) != want {
						t.Errorf("%s in steps of %d: the target was told %q (%v), want %q", in.name, step, reply,
							err, want)
					}
					s.WaitForAccessLog("client="+peer, "bytes_in=5")
				}
			}
			if n := s.Process.Metrics().Sum("linesplit_connections_refused_total"); n > 0 {
				t.Errorf("%.0f connections were refused", n)
			}
			s.FinishConnectionMode()
		})
	}
}

// inSteps cuts b into parts of step bytes each. The last part may be shorter.
func inSteps(b []byte, step int) (parts [][]byte) {
	for len(b) > step {
		parts, b = append(parts, b[:step]), b[step:]
	}
	return append(parts, b)
}

// The header comes before the TLS handshake, on either side. Here one linesplit connects with TLS
// to another one, which accepts its headers.
func TestProxyHeadersComeBeforeTLS(t *testing.T) {
	t.Parallel()
	inner, outer := testrig.NewStage(t), testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{Handler: reportHeader})
	inner.StartConnectionMode([]testrig.Target{testrig.WithOptions(server, "proxy-protocol=v1")},
		append(testrig.TLSListenerArgs(), trustArgs...)...)
	next := testrig.TargetFlag("tls://" + inner.Process.Listeners[0] + "?proxy-protocol=v2")
	outer.StartConnectionMode([]testrig.Target{next}, append(testrig.TLSTargetArgs(), trustArgs...)...)
	reply, err := testrig.Client{}.Exchange(t, outer.Process.Listeners[0], []byte(v1Header+"hello"))
	if want := "v1 " + farClient + ", hello"; err != nil || string(reply) != want {
		t.Errorf("the target was told %q (%v), want %q", reply, err, want)
	}
	outer.FinishConnectionMode()
	inner.FinishConnectionMode()
}

// A peer that must send a PROXY header and sends something else is disconnected without an answer,
// and counted.
func TestBadProxyHeadersAreRefused(t *testing.T) {
	testrig.SkipIfShort(t)
	t.Parallel()
	v2 := header(t, 2, proxyproto.PROXY)
	badVersion, badLength := bytes.Clone(v2), bytes.Clone(v2)
	badVersion[12] = 0x31
	badLength[15] = 3 // too short for two addresses
	tests := []struct {
		name  string
		sent  []byte
		ended bool // the client then ends its side
	}{
		{"bad address", []byte("PROXY TCP4 everybody 198.51.100.1 4321 443\r\n"), false},
		{"bad port", []byte("PROXY TCP4 192.0.2.7 198.51.100.1 70000 443\r\n"), false},
		{"bad protocol", []byte("PROXY SCTP 192.0.2.7 198.51.100.1 4321 443\r\n"), false},
		{"line without end", []byte("PROXY TCP4 " + strings.Repeat("1", 200)), false},
		{"bad version", badVersion, false},
		{"bad length", badLength, false},
		{"truncated v1", []byte(v1Header[:20]), true},
		{"truncated v2", v2[:20], true},
		{"truncated signature", v2[:5], true},
		{"absent", []byte("GET / HTTP/1.1\r\nHost: example.com\r\n\r\n"), false},
		{"nothing at all", nil, true}, // a probe
		{"too late", []byte("PRO"), false},
		{"silence", nil, false},
	}
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.StartConnectionMode([]testrig.Target{server}, trustArgs...)
	s.ForEach(len(tests), len(tests), func(i int) error {
		conn, err := testrig.Client{}.Dial(t, s.Process.Listeners[0])
		if err != nil {
			return err
		}
		defer conn.Close()
		if _, err := conn.Write(tests[i].sent); err != nil {
			return fmt.Errorf("%s: %w", tests[i].name, err)
		}
		if tests[i].ended {
			testrig.CloseWrite(conn)
		}
		b, err := io.ReadAll(conn)
		if len(b) > 0 || errors.Is(err, os.ErrDeadlineExceeded) {
			return fmt.Errorf("%s: read %d bytes and %s", tests[i].name, len(b), testrig.DescribeEnd(err))
		}
		return nil
	})
	s.WaitForRefusals("proxy-protocol", len(tests)-1) // an end before the first byte is a probe
	if n := server.Accepted(); n > 0 {
		t.Errorf("%d of these connections reached the target", n)
	}
	s.FinishConnectionMode()
}

// From other peers, a header is data like any other: it must not let a client pose as another one.
func TestProxyHeaderFromAnUntrustedPeerIsData(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewServer(t, testrig.ServerOptions{})}, "-proxy-protocol-from",
		"127.0.1.0/24,::1", "-access-log", "text")
	conn := s.DialTCP()
	s.Write(conn, []byte(v1Header+"hello"))
	conn.CloseWrite()
	if reply, err := io.ReadAll(conn); string(reply) != v1Header+"hello" || err != nil {
		t.Errorf("got %q back (%v), want every byte of it", reply, err)
	}
	s.WaitForAccessLog("client=" + conn.LocalAddr().String())
	s.FinishConnectionMode()
}

// In line mode, a header is not a line, and no lines are taken from a connection with a bad header.
func TestProxyHeadersInLineMode(t *testing.T) {
	t.Parallel()
	for _, in := range []struct {
		name string
		args []string
	}{{"plain", nil}, {"TLS", testrig.TLSListenerArgs()}} {
		t.Run(in.name, func(t *testing.T) {
			t.Parallel()
			s := testrig.NewStage(t)
			a, b := s.StartTwoSinks()
			s.StartLineMode([]testrig.Target{a, b}, append(in.args, "-proxy-protocol-from", "127.0.0.1", "-deny",
				"203.0.113.0/24")...)
			headers := [][]byte{[]byte(v1Header), header(t, 2, proxyproto.PROXY), header(t, 2, proxyproto.LOCAL)}
			for i, h := range headers {
				conn := s.Dial()
				s.Write(conn, h)
				sending := net.Conn(conn)
				if in.args != nil {
					sending = tls.Client(conn, testrig.ClientTLS())
				}
				s.Write(sending, s.NumberedLines(100+i, 150))
				sending.Close()
			}
			for _, bad := range []string{
				"{\"no\":\"header\"}\n{\"and\":\"more\"}\n",
				"PROXY TCP4 203.0.113.9 198.51.100.1 1 2\r\n{\"denied\":1}\n",
			} {
				conn := s.Dial()
				s.Write(conn, []byte(bad))
				conn.SetReadDeadline(time.Now().Add(testrig.Patience))
				s.ExpectClosed(conn, "a bad header")
			}
			s.WaitForRefusals("proxy-protocol", 1)
			s.WaitForRefusals("denied", 1)
			s.FinishLineMode(testrig.NoDuplicates)
		})
	}
}

// accessTest is a test of access lists.
type accessTest struct {
	name            string
	args            []string
	allowed, denied []string // addresses of clients
}

// Access lists apply before anything is read, in both modes.
func TestAllowAndDeny(t *testing.T) {
	t.Parallel()
	for _, test := range []accessTest{
		{"deny", []string{"-deny", "127.0.1.0/24,127.0.2.9"},
			[]string{"127.0.0.1", "127.0.2.8"}, []string{"127.0.1.1", "127.0.2.9"}},
		{"allow", []string{"-allow", "127.0.1.0/24", "-allow", "127.0.2.9"},
			[]string{"127.0.1.1", "127.0.2.9"}, []string{"127.0.0.1", "127.0.2.8"}},
		{"both", []string{"-allow", "127.0.0.0/8", "-deny", "127.0.1.0/24"},
			[]string{"127.0.0.1"}, []string{"127.0.1.1"}},
		{"IPv4 on an IPv6 listener", []string{"-listen", "tcp://[::]:0", "-deny", "127.0.1.0/24"},
			[]string{"127.0.0.1"}, []string{"127.0.1.1"}},
	} {
		t.Run(test.name+"/connections", func(t *testing.T) { t.Parallel(); test.connections(t) })
		t.Run(test.name+"/lines", func(t *testing.T) { t.Parallel(); test.lines(t) })
	}
}

// loopback returns the address of the first listener on 127.0.0.1.
func loopback(s *testrig.Stage) string {
	_, port, _ := net.SplitHostPort(s.Process.Listeners[0])
	return net.JoinHostPort("127.0.0.1", port)
}

func (test accessTest) connections(t *testing.T) {
	s := testrig.NewStage(t)
	server := testrig.NewServer(t, testrig.ServerOptions{})
	s.StartConnectionMode([]testrig.Target{server}, test.args...)
	test.expectDenied(s)
	for _, from := range test.allowed {
		if err := (testrig.Client{From: from}).Echo(t, loopback(s), testrig.Payload(1000)); err != nil {
			t.Errorf("%s is not served: %v", from, err)
		}
	}
	if got := server.Accepted(); got != len(test.allowed) {
		t.Errorf("%d connections to the target, want %d", got, len(test.allowed))
	}
	s.FinishConnectionMode()
}

func (test accessTest) lines(t *testing.T) {
	s := testrig.NewStage(t)
	a, b := s.StartTwoSinks()
	s.StartLineMode([]testrig.Target{a, b}, test.args...)
	test.expectDenied(s)
	for _, from := range test.allowed {
		conn, err := testrig.Client{From: from}.Dial(t, loopback(s))
		if err != nil {
			t.Fatal(err)
		}
		s.Write(conn, s.NumberedLines(100, 150))
		conn.Close()
	}
	s.FinishLineMode(testrig.NoDuplicates)
}

// expectDenied checks that the addresses that are denied cannot connect, or are disconnected.
func (test accessTest) expectDenied(s *testrig.Stage) {
	s.Helper()
	const each = 3
	for _, from := range test.denied {
		for range each {
			conn, err := testrig.Client{From: from}.Dial(s.T, loopback(s))
			if err == nil {
				conn.Write([]byte("hello\n")) // must not reach a target
				s.ExpectClosed(conn, from+" is denied")
				conn.Close()
			}
		}
	}
	s.WaitForRefusals("denied", each*len(test.denied))
}

// Access lists apply to the client that the header names, and not to the trusted proxy.
func TestAccessListsApplyToTheClientOfTheHeader(t *testing.T) {
	t.Parallel()
	s := testrig.NewStage(t)
	s.StartConnectionMode([]testrig.Target{testrig.NewServer(t, testrig.ServerOptions{})}, "-proxy-protocol-from",
		"127.0.1.0/24", "-allow", "192.0.2.0/24")
	ask := func(source string) ([]byte, error) {
		request := fmt.Sprintf("PROXY TCP4 %s 198.51.100.1 4321 443\r\nhello", source)
		return testrig.Client{From: testrig.ClientAddress(1)}.Exchange(t, s.Process.Listeners[0], []byte(request))
	}
	if reply, err := ask("192.0.2.7"); string(reply) != "hello" || err != nil {
		t.Errorf("an allowed client behind a proxy got %q, %v", reply, err)
	}
	if reply, _ := ask("203.0.113.7"); len(reply) > 0 {
		t.Errorf("a client that is not allowed got %q", reply)
	}
	s.WaitForRefusals("denied", 1)
	s.FinishConnectionMode()
}
