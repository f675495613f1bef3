//go:build linux

package testrig

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/sha256"
	"crypto/tls"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"syscall"
)

// KeyUpdater is a TLS 1.3 sender that writes its own records after the handshake, so that it can
// ask for key updates, and that never reads.
type KeyUpdater struct {
	Conn   *net.TCPConn
	secret []byte
	seq    uint64

	written atomic.Int64
}

// NewKeyUpdater connects to addr and does the handshake. The buffers for answers are small.
func NewKeyUpdater(addr string, config *tls.Config) (*KeyUpdater, error) {
	dialer := net.Dialer{Control: func(_, _ string, c syscall.RawConn) error {
		return c.Control(func(fd uintptr) {
			syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, 8<<10)
			// The other side's send buffer follows from the segment size: 64 KiB on the loopback.
			syscall.SetsockoptInt(int(fd), syscall.IPPROTO_TCP, syscall.TCP_MAXSEG, 536)
		})
	}}
	nc, err := dialer.Dial("tcp", addr)
	if err != nil {
		return nil, err
	}
	k := &KeyUpdater{Conn: nc.(*net.TCPConn)}
	var keys bytes.Buffer
	config = config.Clone()
	config.MinVersion, config.KeyLogWriter = tls.VersionTLS13, &keys
	config.CipherSuites = nil
	client := tls.Client(nc, config)
	if err := client.Handshake(); err != nil {
		nc.Close()
		return nil, err
	}
	if suite := client.ConnectionState().CipherSuite; suite != tls.TLS_AES_128_GCM_SHA256 {
		nc.Close()
		return nil, fmt.Errorf("the server chose %s, and only TLS_AES_128_GCM_SHA256 is known here", tls.CipherSuiteName(suite))
	}
	for line := range strings.Lines(keys.String()) {
		if f := strings.Fields(line); len(f) == 3 && f[0] == "CLIENT_TRAFFIC_SECRET_0" {
			k.secret, err = hex.DecodeString(f[2])
		}
	}
	return k, err
}

// expand is HKDF-Expand-Label (RFC 8446, 7.1) with an empty context.
func (k *KeyUpdater) expand(label string, n int) []byte {
	label = "tls13 " + label
	info := binary.BigEndian.AppendUint16(nil, uint16(n))
	info = append(append(append(info, byte(len(label))), label...), 0)
	out, err := hkdf.Expand(sha256.New, k.secret, string(info), n)
	if err != nil {
		panic(err)
	}
	return out
}

// record appends one encrypted record with content to b.
func (k *KeyUpdater) record(b []byte, kind byte, content []byte) []byte {
	block, err := aes.NewCipher(k.expand("key", 16))
	if err != nil {
		panic(err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		panic(err)
	}
	nonce := k.expand("iv", 12)
	for i := range 8 {
		nonce[4+i] ^= byte(k.seq >> (56 - 8*i))
	}
	k.seq++
	header := []byte{23, 3, 3, 0, 0}
	binary.BigEndian.PutUint16(header[3:], uint16(len(content)+1+aead.Overhead()))
	b = append(b, header...)
	return aead.Seal(b, nonce, append(bytes.Clone(content), kind), header)
}

// Write writes data in records of at most 16 KiB.
func (k *KeyUpdater) Write(data []byte) error {
	var b []byte
	for len(data) > 0 {
		n := min(len(data), 16<<10)
		b = k.record(b, 23, data[:n])
		data = data[n:]
	}
	_, err := k.Conn.Write(b)
	return err
}

// Flood writes requests for a key update, with a byte of data behind each, until the connection
// breaks.
func (k *KeyUpdater) Flood() {
	var b []byte
	for {
		b = b[:0]
		for range 100 {
			b = k.record(b, 22, []byte{24, 0, 0, 1, 1})
			k.secret, k.seq = k.expand("traffic upd", sha256.Size), 0
			b = k.record(b, 23, []byte("x"))
		}
		n, err := k.Conn.Write(b)
		k.written.Add(int64(n))
		if err != nil {
			return
		}
	}
}

// Written returns the bytes of Flood that the kernel has taken.
func (k *KeyUpdater) Written() int64 { return k.written.Load() }
