package tlsconf

import (
	"errors"
	"fmt"
)

const (
	// maxHello is the size of the largest ClientHello that is accepted, in bytes. Real ones have
	// some hundred bytes, two thousand with post-quantum keys, and a few thousand more with a large
	// session ticket; the protocol allows 16 MiB, and crypto/tls 64 KiB.
	maxHello = 16 << 10
	// maxHelloStream is the size of the longest beginning of a stream that may be needed to see the
	// whole ClientHello, which a client may spread over many records.
	maxHelloStream = 24 << 10

	recordHeader  = 5
	messageHeader = 4

	recordHandshake = 22
	messageHello    = 1
)

// ErrProbe reports a connection that ended before its first byte. Load balancers and monitors check
// a port that way.
var ErrProbe = errors.New("the connection ended before its first byte")

// errHelloTooLarge reports a ClientHello that is not worth its memory.
var errHelloTooLarge = fmt.Errorf("the client's first message (ClientHello) is larger than %d bytes, "+
	"which no TLS client needs", maxHello)

// scanHello looks for the ClientHello at the beginning of a stream. done reports whether there is
// nothing more to wait for: the message is complete, with the record that it ends in, or the stream
// is no TLS, which crypto/tls explains better. size is the length of the message if it is known.
func scanHello(b []byte) (size int, done bool, err error) {
	var head [messageHeader]byte
	have := 0 // bytes of the message
	for rest := b; ; {
		if len(rest) > 0 && rest[0] != recordHandshake {
			return size, true, nil
		}
		if len(rest) < recordHeader {
			break
		}
		length := int(rest[3])<<8 | int(rest[4])
		if rest[1] != 3 || length == 0 || length > maxHello {
			return size, true, nil // no TLS, or against its rules: a record holds at most 16 KiB
		}
		payload := rest[recordHeader:min(len(rest), recordHeader+length)]
		if have < messageHeader {
			copy(head[have:], payload)
		}
		have += len(payload)
		if have > 0 && head[0] != messageHello {
			return size, true, nil
		}
		if have >= messageHeader {
			size = messageHeader + int(head[1])<<16 + int(head[2])<<8 + int(head[3])
		}
		switch {
		case size > maxHello:
			return size, false, errHelloTooLarge
		case len(payload) < length:
			return size, false, nil
		case size > 0 && have >= size:
			return size, true, nil
		}
		rest = rest[recordHeader+length:]
	}
	return size, false, nil
}
