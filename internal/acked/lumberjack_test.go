package acked

import (
	"bufio"
	"bytes"
	"compress/zlib"
	"crypto/tls"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"linesplit/internal/testcert"
	"linesplit/linebuf"
	"linesplit/target"
)

// lumberPeer is the server's end of a connection.
type lumberPeer struct {
	net.Conn
	in *bufio.Reader
}

func newLumberPeer(conn net.Conn) *lumberPeer { return &lumberPeer{conn, bufio.NewReader(conn)} }

// window reads a window, and returns the payloads of its events.
func (p *lumberPeer) window() (payloads []string, err error) {
	count, err := readFrame(p.in, "2W")
	if err != nil {
		return nil, err
	}
	from := io.Reader(p.in)
	if begin, err := p.in.Peek(2); err != nil {
		return nil, err
	} else if string(begin) == "2C" {
		size, _ := readFrame(p.in, "2C")
		if from, err = zlib.NewReader(io.LimitReader(p.in, int64(size))); err != nil {
			return nil, err
		}
	}
	for i := range count {
		seq, err := readFrame(from, "2J")
		if err == nil && seq != i+1 {
			err = fmt.Errorf("event %d has the number %d", i+1, seq)
		}
		var size [4]byte
		if err == nil {
			_, err = io.ReadFull(from, size[:])
		}
		payload := make([]byte, binary.BigEndian.Uint32(size[:]))
		if err == nil {
			_, err = io.ReadFull(from, payload)
		}
		if err != nil {
			return nil, err
		}
		payloads = append(payloads, string(payload))
	}
	if from != io.Reader(p.in) {
		if n, err := io.Copy(io.Discard, from); n > 0 || err != nil {
			return nil, fmt.Errorf("%d bytes behind the last event, %w", n, err)
		}
	}
	return payloads, nil
}

// readFrame reads the beginning of a frame, which must be as given, and the number behind it.
func readFrame(r io.Reader, begin string) (uint32, error) {
	var frame [6]byte
	if _, err := io.ReadFull(r, frame[:]); err != nil {
		return 0, err
	}
	if string(frame[:2]) != begin {
		return 0, fmt.Errorf("a frame begins with %q, want %q", frame[:2], begin)
	}
	return binary.BigEndian.Uint32(frame[2:]), nil
}

// ack sends acknowledgements.
func (p *lumberPeer) ack(numbers ...uint32) error {
	var frames []byte
	for _, n := range numbers {
		frames = binary.BigEndian.AppendUint32(append(frames, "2A"...), n)
	}
	_, err := p.Write(frames)
	return err
}

// serveLumber listens on the loopback and calls serve for each connection, which is closed when it
// returns, and what it returns is an error of the test. It returns the listener's address.
func serveLumber(t *testing.T, secure *tls.Config, serve func(p *lumberPeer) error) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := ln.Addr().String()
	if secure != nil {
		ln = tls.NewListener(ln, secure)
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
				if err := serve(newLumberPeer(conn)); err != nil {
					t.Error("server:", err)
				}
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		serving.Wait()
	})
	return host
}

func dialLumber(t *testing.T, a target.Address, o *Options) *Conn {
	t.Helper()
	c, err := Dial(t.Context(), a, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// mixed returns n lines, and the payloads that they become.
func mixed(n int) (b *linebuf.Buffer, payloads []string) {
	var lines []string
	for i := range n {
		line, payload := fmt.Sprintf("line %d", i), fmt.Sprintf(`{"message":"line %d"}`, i)
		if i%2 == 1 {
			line = fmt.Sprintf(`{"n":%d}`, i)
			payload = line
		}
		lines, payloads = append(lines, line), append(payloads, payload)
	}
	return buffer(lines...), payloads
}

// Lines come in windows of at most 2048, each once the last one is acknowledged in full, whatever
// acknowledgements come before that.
func TestLumberjackWindows(t *testing.T) {
	files := testcert.New(t, t.TempDir())
	pair, err := tls.LoadX509KeyPair(files.ServerCert, files.ServerKey)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pem, err := os.ReadFile(files.CA)
	if err != nil || !pool.AppendCertsFromPEM(pem) {
		t.Fatal("no certificate", err)
	}
	o := &Options{Dial: target.Options{TLS: func() *tls.Config { return &tls.Config{RootCAs: pool} }}}
	for _, c := range []struct {
		scheme, options string
		server          *tls.Config
	}{
		{"lumberjack", "?batch-lines=100000", nil},
		{"lumberjack", "?batch-lines=100000&compress=zlib", nil},
		{"lumberjack+tls", "?batch-lines=100000", &tls.Config{Certificates: []tls.Certificate{pair}}},
	} {
		t.Run(c.scheme+c.options, func(t *testing.T) {
			b, want := mixed(5000)
			var got []string
			var sizes []int
			host := serveLumber(t, c.server, func(p *lumberPeer) error {
				for {
					payloads, err := p.window()
					if err != nil {
						return ended(err)
					}
					got, sizes = append(got, payloads...), append(sizes, len(payloads))
					n := uint32(len(payloads))
					if err := p.ack(0, 1, n/2, 0, n/2, 1, n-1); err != nil {
						return err
					}
					if p.in.Buffered() > 0 {
						return errors.New("another window comes before this one is acknowledged")
					}
					if err := p.ack(n); err != nil {
						return err
					}
				}
			})
			conn := dialLumber(t, address(t, c.scheme+"://"+host+c.options), o)
			write(t, conn, b, false)
			if p := waitFor(t, conn, acknowledged(len(b.B))); p.Err != nil {
				t.Fatal(p.Err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%d payloads, %.100q …", len(got), got)
			}
			if want := []int{2048, 2048, 904}; !slices.Equal(sizes, want) {
				t.Errorf("windows of %v, want %v", sizes, want)
			}
		})
	}
}

// ended returns nil for an error that is the end of the connection by the client.
func ended(err error) error {
	if _, ok := errors.AsType[*net.OpError](err); ok || err == io.EOF {
		return nil
	}
	return err
}

// By default, a batch is a window.
func TestLumberjackBatchIsWindow(t *testing.T) {
	b, _ := mixed(3000)
	first := make(chan struct{})
	host := serveLumber(t, nil, func(p *lumberPeer) error {
		payloads, err := p.window()
		if err != nil || len(payloads) != 2048 {
			return fmt.Errorf("a window of %d lines, %w", len(payloads), err)
		}
		if err := p.ack(2048); err != nil {
			return err
		}
		<-first
		return nil
	})
	c := dialLumber(t, address(t, "lumberjack://"+host), &Options{})
	write(t, c, b, false)
	whole := 0
	for range 2048 {
		whole += bytes.IndexByte(b.B[whole:], '\n') + 1
	}
	p := waitFor(t, c, acknowledged(whole))
	if close(first); p.Err != nil {
		t.Error(p.Err)
	}
}

// A window has about a megabyte of lines, or one line that is larger.
func TestLumberjackLargeLines(t *testing.T) {
	lines := []string{"a", strings.Repeat("b", 600<<10), strings.Repeat("c", 600<<10), strings.Repeat("d", 3<<20), "", "e"}
	want := []int{2, 1, 1, 2}
	var got []int
	host := serveLumber(t, nil, func(p *lumberPeer) error {
		for {
			payloads, err := p.window()
			if err != nil {
				return ended(err)
			}
			got = append(got, len(payloads))
			if err := p.ack(uint32(len(payloads))); err != nil {
				return err
			}
		}
	})
	c := dialLumber(t, address(t, "lumberjack://"+host+"?batch-bytes=64MiB"), &Options{})
	b := buffer(lines...)
	write(t, c, b, false)
	if p := waitFor(t, c, acknowledged(len(b.B))); p.Err != nil {
		t.Fatal(p.Err)
	}
	if !slices.Equal(got, want) {
		t.Errorf("windows of %v lines, want %v", got, want)
	}
}
