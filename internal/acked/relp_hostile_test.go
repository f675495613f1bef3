package acked

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/relp"
	"linesplit/internal/testcert"
	"linesplit/target"
)

func TestRELPFaults(t *testing.T) {
	for said, want := range relpFaults {
		t.Run(said, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var rest relp.Frame
				s := pipeRELP(t, func(p *relpPeer) {
					p.lines(3)
					p.say(said)
					if !strings.Contains(want, "the server has closed") && !strings.Contains(want, "unexpected EOF") {
						rest = p.next()
					}
				})
				refused, err := s.Send(t.Context(), part("a", "b", "c"))
				if err == nil || refused != nil || !strings.HasPrefix(err.Error(), "relp://192.0.2.1:2514: ") ||
					!strings.Contains(err.Error(), want) {
					t.Errorf("%v, %v; want %s", refused, err, want)
				}
				s.Close()
				synctest.Wait()
				if rest.Command != "" {
					t.Errorf("%+v after an error", rest)
				}
			})
		})
	}
}

// The time begins again with each response, and with nothing less.
func TestRELPTimeout(t *testing.T) {
	for said, want := range map[string]time.Duration{
		"":                                      30 * time.Second,
		"2 rsp 6 200 OK\n":                      59 * time.Second,
		"2 rsp 6 200 OK\n|3 rsp 6 200 OK\n":     88 * time.Second,
		"2|rsp 6 200 OK\n":                      30 * time.Second,
		"2 rsp 6 200 OK\n3 rsp| 6|2":            59 * time.Second,
		"2 rsp 6 200 OK\n|3 rsp 6 200 OK\n4 rs": 88 * time.Second,
	} {
		t.Run(said, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := pipeRELP(t, func(p *relpPeer) {
					p.lines(3)
					for text := range strings.SplitSeq(said, "|") {
						time.Sleep(29 * time.Second)
						p.say(text)
					}
					p.next()
				})
				began := time.Now()
				_, err := s.Send(t.Context(), part("a", "b", "c"))
				const text = "relp://192.0.2.1:2514: the server has not answered in time: timeout=30s"
				if !errors.Is(err, errTimeout) || !strings.Contains(err.Error(), text) {
					t.Error(err)
				}
				if took := time.Since(began); took != want {
					t.Errorf("failed after %v, want %v", took, want)
				}
				s.Close()
			})
		})
	}
}

// A session may be idle for longer than the timeout.
func TestRELPIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := pipeRELP(t, func(p *relpPeer) {
			for number := 2; p.next().Command == relp.Syslog; number++ {
				p.confirm(number)
			}
		})
		for range 3 {
			time.Sleep(time.Hour)
			if _, err := s.Send(t.Context(), part("a")); err != nil {
				t.Error(err)
			}
		}
		s.Close()
	})
}

// The end of the context ends Send at once, while it reads and while it writes.
func TestRELPEndsWithContext(t *testing.T) {
	for _, reads := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			end := make(chan struct{})
			s := pipeRELP(t, func(p *relpPeer) {
				if reads {
					p.lines(2)
				}
				<-end
			})
			ctx, cancel := context.WithCancel(t.Context())
			began := time.Now()
			go func() {
				synctest.Wait()
				cancel()
			}()
			if _, err := s.Send(ctx, part("a", "b")); !errors.Is(err, context.Canceled) || time.Since(began) != 0 {
				t.Errorf("%v after %v", err, time.Since(began))
			}
			if _, err := s.Send(ctx, part("a")); !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
			s.Close()
			close(end)
		})
	}
}

// Close waits until the server has ended the session, but not for long, and after an error not at
// all. rsyslogd logged an error for each connection that was closed before.
func TestRELPClose(t *testing.T) {
	for name, test := range map[string]struct {
		serve func(p *relpPeer)
		want  time.Duration
	}{
		"ends":           {func(p *relpPeer) { p.next(); time.Sleep(10 * time.Millisecond) }, 10 * time.Millisecond},
		"answers":        {func(p *relpPeer) { p.next(); p.say("2 rsp 0\n"); p.next() }, closeWithin},
		"does not read":  {func(*relpPeer) { time.Sleep(time.Hour) }, closeWithin},
		"does not stop":  {func(p *relpPeer) { p.next(); p.say(strings.Repeat("2 rsp 0\n", maxAnswer)) }, 0},
		"does not speak": {func(p *relpPeer) { p.next(); p.next() }, closeWithin},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := pipeRELP(t, test.serve)
				began := time.Now()
				s.Close()
				if took := time.Since(began); took != test.want {
					t.Errorf("took %v, want %v", took, test.want)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := pipeRELP(t, func(*relpPeer) { time.Sleep(time.Hour) })
		if _, err := s.Send(t.Context(), part("a")); err == nil {
			t.Error("no error")
		}
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("took %v after an error", took)
		}
	})
}

// Dial fails for servers that open no session, and says why.
func TestRELPDialErrors(t *testing.T) {
	for said, want := range map[string]string{
		"":                                     "the server has closed the connection",
		"0 serverclose 0\n":                    "the server ends the session (serverclose)",
		"1 rsp 14 500 no for you\n":            `the server refuses: 500 "no for you"`,
		"2 rsp 6 200 OK\n":                     "a response to transaction 2, which was not sent",
		"1 rsp 6 200 OK\n":                     "RELP offer: relp_version is missing",
		"1 rsp 21 200 OK\nrelp_version=0\n":    `the server takes the commands "", and not "syslog"`,
		"1 rsp 21 200 OK\nrelp_version=2\n":    "the server speaks version 2 of RELP",
		"1 rsp 21 200 OK\nrelp_version=x\n":    `relp_version="x" is not a number`,
		"HTTP/1.1 400 Bad Request\r\n\r\n":     "the transaction number begins with 'H' instead of a digit (an HTTP server is there)",
		"\x15\x03\x01\x00\x02\x02\x16":         `'\x15' instead of a digit (it speaks TLS: write relp+tls://)`,
		"220 mail.example.com ESMTP Postfix\n": "(a mail or FTP server is there)",
	} {
		host := listenRaw(t, func(conn io.ReadWriteCloser) {
			p := newRELPPeer(t, conn)
			p.next()
			p.say(said)
		})
		a := address(t, "relp://"+host)
		c, err := Dial(t.Context(), a, &Options{Rejects: testRejects(t, io.Discard)})
		if err == nil || c != nil || !strings.HasPrefix(err.Error(), "dial target "+a.String()+": open a RELP session: ") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v; want %s", said, err, want)
		}
	}
}

// A server that says nothing fails the dial when its time is over: that of all dials, that of the
// target's responses, or that of the context.
func TestRELPSilentDial(t *testing.T) {
	end := make(chan struct{})
	defer close(end)
	host := listenRaw(t, func(io.ReadWriteCloser) { <-end })
	short, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	for name, test := range map[string]struct {
		ctx     context.Context
		timeout time.Duration
		options string
		want    error
	}{
		"dial":    {t.Context(), 100 * time.Millisecond, "", context.DeadlineExceeded},
		"target":  {t.Context(), 0, "?timeout=100ms", errTimeout},
		"context": {short, 0, "", context.DeadlineExceeded},
	} {
		o := &Options{Rejects: testRejects(t, io.Discard), Dial: target.Options{Timeout: test.timeout}}
		if _, err := Dial(test.ctx, address(t, "relp://"+host+test.options), o); !errors.Is(err, test.want) {
			t.Errorf("%s: %v; want %v", name, err, test.want)
		}
	}
}

// serveRELP confirms all lines but those that begin with "bad", and ends the connection after those
// that begin with "end".
func serveRELP(t *testing.T, got *lockedBuffer) func(conn io.ReadWriteCloser) {
	return func(conn io.ReadWriteCloser) {
		p := newRELPPeer(t, conn)
		p.accept()
		for {
			f := p.next()
			switch {
			case f.Command != relp.Syslog, bytes.HasPrefix(f.Data, []byte("end")):
				return
			case bytes.HasPrefix(f.Data, []byte("bad")):
				p.conn.Write(relp.AppendResponse(nil, f.Number, 500, "bad", nil))
				continue
			}
			fmt.Fprintf(got, "%s\n", f.Data)
			p.confirm(int(f.Number))
		}
	}
}

// A connection delivers lines of all sizes in order, also over TLS, and counts those that are
// refused.
func TestRELPConnection(t *testing.T) {
	cert := testcert.New(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(cert.ServerCert, cert.ServerKey)
	must(t, err)
	ca, err := os.ReadFile(cert.CA)
	must(t, err)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	for _, scheme := range []string{"relp", "relp+tls"} {
		var got, log lockedBuffer
		serve := serveRELP(t, &got)
		host := listenRaw(t, func(conn io.ReadWriteCloser) {
			if scheme == "relp+tls" {
				conn = tls.Server(conn.(net.Conn), &tls.Config{Certificates: []tls.Certificate{pair}})
				defer conn.Close()
			}
			serve(conn)
		})
		o := &Options{Rejects: testRejects(t, &log), Version: "test"}
		o.Dial.TLS = func() *tls.Config { return &tls.Config{RootCAs: roots} }
		c, err := Dial(t.Context(), address(t, scheme+"://"+host+"?batch-bytes=64KiB&linger=1ms"), o)
		must(t, err)
		var want strings.Builder
		size := 0
		for i := range 150 {
			lines := append(numbered(10*i, 10*i+10), strings.Repeat("x", i*i))
			want.Write(buffer(lines...).B)
			if i%10 == 0 {
				lines = append(lines, "bad line")
			}
			b := buffer(lines...)
			size += len(b.B)
			write(t, c, b, false)
		}
		p := waitFor(t, c, acknowledged(size))
		if p.Err != nil || p.RejectedLines != 15 || p.RejectedBytes != 15*9 || got.String() != want.String() {
			t.Errorf("%s: %+v, %d bytes", scheme, p, len(got.String()))
		}
		b := buffer("more", "end", "other")
		write(t, c, b, false)
		if p = waitFor(t, c, failed); p.Acked != uint64(size+len("more\n")) || !strings.HasPrefix(p.Err.Error(), scheme+"://"+host+": ") {
			t.Errorf("%s: %+v", scheme, p)
		}
		c.Close()
		if !strings.Contains(log.String(), `answer="500 \"bad\""`) {
			t.Errorf("log: %s", log.String())
		}
	}
}
