package listen

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"syscall"

	"github.com/pires/go-proxyproto"

	"linesplit/tlsconf"
)

// A PROXY protocol header is read from the connection to its last byte and not further. The bytes
// after it belong to the connection's reader, which may use splice and so cannot take bytes from a
// buffer.

const (
	minHeader   = len("PROXY UNKNOWN\r\n") // of version 1; one of version 2 has at least one byte more
	maxV1Header = 107                      // including its line end
	fixedV2     = 16                       // signature, command, family, and the length of the rest
)

// errNoHeader reports data that is not the beginning of a header.
var errNoHeader = errors.New("the data does not begin with a header")

// errTruncated reports a connection that ended within its header.
var errTruncated = errors.New("the connection ended within the header")

// readHeader reads the header at the beginning of the connection, until the connection's read
// deadline.
func readHeader(conn *net.TCPConn) (*proxyproto.Header, error) {
	var room [fixedV2 + 216]byte
	b := room[:0]
	for {
		n, err := missing(b)
		if err != nil {
			return nil, err
		}
		if n == 0 {
			return parseHeader(b)
		}
		if n, err = safeToRead(conn, b, n); err != nil {
			return nil, atEnd(err, len(b))
		}
		b = slices.Grow(b, n)
		if n, err = conn.Read(b[len(b) : len(b)+n]); err != nil {
			return nil, atEnd(err, len(b))
		}
		b = b[:len(b)+n]
	}
}

// safeToRead returns the number of bytes that can be read without reading past the end of the
// header that b begins: the bytes that it certainly lacks or, if the end of a line has to be found,
// the bytes up to it.
func safeToRead(conn *net.TCPConn, b []byte, missing int) (int, error) {
	if len(b) < minHeader || isV2(b) {
		return missing, nil
	}
	return peekLine(conn, maxV1Header-len(b))
}

// atEnd returns the error for a connection whose reading failed after a number of bytes. One that
// has ended before the first, by a reset or not, is a probe.
func atEnd(err error, read int) error {
	switch {
	case read == 0 && (err == io.EOF || errors.Is(err, syscall.ECONNRESET)):
		return tlsconf.ErrProbe
	case err == io.EOF:
		return errTruncated
	default:
		return err
	}
}

// missing returns the minimum number of bytes that b, the beginning of a header, lacks; 0 if it is
// complete.
func missing(b []byte) (int, error) {
	switch {
	case !begins(b, proxyproto.SIGV1) && !begins(b, proxyproto.SIGV2):
		return 0, errNoHeader
	case isV2(b) && len(b) >= fixedV2:
		length := binary.BigEndian.Uint16(b[fixedV2-2:])
		if length > proxyproto.MaxV2HeaderSize {
			return 0, fmt.Errorf("a header of %d bytes: the limit is %d", length, proxyproto.MaxV2HeaderSize)
		}
		return fixedV2 + int(length) - len(b), nil
	case isV2(b):
		return fixedV2 - len(b), nil
	case bytes.IndexByte(b, '\n') >= 0:
		return 0, nil
	case len(b) < minHeader:
		return minHeader - len(b), nil
	case len(b) >= maxV1Header:
		return 0, fmt.Errorf("no line end within %d bytes", maxV1Header)
	default:
		return 1, nil
	}
}

// begins reports whether b and the signature are equal up to the length of the shorter.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// isV2 reports whether b begins like version 2. b begins with one of the signatures, whose first
// bytes differ.
func isV2(b []byte) bool { return len(b) > 0 && begins(b, proxyproto.SIGV2) }

// parseHeader parses a complete header without any bytes after it.
func parseHeader(b []byte) (*proxyproto.Header, error) {
	const local, proxy = 0x20, 0x21
	if !isV2(b) {
		b = fitFamilies(b)
	} else if err := checkCRC(b); err != nil {
		return nil, err
	}
	if isV2(b) && b[12] == proxy && b[13] == 0 {
		b[12] = local // a client without an address, which the library accepts only for LOCAL
	}
	in := bytes.NewReader(b)
	r := bufio.NewReaderSize(in, len(b))
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, err
	}
	if left := r.Buffered() + in.Len(); left > 0 {
		return nil, fmt.Errorf("%d bytes after the end of the header", left)
	}
	return h, nil
}

// addresses returns the source and destination from a header; ok is false if it has none.
func addresses(h *proxyproto.Header) (source, destination *net.TCPAddr, ok bool) {
	if h.Command.IsLocal() {
		return nil, nil, false
	}
	sourceIP, destinationIP, ok := h.IPs()
	if !ok {
		return nil, nil, false
	}
	sourcePort, destinationPort, _ := h.Ports()
	return &net.TCPAddr{IP: sourceIP, Port: sourcePort}, &net.TCPAddr{IP: destinationIP, Port: destinationPort}, true
}
