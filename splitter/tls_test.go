package splitter

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"math/big"
	"net"
	"strings"
	"testing"
	"time"

	"linesplit/tlsconf"

	"linesplit/internal/intake"
)

func certificate(t testing.TB) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: now.Add(-time.Hour), NotAfter: now.Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// listenTLS returns a listener like those in production: without session tickets, and with
// SetDeadline.
func listenTLS(t testing.TB) net.Listener {
	ln := listenTCP(t)
	config := &tls.Config{Certificates: []tls.Certificate{certificate(t)}, SessionTicketsDisabled: true}
	return &tlsListener{ln.(*net.TCPListener), config}
}

type tlsListener struct {
	*net.TCPListener
	config *tls.Config
}

func (l *tlsListener) Accept() (net.Conn, error) {
	nc, err := l.TCPListener.Accept()
	if err != nil {
		return nil, err
	}
	return tls.Server(tlsconf.Watch(nc), l.config), nil
}

func dialTLS(t testing.TB, addr net.Addr, version uint16) *tls.Conn {
	t.Helper()
	c := tls.Client(dial(t, addr), &tls.Config{InsecureSkipVerify: true, MinVersion: version, MaxVersion: version})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	return c
}

var versions = map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13}

// A sender that only writes and then closes never reads. Anything written to it would turn its
// close into a reset.
func TestTLSWriteOnlySendersLoseNothing(t *testing.T) {
	for name, version := range versions {
		for how, end := range map[string]func(*tls.Conn) error{
			"close_notify": func(c *tls.Conn) error { return c.Close() },
			"FIN alone":    func(c *tls.Conn) error { return c.NetConn().Close() },
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				r := newRig(t, listenTLS(t), plenty, Options{})
				in := numbered(0, 20_000, 100)
				c := dialTLS(t, r.addr, version)
				for rest := in; rest != ""; {
					n := min(len(rest), 5000)
					write(t, c, rest[:n])
					rest = rest[n:]
				}
				if err := end(c); err != nil {
					t.Error(err)
				}
				r.wants(in)
				r.until("its end", func() bool { return r.Stats().Connections == 0 })
				if st := r.end(); st.Broken != 0 {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

// A TLS sender that died in mid-line had its half line delivered as a whole one: crypto/tls returns
// io.EOF for a FIN without close_notify, too.
func TestTLSEndInMidLine(t *testing.T) {
	for name, version := range versions {
		for how, tt := range map[string]struct {
			end  func(*tls.Conn) error
			torn uint64
		}{
			"close_notify": {func(c *tls.Conn) error { return c.Close() }, 0},
			"FIN alone":    {func(c *tls.Conn) error { return c.NetConn().Close() }, 1},
		} {
			t.Run(name+"/"+how, func(t *testing.T) {
				r := newRig(t, listenTLS(t), plenty, Options{})
				c := dialTLS(t, r.addr, version)
				write(t, c, "one\nhalf of it")
				if err := tt.end(c); err != nil {
					t.Error(err)
				}
				r.until("its end", func() bool { return r.Stats().Accepted == 1 && r.Stats().Connections == 0 })
				want := "one\n"
				if tt.torn == 0 {
					want += "half of it\n"
				}
				r.wants(want)
				st := r.end()
				if d := dropped(st, intake.ReasonTorn); d.Lines != tt.torn || d.Bytes != 10*tt.torn || st.Broken != tt.torn {
					t.Errorf("%+v", st)
				}
			})
		}
	}
}

func TestTLSRecordsOfAllSizesPassAtOnce(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, listenTLS(t), plenty, Options{})
			c := dialTLS(t, r.addr, version)
			var want strings.Builder
			for _, n := range []int{1, 2, 255, 256, 257, 510, 511, 512, 513, 1024, 16383, 16384, 16385, 100_000} {
				line := strings.Repeat("x", n-1) + "\n"
				want.WriteString(line)
				write(t, c, line)
				r.wants(want.String()) // at once, whatever the size
			}
			c.Close()
			r.end()
		})
	}
}

func TestTLSResetInMidLineDropsTheLine(t *testing.T) {
	r := newRig(t, listenTLS(t), plenty, Options{})
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	write(t, c, "whole\nhal")
	r.wants("whole\n")
	c.NetConn().(*net.TCPConn).SetLinger(0)
	c.NetConn().Close()
	r.until("the torn line", func() bool { return dropped(r.Stats(), intake.ReasonTorn).Bytes == 3 })
}

// Draining sends a FIN and writes nothing to a sender, with or without TLS.
func TestTLSDrainWritesNothing(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, listenTLS(t), plenty, Options{Tuning: Tuning{Drain: wait}})
			c := dialTLS(t, r.addr, version)
			write(t, c, "before\n")
			r.wants("before\n")
			r.soft()
			if n, err := c.NetConn().Read(make([]byte, 10)); n != 0 || err != io.EOF {
				t.Errorf("below its TLS the sender reads %d bytes, %v", n, err)
			}
			var want strings.Builder
			want.WriteString("before\n")
			for i := range 100 {
				line := fmt.Sprintf("after %d\n", i)
				want.WriteString(line)
				write(t, c, line)
			}
			c.Close()
			if st := r.end(); st.CutOff != 0 {
				t.Errorf("%d cut off", st.CutOff)
			}
			r.wants(want.String())
		})
	}
}

func TestTLSDrainCutsOffSenders(t *testing.T) {
	r := newRig(t, listenTLS(t), plenty, Options{Tuning: Tuning{Drain: 50 * time.Millisecond}})
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	write(t, c, "a\nb")
	silent := dial(t, r.addr) // sends no handshake
	r.wants("a\n")
	r.until("both", func() bool { return r.Stats().Connections == 2 })
	st := r.end()
	if d := dropped(st, intake.ReasonTorn); st.CutOff != 2 || d.Lines != 1 || st.HandshakeErrors != 0 {
		t.Errorf("%+v", st)
	}
	silent.Close()
}

func TestHandshakeErrorsAreCounted(t *testing.T) {
	t.Parallel()
	const timeout = 3 * time.Second // long enough for a handshake on a slow machine
	r := newRig(t, listenTLS(t), plenty, Options{HandshakeTimeout: timeout})
	c := dialTLS(t, r.addr, tls.VersionTLS13)
	plain, silent := dial(t, r.addr), dial(t, r.addr)
	write(t, plain, "this is no client hello\n")
	r.until("two errors", func() bool { return r.Stats().HandshakeErrors == 2 && r.Stats().Connections == 1 })
	silent.Close()
	write(t, c, "a\n") // c's handshake deadline has passed, too, and no longer applies
	c.Close()
	r.wants("a\n")
	r.end()
}

// A quiet TLS connection holds a small buffer, whatever it did before.
func TestIdleTLSConnectionHoldsASmallBuffer(t *testing.T) {
	r := newRig(t, listenTLS(t), plenty, Options{})
	var conns []net.Conn
	for range 10 {
		c := dialTLS(t, r.addr, tls.VersionTLS13)
		write(t, c, numbered(0, 200, 600))
		conns = append(conns, c)
	}
	r.until("all lines", func() bool { return r.Stats().Queued.Lines == 2000 })
	r.until("small buffers", func() bool { return r.pool.InUse() <= 10*512 })
	for _, c := range conns {
		write(t, c, "more\n")
	}
	r.until("all lines", func() bool { return r.Stats().Queued.Lines == 2010 })
	for _, c := range conns {
		c.Close()
	}
	r.end()
}
