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

	"github.com/pires/go-proxyproto"
)

// A PROXY protocol header is read to its last byte and not further, from the connection itself: what is behind it is
// the reader's of the connection, who may want to read it where no buffer of ours could be put before (splice).

const (
	shortestHeader = len("PROXY UNKNOWN\r\n") // of version 1; those of version 2 have one byte more at least
	longestV1      = 107                      // with its line end
	fixedV2        = 16                       // signature, command, family, and the length of what follows
)

// errNoHeader says that what came is not the beginning of a header.
var errNoHeader = errors.New("what it sent does not begin with one")

// errTruncated says that the connection ended within its header.
var errTruncated = errors.New("the connection ended within the header")

// readHeader reads the header that the connection begins with. The connection's read deadline bounds it.
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
		if n, err = atMost(conn, b, n); err != nil {
			return nil, ended(err)
		}
		b = slices.Grow(b, n)
		if n, err = conn.Read(b[len(b) : len(b)+n]); err != nil {
			return nil, ended(err)
		}
		b = b[:len(b)+n]
	}
}

// atMost returns how many bytes may be read for the header that b begins: those that it lacks for certain, or where the
// end of a line has to be found, those up to it.
func atMost(conn *net.TCPConn, b []byte, missing int) (int, error) {
	if len(b) < shortestHeader || isV2(b) {
		return missing, nil
	}
	return peekLine(conn, longestV1-len(b))
}

func ended(err error) error {
	if err == io.EOF {
		return errTruncated
	}
	return err
}

// missing returns how many bytes b, the beginning of a header, lacks at least; 0 if it is whole.
func missing(b []byte) (int, error) {
	switch {
	case !begins(b, proxyproto.SIGV1) && !begins(b, proxyproto.SIGV2):
		return 0, errNoHeader
	case isV2(b) && len(b) >= fixedV2:
		length := binary.BigEndian.Uint16(b[fixedV2-2:])
		if length > proxyproto.MaxV2HeaderSize {
			return 0, fmt.Errorf("a header of %d bytes: at most %d are read", length, proxyproto.MaxV2HeaderSize)
		}
		return fixedV2 + int(length) - len(b), nil
	case isV2(b):
		return fixedV2 - len(b), nil
	case bytes.IndexByte(b, '\n') >= 0:
		return 0, nil
	case len(b) < shortestHeader:
		return shortestHeader - len(b), nil
	case len(b) >= longestV1:
		return 0, fmt.Errorf("no line end within %d bytes", longestV1)
	default:
		return 1, nil
	}
}

// begins says whether b and the signature are alike as far as both go.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// isV2 says so of what begins with either signature: their first bytes differ.
func isV2(b []byte) bool { return len(b) > 0 && begins(b, proxyproto.SIGV2) }

// parseHeader parses a whole header and nothing else.
func parseHeader(b []byte) (*proxyproto.Header, error) {
	const local, proxy = 0x20, 0x21
	if isV2(b) && b[12] == proxy && b[13] == 0 {
		b[12] = local // a client without an address; the library knows that of LOCAL alone
	}
	in := bytes.NewReader(b)
	r := bufio.NewReaderSize(in, len(b))
	h, err := proxyproto.Read(r)
	if err != nil {
		return nil, err
	}
	if left := r.Buffered() + in.Len(); left > 0 {
		return nil, fmt.Errorf("%d bytes behind the header's end", left)
	}
	return h, nil
}

// addresses returns the ends that a header names; ok is false if it names none.
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
