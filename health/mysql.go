package health

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"

	"linesplit/internal/stranger"
)

// Of MySQL's client/server protocol: a packet is three bytes of length, one of sequence, and its
// payload. The server speaks first, and its first byte is the version of its greeting or says
// that there is an error.
const (
	mysqlHeader   = 4
	mysqlProtocol = 10
	mysqlError    = 0xff
	maxGreeting   = 4 << 10 // greetings have about a hundred bytes
)

// readGreeting reads the server's greeting and says nothing: logging in would take an account. A
// server that keeps a host cache (it does not with skip_name_resolve, and not for loopback)
// counts that as an interrupted connection, and refuses a host with more than max_connect_errors
// of them and no login in between.
func readGreeting(conn *conversation) error {
	payload, err := readPacket(conn)
	if err != nil {
		return fmt.Errorf("read greeting: %w", err)
	}
	return checkGreeting(payload)
}

func readPacket(r io.Reader) ([]byte, error) {
	var header [mysqlHeader]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := int(binary.LittleEndian.Uint32(header[:]) & 0xffffff)
	if size == 0 || size > maxGreeting || header[3] != 0 {
		return nil, fmt.Errorf("no greeting begins with %s", stranger.Quote(header[:]))
	}
	payload := make([]byte, size)
	if _, err := io.ReadFull(r, payload); err != nil {
		return nil, err
	}
	return payload, nil
}

func checkGreeting(payload []byte) error {
	switch payload[0] {
	case mysqlProtocol:
		if bytes.IndexByte(payload, 0) < 0 { // the end of the server's version
			return errors.New("the greeting is cut short")
		}
		return nil
	case mysqlError:
		return fmt.Errorf("the server refuses: %.100q", payload[min(3, len(payload)):]) // behind the error's number
	}
	return fmt.Errorf("greeting of protocol %d, want %d", payload[0], mysqlProtocol)
}
