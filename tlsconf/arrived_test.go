//go:build unix

package tlsconf

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"linesplit/internal/testcert"
)

// parcels is the client's connection below TLS: it holds what TLS writes until hand sends it.
type parcels struct {
	net.Conn
	holding bool
	held    bytes.Buffer
}

func (p *parcels) Write(b []byte) (int, error) {
	if p.holding {
		return p.held.Write(b)
	}
	return p.Conn.Write(b)
}

// SetWriteDeadline ignores the deadline in the past that TLS sets behind its close_notify.
func (p *parcels) SetWriteDeadline(time.Time) error { return nil }

// hand sends the next n bytes that are held.
func (p *parcels) hand(t *testing.T, n int) {
	t.Helper()
	_, err := p.Conn.Write(p.held.Next(n))
	must(t, err)
}

// arrivalRig has a TLS client whose bytes reach the server in parcels.
type arrivalRig struct {
	client *tls.Conn
	wire   *parcels
	server *tls.Conn
	below  *Watched
}

func newArrivalRig(t *testing.T, version uint16) *arrivalRig {
	t.Helper()
	certs := testcert.New(t, t.TempDir())
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	defer ln.Close()
	near, err := net.Dial("tcp", ln.Addr().String())
	must(t, err)
	t.Cleanup(func() { near.Close() })
	far, err := ln.Accept()
	must(t, err)
	t.Cleanup(func() { far.Close() })
	config := certs.ClientTLS()
	config.ServerName, config.MinVersion, config.MaxVersion = "localhost", version, version
	r := &arrivalRig{wire: &parcels{Conn: near}, below: Watch(far)}
	r.client = tls.Client(r.wire, config)
	r.server = tls.Server(r.below, mustServer(t, ServerFiles{Cert: certs.ServerCert, Key: certs.ServerKey}).Config())
	shaken := make(chan error, 1)
	go func() { shaken <- r.client.Handshake() }()
	must(t, r.server.Handshake())
	must(t, <-shaken)
	r.wire.holding = true
	far.SetDeadline(time.Now().Add(patience))
	return r
}

// write makes TLS write b as one record, which is held, and returns the size of the record.
func (r *arrivalRig) write(t *testing.T, b []byte) int {
	t.Helper()
	before := r.wire.held.Len()
	_, err := r.client.Write(b)
	must(t, err)
	return r.wire.held.Len() - before
}

// arrive waits until n more bytes have arrived at the server, which has read all before.
func (r *arrivalRig) arrive(t *testing.T, n int) {
	t.Helper()
	raw, err := r.below.Conn.(*net.TCPConn).SyscallConn()
	must(t, err)
	var got int
	must(t, raw.Read(func(fd uintptr) bool {
		got, _, _ = syscall.Recvfrom(int(fd), make([]byte, n), syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		return got >= n
	}))
}

func random(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rand.Uint32())
	}
	return b
}

func eachVersion(t *testing.T, f func(t *testing.T, version uint16)) {
	t.Run("1.2", func(t *testing.T) { f(t, tls.VersionTLS12) })
	t.Run("1.3", func(t *testing.T) { f(t, tls.VersionTLS13) })
}

func TestReadTakesAllRecordsThatHaveArrived(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		r := newArrivalRig(t, version)
		sent := random(4 * 3000)
		for i := range 4 {
			r.write(t, sent[i*3000:(i+1)*3000])
		}
		size := r.wire.held.Len()
		r.wire.hand(t, size)
		r.arrive(t, size)
		p := make([]byte, 64<<10)
		n, err := r.below.ReadArrived(r.server, p)
		if err != nil || !bytes.Equal(p[:n], sent) {
			t.Errorf("%d bytes of %d, err %v", n, len(sent), err)
		}
	})
}

func TestReadDoesNotWaitForTheRestOfARecord(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		r := newArrivalRig(t, version)
		whole, late := random(5000), random(7000)
		first := r.write(t, whole) + r.write(t, late)/2
		r.wire.hand(t, first)
		r.arrive(t, first)
		p := make([]byte, 64<<10)
		n, err := r.below.ReadArrived(r.server, p)
		if err != nil || !bytes.Equal(p[:n], whole) {
			t.Fatalf("%d bytes of %d, err %v", n, len(whole), err)
		}
		r.wire.hand(t, r.wire.held.Len())
		n, err = r.below.ReadArrived(r.server, p)
		if err != nil || !bytes.Equal(p[:n], late) {
			t.Errorf("then %d bytes of %d, err %v", n, len(late), err)
		}
	})
}

func TestReadThatFillsItsRoomReadsNoFurther(t *testing.T) {
	r := newArrivalRig(t, tls.VersionTLS13)
	sent := random(3000)
	r.wire.hand(t, r.write(t, sent))
	p := make([]byte, 1000)
	for i := range 3 {
		n, err := r.below.ReadArrived(r.server, p)
		if err != nil || !bytes.Equal(p[:n], sent[i*1000:(i+1)*1000]) {
			t.Fatalf("read %d: %d bytes, err %v", i, n, err)
		}
	}
}

// Whatever the sizes of records, of parcels and of reads, all bytes come, in order.
func TestReadsOfArrivedBytesLoseNothing(t *testing.T) {
	eachVersion(t, func(t *testing.T, version uint16) {
		r := newArrivalRig(t, version)
		seed := rand.Uint64()
		rng := rand.New(rand.NewPCG(seed, 0))
		sent := random(1 << 20)
		for rest := sent; len(rest) > 0; {
			n := min(len(rest), 1+rng.IntN(maxPlaintext))
			r.write(t, rest[:n])
			rest = rest[n:]
		}
		must(t, r.client.CloseWrite())
		sizes := rand.New(rand.NewPCG(seed, 1))
		go func() {
			for r.wire.held.Len() > 0 {
				r.wire.Conn.Write(r.wire.held.Next(1 + sizes.IntN(40<<10)))
			}
		}()
		var got []byte
		for {
			p := make([]byte, 1+rng.IntN(64<<10))
			n, err := r.below.ReadArrived(r.server, p)
			got = append(got, p[:n]...)
			if err == io.EOF {
				break
			}
			must(t, err)
		}
		if !bytes.Equal(got, sent) {
			t.Errorf("seed %d: %d bytes of %d, or others", seed, len(got), len(sent))
		}
		if r.below.Ended() {
			t.Error("close_notify was taken for the end of the stream")
		}
	})
}

// maxPlaintext is the maximum of one record.
const maxPlaintext = 16 << 10

func TestArrivedBytesComeBeforeTheEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		end  func(*arrivalRig)
		want error
	}{
		"FIN": {func(r *arrivalRig) { r.wire.Conn.(*net.TCPConn).CloseWrite() }, io.EOF},
		"no bytes until the deadline": {
			func(r *arrivalRig) { r.below.Conn.SetReadDeadline(time.Unix(1, 0)) }, os.ErrDeadlineExceeded,
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newArrivalRig(t, tls.VersionTLS13)
			sent := random(2 * maxPlaintext)
			r.write(t, sent[:maxPlaintext])
			r.write(t, sent[maxPlaintext:])
			size := r.wire.held.Len()
			r.wire.hand(t, size)
			r.arrive(t, size)
			p := make([]byte, 64<<10)
			n, err := r.below.ReadArrived(r.server, p)
			must(t, err)
			tt.end(r)
			for err == nil {
				var k int
				k, err = r.below.ReadArrived(r.server, p[n:])
				n += k
			}
			if !bytes.Equal(p[:n], sent) || !errors.Is(err, tt.want) {
				t.Errorf("%d bytes of %d, err %v", n, len(sent), err)
			}
		})
	}
}

func TestReadOfArrivedBytesAllocatesNothing(t *testing.T) {
	r := newArrivalRig(t, tls.VersionTLS13)
	r.wire.holding = false
	sent, p := random(4*maxPlaintext), make([]byte, 64<<10)
	written := make(chan error)
	defer close(written)
	allocs := testing.AllocsPerRun(100, func() {
		go func() {
			_, err := r.client.Write(sent)
			written <- err
		}()
		for n := 0; n < len(sent); {
			k, err := r.below.ReadArrived(r.server, p)
			must(t, err)
			n += k
		}
		must(t, <-written)
	})
	if allocs > 5 { // those of the goroutine
		t.Errorf("%.1f allocations", allocs)
	}
}
