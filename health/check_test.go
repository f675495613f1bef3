package health

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"linesplit/internal/testcert"
	"linesplit/target"
)

// wait bounds what must happen, limit what a check must give up on.
const (
	wait  = 20 * time.Second
	limit = 3 * time.Second
)

// server answers each connection with serve and closes it. It ends, with all that it started, when the test does. Its address is of
// the scheme given, but it speaks TLS only if serve does.
func server(t *testing.T, scheme string, serve func(conn net.Conn)) target.Address {
	t.Helper()
	network, where := "tcp", "127.0.0.1:0"
	if scheme == target.SchemeUnix {
		network, where = "unix", t.TempDir()+"/s"
	}
	ln, err := net.Listen(network, where)
	if err != nil {
		t.Fatal(err)
	}
	var serving sync.WaitGroup
	serving.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			serving.Go(func() {
				defer conn.Close()
				conn.SetDeadline(time.Now().Add(wait))
				serve(conn)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return target.Address{Scheme: scheme, Host: ln.Addr().String()}
}

// answering reads until what the client says ends as given, and answers.
func answering(request, answer string) func(net.Conn) {
	return func(conn net.Conn) {
		if until(conn, request) {
			io.WriteString(conn, answer)
		}
	}
}

func until(r io.Reader, end string) bool {
	b, got := bufio.NewReader(r), ""
	for !strings.HasSuffix(got, end) {
		c, err := b.ReadByte()
		if err != nil {
			return false
		}
		got += string(c)
	}
	return true
}

// dripping answers too, a byte at a time, and never gets to the end before the check does.
func dripping(answer string) func(net.Conn) {
	return func(conn net.Conn) {
		for i := 0; ; i++ {
			if _, err := conn.Write([]byte{answer[i%len(answer)]}); err != nil {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
}

// hanging reads and says nothing.
func hanging(conn net.Conn) { io.Copy(io.Discard, conn) }

// closing says nothing either, but ends.
func closing(net.Conn) {}

func mustCheck(t *testing.T, s Settings) Check {
	t.Helper()
	c, err := NewCheck(s)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// packet is one of MySQL's.
func packet(payload string) string {
	return string([]byte{byte(len(payload)), byte(len(payload) >> 8), byte(len(payload) >> 16), 0}) + payload
}

const mysqlGreeting = "\x0a8.0.36\x00\x08\x00\x00\x00abcdefgh\x00\xff\xff"

func TestChecks(t *testing.T) {
	t.Parallel()
	endless := regexp.MustCompile("hangs|drips|waits") // what fails when its time is up
	const get = "\r\n\r\n"
	ok := "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
	tests := []struct {
		name  string
		s     Settings
		serve func(net.Conn)
		err   string // what it says, empty: none
	}{
		{"tcp", Settings{Kind: "tcp"}, hanging, ""},
		{"tcp and it closes", Settings{Kind: "tcp"}, closing, ""},
		{"tcp and it talks", Settings{Kind: "tcp"}, dripping("220 "), ""},

		{"http", Settings{Kind: "http"}, answering(get, ok), ""},
		{"http with interim answers", Settings{Kind: "http"}, answering(get, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+ok), ""},
		{"http of old", Settings{Kind: "http"}, answering(get, "HTTP/1.0 204 No Content\r\n\r\n"), ""},
		{"http without an end", Settings{Kind: "http"}, func(c net.Conn) {
			answering(get, "HTTP/1.1 200 OK\r\n\r\n")(c)
			dripping("body")(c)
		}, ""},
		{"http fault", Settings{Kind: "http"}, answering(get, "HTTP/1.1 503 Later\r\n\r\n"), "status 503 is not within 200-399"},
		{"http redirect", Settings{Kind: "http", Status: "200"}, answering(get, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "status 302"},
		{"http redirect not followed", Settings{Kind: "http"}, answering(get, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), ""},
		{"http status wanted", Settings{Kind: "http", Status: "404"}, answering(get, "HTTP/1.1 404 Not Found\r\n\r\n"), ""},
		{"http nonsense", Settings{Kind: "http"}, answering(get, "SSH-2.0-OpenSSH\r\n"), "malformed"},
		{"http closes", Settings{Kind: "http"}, answering(get, ""), "EOF"},
		{"http hangs", Settings{Kind: "http"}, hanging, "timeout"},
		{"http drips its header", Settings{Kind: "http"}, dripping("HTTP/1.1 200 OK"), "http check"},
		{"http drips interim answers", Settings{Kind: "http"}, dripping("HTTP/1.1 100 Continue\r\n\r\n"), "read answer"},
		{"http endless header", Settings{Kind: "http"}, func(c net.Conn) {
			answering(get, "HTTP/1.1 200 OK\r\nX: ")(c)
			c.Write([]byte(strings.Repeat("x", 2*maxAnswer)))
		}, "read answer"},

		{"expect", Settings{Kind: "send-expect", Send: `HELLO\n`, Expect: `^HI [a-z]+\n`}, answering("HELLO\n", "HI there\n"), ""},
		{"expect without send", Settings{Kind: "send-expect", Expect: `^220 .*\n`}, func(c net.Conn) { io.WriteString(c, "220 hello\r\n"); hanging(c) }, ""},
		{"expect in drips", Settings{Kind: "send-expect", Expect: "cba"}, dripping("abc" + "cba"), ""},
		{"expect across much", Settings{Kind: "send-expect", Expect: "end$"}, func(c net.Conn) { io.WriteString(c, strings.Repeat("x", maxAnswer-3)+"end") }, ""},
		{"expect other", Settings{Kind: "send-expect", Expect: "^220"}, func(c net.Conn) { io.WriteString(c, "554 no\r\n") }, `"554 no\r\n"`},
		{"expect other, and it waits", Settings{Kind: "send-expect", Expect: "^220"}, func(c net.Conn) { io.WriteString(c, "554 no\r\n"); hanging(c) }, "timeout"},
		{"expect too much", Settings{Kind: "send-expect", Expect: "end"}, func(c net.Conn) { io.WriteString(c, strings.Repeat("x", maxAnswer)+"end") }, "in the first 65536 bytes"},
		{"expect closes", Settings{Kind: "send-expect", Expect: "x"}, closing, "nothing came"},
		{"expect hangs", Settings{Kind: "send-expect", Send: "x", Expect: "x"}, hanging, "timeout"},
		{"expect drips", Settings{Kind: "send-expect", Expect: "z"}, dripping("abc"), "timeout"},

		{"redis", Settings{Kind: "redis"}, answering("PING\r\n", "+PONG\r\n"), ""},
		{"redis in drips", Settings{Kind: "redis"}, func(c net.Conn) { until(c, "PING\r\n"); dripping("+PONG\r\n")(c) }, ""},
		{"redis wants a password", Settings{Kind: "redis"}, answering("PING\r\n", "-NOAUTH Authentication required.\r\n"), ""},
		{"redis loading", Settings{Kind: "redis"}, answering("PING\r\n", "-LOADING Redis is loading the dataset in memory\r\n"), "-LOADING"},
		{"redis hangs", Settings{Kind: "redis"}, hanging, "timeout"},

		{"mysql", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet(mysqlGreeting)); hanging(c) }, ""},
		{"mysql in drips", Settings{Kind: "mysql"}, dripping(packet(mysqlGreeting)), ""},
		{"mysql refuses", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet("\xff\x10\x04Too many connections")) }, "Too many connections"},
		{"mysql of old", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet("\x093.20\x00")) }, "protocol 9"},
		{"mysql cut short", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet(mysqlGreeting)[:20]) }, "unexpected EOF"},
		{"not mysql", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n") }, "does not begin a greeting"},
		{"mysql hangs", Settings{Kind: "mysql"}, hanging, "timeout"},
	}
	for _, test := range tests {
		for _, scheme := range []string{target.SchemeTCP, target.SchemeUnix} {
			t.Run(test.name+" "+scheme, func(t *testing.T) {
				t.Parallel()
				a := server(t, scheme, test.serve)
				d := wait
				if test.err != "" && endless.MatchString(test.name) {
					d = limit
				}
				ctx, cancel := context.WithTimeout(t.Context(), d)
				defer cancel()
				start := time.Now()
				err := mustCheck(t, test.s).run(ctx, a, target.Options{})
				if took := time.Since(start); took > wait/2 {
					t.Errorf("took %v", took)
				}
				if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
					t.Errorf("%v; want %q", err, test.err)
				}
				if err != nil && !strings.Contains(err.Error(), test.s.Kind+" check: ") {
					t.Errorf("%q does not say which check", err)
				}
			})
		}
	}
}

// Nobody there.
func TestChecksRefused(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln.Close()
	for _, s := range []Settings{{Kind: "tcp"}, {Kind: "tls"}, {Kind: "http"}, {Kind: "redis"}, {Kind: "mysql"}, {Kind: "send-expect", Expect: "x"}} {
		err := mustCheck(t, s).run(t.Context(), target.Address{Scheme: target.SchemeTCP, Host: ln.Addr().String()}, target.Options{})
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("%s: %v", s.Kind, err)
		}
	}
}

// What is asked, in full, and that the server sees a clean end.
func TestHTTPRequest(t *testing.T) {
	asked := make(chan string, 1)
	a := server(t, target.SchemeTCP, func(conn net.Conn) {
		r := bufio.NewReader(conn)
		request, err := http.ReadRequest(r)
		if err != nil {
			asked <- err.Error()
			return
		}
		io.WriteString(conn, "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 30000\r\n\r\n"+strings.Repeat("x", 30000))
		conn.(*net.TCPConn).CloseWrite()
		_, err = io.Copy(io.Discard, r)
		asked <- fmt.Sprint(request.Method, " ", request.RequestURI, " ", request.Proto, " ", request.Host, " ", request.Close, " ", err)
	})
	if err := mustCheck(t, Settings{Kind: "http", Path: "/up?deep=1"}).run(t.Context(), a, target.Options{}); err != nil {
		t.Error(err)
	}
	if got, want := <-asked, "GET /up?deep=1 HTTP/1.1 "+a.Host+" true <nil>"; got != want {
		t.Errorf("asked %q, want %q", got, want)
	}
}

// A check ends with its context, whatever it waits for.
func TestCheckEndsWithItsContext(t *testing.T) {
	a := server(t, target.SchemeTCP, hanging)
	for _, s := range []Settings{{Kind: "tls"}, {Kind: "http"}, {Kind: "redis"}, {Kind: "mysql"}} {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(20*time.Millisecond, cancel)
		start := time.Now()
		if err := mustCheck(t, s).run(ctx, a, target.Options{}); err == nil || time.Since(start) > wait/2 {
			t.Errorf("%s: %v after %v", s.Kind, err, time.Since(start))
		}
	}
}

func TestTLSChecks(t *testing.T) {
	t.Parallel()
	files := testcert.New(t, t.TempDir())
	over := func(serve func(net.Conn)) func(net.Conn) {
		return func(conn net.Conn) {
			secure := tls.Server(conn, files.ServerTLS())
			if secure.Handshake() == nil {
				serve(secure)
			}
		}
	}
	stranger := func() *tls.Config { return new(tls.Config) }
	tests := []struct {
		name   string
		s      Settings
		scheme string
		config func() *tls.Config
		serve  func(net.Conn)
		err    string
	}{
		{"target", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, over(hanging), ""},
		{"untrusted target", Settings{Kind: "tls"}, target.SchemeTLS, stranger, over(hanging), "certificate"},
		{"passing through", Settings{Kind: "tls"}, target.SchemeTCP, nil, over(hanging), ""},
		{"passing through, another's trust", Settings{Kind: "tls"}, target.SchemeTCP, stranger, over(hanging), ""},
		{"passing through a Unix socket", Settings{Kind: "tls"}, target.SchemeUnix, nil, over(hanging), ""},
		{"no TLS", Settings{Kind: "tls"}, target.SchemeTCP, nil, func(c net.Conn) { io.WriteString(c, "220 hello\r\n") }, "TLS handshake"},
		{"hangs", Settings{Kind: "tls"}, target.SchemeTLS, files.ClientTLS, hanging, "TLS handshake"},
		{"hangs behind us", Settings{Kind: "tls"}, target.SchemeTCP, nil, hanging, "TLS handshake"},
		{"tcp alone", Settings{Kind: "tcp"}, target.SchemeTLS, files.ClientTLS, hanging, ""},
		{"http over TLS", Settings{Kind: "http"}, target.SchemeTLS, files.ClientTLS, over(answering("\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")), ""},
		{"redis over TLS", Settings{Kind: "redis"}, target.SchemeTLS, files.ClientTLS, over(answering("PING\r\n", "+PONG\r\n")), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			a := server(t, test.scheme, test.serve)
			d := limit
			if !strings.HasPrefix(test.name, "hangs") {
				d = wait
			}
			ctx, cancel := context.WithTimeout(t.Context(), d)
			defer cancel()
			err := mustCheck(t, test.s).run(ctx, a, target.Options{TLS: test.config})
			if test.err == "" && err != nil || test.err != "" && (err == nil || !strings.Contains(err.Error(), test.err)) {
				t.Errorf("%v; want %q", err, test.err)
			}
		})
	}
}

// A target that expects PROXY headers gets one that speaks for nobody.
func TestChecksSendProxyHeaders(t *testing.T) {
	for version, want := range map[int]string{
		0: "",
		1: "PROXY UNKNOWN\r\n",
		2: "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00",
	} {
		got := make(chan string, 2)
		a := server(t, target.SchemeTCP, func(conn net.Conn) {
			b, _ := io.ReadAll(conn)
			got <- string(b)
		})
		a.ProxyProtocol = version
		if err := mustCheck(t, Settings{Kind: "tcp"}).run(t.Context(), a, target.Options{}); err != nil {
			t.Error(err)
		}
		if err := try(t.Context(), a, target.Options{}); err != nil {
			t.Error(err)
		}
		for range 2 {
			if header := <-got; header != want {
				t.Errorf("version %d: got %q, want %q", version, header, want)
			}
		}
	}
}

// A real target goes down and comes back, seen by a real check.
func TestCheckerOnSockets(t *testing.T) {
	var mu sync.Mutex
	well := true
	a := server(t, target.SchemeTCP, func(conn net.Conn) {
		mu.Lock()
		answer := map[bool]string{true: "+PONG\r\n", false: "-LOADING\r\n"}[well]
		mu.Unlock()
		answering("PING\r\n", answer)(conn)
	})
	x := target.New(a, nil)
	c := New([]*target.Target{x}, Options{Check: mustCheck(t, Settings{Kind: "redis"}), Interval: 20 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	for _, now := range []bool{false, true} {
		mu.Lock()
		well = now
		mu.Unlock()
		for end := time.Now().Add(wait); x.Unhealthy() == now; time.Sleep(5 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("well %v, ejected %v", now, x.Unhealthy())
			}
		}
	}
	cancel()
	running.Wait()
}

// A target without active checks is found again once it listens.
func TestTrialOnSockets(t *testing.T) {
	path := t.TempDir() + "/s"
	x := target.New(target.Address{Scheme: target.SchemeUnix, Host: path}, nil)
	x.DialFailed(errBad)
	c := New([]*target.Target{x}, Options{Trial: 10 * time.Millisecond})
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() { c.Run(ctx) })
	eventually(t, func() bool { return x.DialErrors() > 2 })
	ln, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	eventually(t, func() bool { return !x.Down() })
	cancel()
	running.Wait()
}

func eventually(t *testing.T, cond func() bool) {
	t.Helper()
	for end := time.Now().Add(wait); !cond(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("not in time")
		}
	}
}

// However an answer arrives in pieces, what matches is found, and nothing else.
func FuzzExpect(f *testing.F) {
	f.Add("PON", []byte("+PONG\r\n"))
	f.Add("^x$", []byte("xx"))
	f.Fuzz(func(t *testing.T, pattern string, answer []byte) {
		re, err := regexp.Compile(pattern)
		if err != nil || len(answer) > 1000 {
			return
		}
		want := false
		for i := range answer {
			want = want || re.Match(answer[:i+1])
		}
		if err := expect(iotest.OneByteReader(strings.NewReader(string(answer))), re); (err == nil) != want {
			t.Fatalf("%q against %q: %v, want a match: %v", pattern, answer, err, want)
		}
		whole := expect(iotest.DataErrReader(strings.NewReader(string(answer))), re)
		if len(answer) > 0 && (whole == nil) != re.Match(answer) {
			t.Fatalf("%q against %q in one piece: %v", pattern, answer, whole)
		}
	})
}

func FuzzGreeting(f *testing.F) {
	for _, s := range []string{packet(mysqlGreeting), packet("\xff\x10\x04no"), packet("\xff"), packet(""), "\xff\xff\xff\x00", "x"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		payload, err := readPacket(strings.NewReader(string(b)))
		if err != nil {
			return
		}
		if len(payload) == 0 || len(payload) > maxGreeting || len(payload) > len(b)-mysqlHeader {
			t.Fatalf("%d bytes from %q", len(payload), b)
		}
		if judgeGreeting(payload) == nil && payload[0] != mysqlProtocol {
			t.Fatalf("%q passed", payload)
		}
	})
}

func FuzzReadStatus(f *testing.F) {
	f.Add([]byte("HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200 OK\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 101 Switching\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		status, err := readStatus(bufio.NewReader(strings.NewReader(string(b))), &http.Request{Method: http.MethodGet})
		if err == nil && status < 200 && status != http.StatusSwitchingProtocols {
			t.Fatalf("%d from %q", status, b)
		}
	})
}
