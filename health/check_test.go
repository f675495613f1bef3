package health

import (
	"context"
	"errors"
	"io"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/simulate/sink"
	"linesplit/target"
)

const (
	getEnd = "\r\n\r\n" // ends a GET request
	httpOK = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
)

type checkTest struct {
	name  string
	s     Settings
	serve func(net.Conn)
	err   string // what it says, empty: none
}

var checkTests = []checkTest{
	{"tcp", Settings{Kind: "tcp"}, hanging, ""},
	{"tcp and it closes", Settings{Kind: "tcp"}, closing, ""},
	{"tcp and it talks", Settings{Kind: "tcp"}, dripping("220 "), ""},

	{"http", Settings{Kind: "http"}, answering(getEnd, httpOK), ""},
	{"http with interim answers", Settings{Kind: "http"}, answering(getEnd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"+httpOK), ""},
	{"http of old", Settings{Kind: "http"}, answering(getEnd, "HTTP/1.0 204 No Content\r\n\r\n"), ""},
	{"http without an end", Settings{Kind: "http"}, func(c net.Conn) {
		answering(getEnd, "HTTP/1.1 200 OK\r\n\r\n")(c)
		dripping("body")(c)
	}, ""},
	{"http fault", Settings{Kind: "http"}, answering(getEnd, "HTTP/1.1 503 Later\r\n\r\n"), "status 503 is not within 200-399"},
	{"http redirect", Settings{Kind: "http", Status: "200"}, answering(getEnd, "HTTP/1.1 302 Found\r\nLocation: /\r\n\r\n"), "status 302"},
	{"http redirect not followed", Settings{Kind: "http"}, answering(getEnd, "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\n\r\n"), ""},
	{"http status wanted", Settings{Kind: "http", Status: "404"}, answering(getEnd, "HTTP/1.1 404 Not Found\r\n\r\n"), ""},
	{"http nonsense", Settings{Kind: "http"}, answering(getEnd, "SSH-2.0-OpenSSH\r\n"), "an SSH server is there"},
	{"http of a TLS server", Settings{Kind: "http"}, answering(getEnd, "\x15\x03\x01\x00\x02\x02\x46"), "it speaks TLS, so write tls://"},
	{"http and no header", Settings{Kind: "http"}, answering(getEnd, "HTTP/1.1 400"), "read answer: unexpected EOF"},
	{"http closes", Settings{Kind: "http"}, answering(getEnd, ""), "EOF"},
	{"http hangs", Settings{Kind: "http"}, hanging, "timeout"},
	{"http drips its header", Settings{Kind: "http"}, dripping("HTTP/1.1 200 OK"), "http check"},
	{"http drips interim answers", Settings{Kind: "http"}, dripping("HTTP/1.1 100 Continue\r\n\r\n"), "read answer"},
	{"http endless header", Settings{Kind: "http"}, func(c net.Conn) {
		answering(getEnd, "HTTP/1.1 200 OK\r\nX: ")(c)
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
	{"not redis", Settings{Kind: "redis"}, answering("PING\r\n", "HTTP/1.1 400 Bad Request\r\n\r\n"), `"HTTP/1.1 400 Bad Request": an HTTP server is there`},
	{"redis hangs", Settings{Kind: "redis"}, hanging, "timeout"},

	{"mysql", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet(mysqlGreeting)); hanging(c) }, ""},
	{"mysql in drips", Settings{Kind: "mysql"}, dripping(packet(mysqlGreeting)), ""},
	{"mysql refuses", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet("\xff\x10\x04Too many connections")) }, "Too many connections"},
	{"mysql of old", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet("\x093.20\x00")) }, "protocol 9"},
	{"mysql cut short", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, packet(mysqlGreeting)[:20]) }, "unexpected EOF"},
	{"not mysql", Settings{Kind: "mysql"}, func(c net.Conn) { io.WriteString(c, "SSH-2.0-OpenSSH\r\n") }, `no greeting begins with "SSH-": an SSH server is there`},
	{"mysql hangs", Settings{Kind: "mysql"}, hanging, "timeout"},
}

func TestChecks(t *testing.T) {
	t.Parallel()
	endless := regexp.MustCompile("hangs|drips|waits") // what fails when its time is up
	for _, test := range checkTests {
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

// A target that does not listen fails the check.
func TestChecksRefused(t *testing.T) {
	ln, err := net.Listen("tcp", net.JoinHostPort(sink.FreshHost(), "0"))
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

// A target that expects PROXY headers gets a LOCAL one, which names no client.
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
		if err := dialOnce(t.Context(), a, target.Options{}); err != nil {
			t.Error(err)
		}
		for range 2 {
			if header := <-got; header != want {
				t.Errorf("version %d: got %q, want %q", version, header, want)
			}
		}
	}
}
