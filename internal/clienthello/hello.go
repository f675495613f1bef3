package clienthello

import (
	"errors"
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Numbers of extensions (RFC 6066, RFC 7301, RFC 9849).
const (
	extensionName      = 0
	extensionALPN      = 16
	extensionEncrypted = 0xfe0d
)

const typeHostName = 0 // the type of a name in extensionName

// Hello has the parts of a ClientHello that tell which server the client wants.
type Hello struct {
	// ServerName is the host that the client asks for, as the client wrote it: any bytes, up to the
	// size of the message. It is empty if the client asks for no host.
	ServerName string
	// Protocols are the application protocols that the client offers (ALPN): any bytes.
	Protocols []string
	// Encrypted reports whether the client sent the extension for an encrypted ClientHello (ECH).
	// Then ServerName may be a cover, and the true name is in the encrypted part. Browsers also
	// send the extension with nothing encrypted (GREASE).
	Encrypted bool
}

// Parse reads the ClientHello at the beginning of a stream. Its errors are those of Scan. Parse
// checks only what it reads: crypto/tls may refuse a message that Parse accepts.
func Parse(b []byte) (Hello, error) {
	size, err := Scan(b)
	if err != nil {
		return Hello{}, err
	}
	h, err := parse(message(b, size))
	if err != nil {
		return Hello{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return h, nil
}

// message returns the message of size bytes in the records of b, without the message's header. It
// copies only a message that is spread over several records.
func message(b []byte, size int) []byte {
	length := int(b[3])<<8 | int(b[4])
	if length >= size {
		return b[recordHeader+messageHeader : recordHeader+size]
	}
	whole := make([]byte, 0, size)
	for len(whole) < size {
		length := int(b[3])<<8 | int(b[4])
		whole = append(whole, b[recordHeader:recordHeader+min(length, size-len(whole))]...)
		b = b[recordHeader+length:]
	}
	return whole[messageHeader:]
}

func parse(message cryptobyte.String) (h Hello, err error) {
	var sessionID, suites, compressions, extensions cryptobyte.String
	if !message.Skip(2+32) || // version and random
		!message.ReadUint8LengthPrefixed(&sessionID) ||
		!message.ReadUint16LengthPrefixed(&suites) ||
		!message.ReadUint8LengthPrefixed(&compressions) {
		return h, errors.New("it ends before its extensions")
	}
	if message.Empty() {
		return h, nil
	}
	if !message.ReadUint16LengthPrefixed(&extensions) || !message.Empty() {
		return h, errors.New("the length of its extensions is wrong")
	}
	return h, h.readExtensions(extensions)
}

// readExtensions reads the list of extensions. It refuses an extension that is given twice: the
// server behind linesplit might use the other one.
func (h *Hello) readExtensions(all cryptobyte.String) error {
	seen := map[uint16]bool{}
	for !all.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !all.ReadUint16(&kind) || !all.ReadUint16LengthPrefixed(&data) {
			return errors.New("an extension is cut off")
		}
		if seen[kind] {
			return fmt.Errorf("extension %d is given twice", kind)
		}
		seen[kind] = true
		var err error
		switch kind {
		case extensionName:
			err = h.readName(data)
		case extensionALPN:
			err = h.readProtocols(data)
		case extensionEncrypted:
			h.Encrypted = true
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readName reads the list of server names, which has at most one host name.
func (h *Hello) readName(data cryptobyte.String) error {
	var names cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&names) || !data.Empty() || names.Empty() {
		return errors.New("no list of server names")
	}
	for !names.Empty() {
		var kind uint8
		var name cryptobyte.String
		if !names.ReadUint8(&kind) || !names.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return errors.New("a server name is cut off")
		}
		if kind != typeHostName {
			continue
		}
		if h.ServerName != "" {
			return errors.New("two server names")
		}
		h.ServerName = string(name)
	}
	return nil
}

// readProtocols reads the list of application protocols.
func (h *Hello) readProtocols(data cryptobyte.String) error {
	var protocols cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&protocols) || !data.Empty() || protocols.Empty() {
		return errors.New("no list of protocols")
	}
	for !protocols.Empty() {
		var one cryptobyte.String
		if !protocols.ReadUint8LengthPrefixed(&one) || one.Empty() {
			return errors.New("a protocol is cut off")
		}
		h.Protocols = append(h.Protocols, string(one))
	}
	return nil
}
