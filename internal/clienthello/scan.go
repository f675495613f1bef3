// Package clienthello reads the first message of a TLS client, its ClientHello (RFC 8446, 4.1.2),
// without a handshake. It tells when the whole message has arrived, and which server the client
// wants.
package clienthello

import (
	"errors"
	"fmt"
)

const (
	// MaxSize is the size of the largest ClientHello that is accepted, in bytes. Real ones have
	// some hundred bytes, two thousand with post-quantum keys, and a few thousand more with a large
	// session ticket; the protocol allows 16 MiB, and crypto/tls 64 KiB.
	MaxSize = 16 << 10
	// MaxStream is the largest number of bytes, from the beginning of a stream, in which the whole
	// ClientHello must have arrived. A client may spread the message over many records, each of
	// which has a header.
	MaxStream = 24 << 10

	recordHeader  = 5 // bytes
	messageHeader = 4 // bytes

	recordHandshake = 22 // the type of records that hold handshake messages
	messageHello    = 1  // the type of a ClientHello

	// strangeVersion is the lowest major version in a record's header that shows that the stream is
	// not TLS; crypto/tls draws the same line. Lower versions have no meaning (RFC 8446, 5.1).
	strangeVersion = 0x10
)

var (
	// ErrProbe reports a connection that ended before its first byte. Load balancers and monitors
	// check a port that way.
	ErrProbe = errors.New("the connection ended before its first byte")
	// ErrIncomplete reports that more of the stream is needed.
	ErrIncomplete = errors.New("the ClientHello is not complete")
	// ErrNotTLS reports a stream that does not begin as TLS does.
	ErrNotTLS = errors.New("the stream does not begin with a TLS handshake")
	// ErrMalformed reports a stream that begins as TLS does, and then breaks the rules of TLS.
	ErrMalformed = errors.New("malformed ClientHello")
	// ErrTooLarge reports a ClientHello larger than MaxSize, or in a longer stream than MaxStream.
	ErrTooLarge = fmt.Errorf("the client's first message (ClientHello) is larger than %d bytes, "+
		"which no TLS client needs", MaxSize)
)

// Scan looks for the ClientHello at the beginning of a stream. err is nil if b holds the whole
// message and the whole record in which it ends. Otherwise err is, or wraps, ErrIncomplete,
// ErrNotTLS, ErrMalformed or ErrTooLarge. Only after ErrIncomplete can more of the stream change
// the result. size is the length of the message in bytes, header included, or 0 while it is
// unknown.
func Scan(b []byte) (size int, err error) {
	var head [messageHeader]byte
	have := 0 // bytes of the message so far
	b = b[:min(len(b), MaxStream)]
	for rest := b; ; {
		length, known, err := recordLength(rest, len(rest) == len(b))
		if err != nil {
			return size, err
		}
		if !known {
			break
		}
		payload := rest[recordHeader:min(len(rest), recordHeader+length)]
		if have < messageHeader {
			copy(head[have:], payload)
		}
		have += len(payload)
		if have > 0 && head[0] != messageHello {
			return size, fmt.Errorf("%w: its message is of type %d", ErrMalformed, head[0])
		}
		if have >= messageHeader {
			size = messageHeader + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
		}
		if size > MaxSize {
			return size, ErrTooLarge
		}
		if len(payload) < length {
			break
		}
		if size > 0 && have >= size {
			return size, nil
		}
		rest = rest[recordHeader+length:]
	}
	if len(b) == MaxStream {
		return size, ErrTooLarge
	}
	return size, ErrIncomplete
}

// recordLength returns the length of the handshake record that b begins with, without its header.
// known is false while the header is incomplete. first is true for the first record of the stream.
func recordLength(b []byte, first bool) (length int, known bool, err error) {
	switch {
	case len(b) > 0 && b[0] != recordHandshake && first, len(b) > 1 && b[1] >= strangeVersion && first:
		return 0, false, ErrNotTLS
	case len(b) > 0 && b[0] != recordHandshake:
		return 0, false, fmt.Errorf("%w: a record of type %d within it", ErrMalformed, b[0])
	case len(b) > 1 && b[1] >= strangeVersion:
		return 0, false, fmt.Errorf("%w: a record of version %d within it", ErrMalformed, b[1])
	case len(b) < recordHeader:
		return 0, false, nil
	}
	length = int(b[3])<<8 | int(b[4])
	if length == 0 || length > MaxSize { // a record holds 16 KiB at most
		return 0, false, fmt.Errorf("%w: a record of %d bytes", ErrMalformed, length)
	}
	return length, true, nil
}
