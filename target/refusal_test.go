package target

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"linesplit/internal/testcert"
)

// demanding returns a server configuration that demands a certificate of the test's authority.
func demanding(files testcert.Files, version uint16) *tls.Config {
	config := files.ServerTLS()
	config.MaxVersion = version
	config.ClientAuth, config.ClientCAs = tls.RequireAndVerifyClientCert, files.Pool()
	return config
}

// serveTLS completes the handshake of each connection and calls serve if that succeeds. It ends
// with the test.
func serveTLS(t *testing.T, config *tls.Config, serve func(net.Conn)) Address {
	t.Helper()
	ln, a := listen(t, SchemeTLS)
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
				secure := tls.Server(conn, config)
				if secure.Handshake() == nil {
					serve(secure)
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return a
}

func echo(conn net.Conn) { io.Copy(conn, conn) }

// In TLS 1.3 a target refuses our certificate after our side of the handshake is over, so that the
// dial succeeded, and what was written was lost.
func TestDialOfATargetThatRefusesOurCertificate(t *testing.T) {
	t.Parallel()
	files := certs(t)
	none := func() *tls.Config { return &tls.Config{RootCAs: files.Pool(), ServerName: "localhost"} }
	stranger := func() *tls.Config {
		config := none()
		pair, err := tls.LoadX509KeyPair(files.StrangerCert, files.StrangerKey)
		if err != nil {
			t.Error(err)
		}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		return config
	}
	for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
		a := serveTLS(t, demanding(files, version), echo)
		for kind, client := range map[string]func() *tls.Config{"none": none, "stranger": stranger} {
			for dialName, dial := range streamDials {
				var err error
				for range 21 { // on a busy machine the refusal may take longer than refusalTime
					if err = dial(t.Context(), a, &Options{TLS: client, Timeout: wait}); refusedInHandshake(err) {
						break
					}
				}
				if !refusedInHandshake(err) {
					t.Errorf("TLS %s, certificate %s, %s: %v", name, kind, dialName, err)
				}
			}
		}
		for dialName, dial := range streamDials {
			if err := dial(t.Context(), a, &Options{TLS: files.ClientTLS, Timeout: wait}); err != nil {
				t.Errorf("TLS %s, our certificate, %s: %v", name, dialName, err)
			}
		}
	}
}

func refusedInHandshake(err error) bool {
	return err != nil && strings.Contains(err.Error(), "TLS handshake: remote error: tls: ")
}

// streamDials are both ways to dial, with an exchange of a line over the connection.
var streamDials = map[string]func(context.Context, Address, *Options) error{
	"Dial": func(ctx context.Context, a Address, o *Options) error {
		c, err := Dial(ctx, a, o, nil)
		if err != nil {
			return err
		}
		defer c.Close()
		const line = "line\n"
		if _, err := io.WriteString(c, line); err != nil {
			return fmt.Errorf("after the dial: %v", err)
		}
		got := make([]byte, len(line))
		if _, err := io.ReadFull(c, got); err != nil || string(got) != line {
			return fmt.Errorf("after the dial: %q, %v", got, err)
		}
		return nil
	},
	"DialTracked": func(ctx context.Context, a Address, o *Options) error {
		c, err := DialTracked(ctx, a, o)
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte("line\n"), patient()); err != nil {
			return fmt.Errorf("after the dial: %v", err)
		}
		return c.Progress().Err
	},
}

// A target's session ticket shows that it has accepted our certificate: the dial need not wait. The
// clock is a fake one, since on a busy machine the handshake itself may take longer than that wait.
func TestTicketEndsTheWaitForARefusal(t *testing.T) {
	t.Parallel()
	files := certs(t)
	now := time.Now() // the certificates are not valid yet by the fake clock
	for tickets, want := range map[bool]time.Duration{true: 0, false: refusalTime} {
		synctest.Test(t, func(t *testing.T) {
			server := demanding(files, 0)
			server.SessionTicketsDisabled, server.Time = !tickets, func() time.Time { return now }
			client := files.ClientTLS()
			client.Time = server.Time
			near, far := net.Pipe()
			var serving sync.WaitGroup
			serving.Go(func() {
				if err := tls.Server(far, server).Handshake(); err != nil {
					t.Error("server's handshake:", err)
				}
			})
			start := time.Now()
			if err := newTrial(near, client).shake(t.Context()); err != nil {
				t.Error(err)
			}
			if took := time.Since(start); took != want {
				t.Errorf("tickets %v: the dial took %v, want %v", tickets, took, want)
			}
			serving.Wait()
			near.Close()
			far.Close()
		})
	}
}

// What a target says first, while the dial waits for its verdict, is not lost, nor are tickets that
// come later.
func TestTargetThatSpeaksFirst(t *testing.T) {
	t.Parallel()
	files := certs(t)
	for _, tickets := range []bool{false, true} {
		config := demanding(files, 0)
		config.SessionTicketsDisabled = !tickets
		const greeting = "220 hello\r\n"
		a := serveTLS(t, config, func(conn net.Conn) {
			io.WriteString(conn, greeting)
			echo(conn)
		})
		c, err := Dial(t.Context(), a, &Options{TLS: files.ClientTLS, Timeout: wait}, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		if got := readN(t, c, len(greeting)); string(got) != greeting {
			t.Errorf("tickets %v: received %q", tickets, got)
		}
		io.WriteString(c, "line\n")
		if got := readN(t, c, 5); string(got) != "line\n" {
			t.Errorf("tickets %v: received %q", tickets, got)
		}
	}
}
