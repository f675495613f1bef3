package clienthello

import (
	"fmt"

	"golang.org/x/crypto/cryptobyte"
)

// Extensions (RFC 6066, RFC 7301, RFC 9849).
const (
	extensionName      = 0
	extensionALPN      = 16
	extensionEncrypted = 0xfe0d

	typeHostName = 0
)

// Hello is what a ClientHello says about whom the client wants.
type Hello struct {
	// ServerName is the host that the client asks for, as it has written it: any bytes, up to the
	// size of the message. It is empty if the client asks for none.
	ServerName string
	// Protocols are those that the client offers (ALPN), any bytes.
	Protocols []string
	// Encrypted reports that the true server name may be encrypted (ECH), and ServerName one that
	// the client shows to everyone. Browsers also say so where nothing is encrypted.
	Encrypted bool
}

// Parse reads the ClientHello at the beginning of a stream. Its errors are those of Scan. It reads
// the message as far as it needs to: crypto/tls may refuse one that Parse accepts.
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

// message returns the first size bytes of the message in the records of b, without its header. It
// copies only what is spread over several records.
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

// fault is what breaks the rules.
type fault string

func (f fault) Error() string { return string(f) }

func parse(message cryptobyte.String) (h Hello, err error) {
	var sessionID, suites, compressions, extensions cryptobyte.String
	if !message.Skip(2+32) || // version and random
		!message.ReadUint8LengthPrefixed(&sessionID) ||
		!message.ReadUint16LengthPrefixed(&suites) ||
		!message.ReadUint8LengthPrefixed(&compressions) {
		return h, fault("it ends before its extensions")
	}
	if message.Empty() {
		return h, nil
	}
	if !message.ReadUint16LengthPrefixed(&extensions) || !message.Empty() {
		return h, fault("its extensions have another length than it says")
	}
	return h, h.readExtensions(extensions)
}

// readExtensions refuses extensions that are given twice: another reader might take the other one.
func (h *Hello) readExtensions(all cryptobyte.String) error {
	seen := map[uint16]bool{}
	for !all.Empty() {
		var kind uint16
		var data cryptobyte.String
		if !all.ReadUint16(&kind) || !all.ReadUint16LengthPrefixed(&data) {
			return fault("an extension is cut off")
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

// readName reads a list of names. There is one kind of name.
func (h *Hello) readName(data cryptobyte.String) error {
	var names cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&names) || !data.Empty() || names.Empty() {
		return fault("no list of server names")
	}
	for !names.Empty() {
		var kind uint8
		var name cryptobyte.String
		if !names.ReadUint8(&kind) || !names.ReadUint16LengthPrefixed(&name) || name.Empty() {
			return fault("a server name is cut off")
		}
		if kind != typeHostName {
			continue
		}
		if h.ServerName != "" {
			return fault("two server names")
		}
		h.ServerName = string(name)
	}
	return nil
}

func (h *Hello) readProtocols(data cryptobyte.String) error {
	var protocols cryptobyte.String
	if !data.ReadUint16LengthPrefixed(&protocols) || !data.Empty() || protocols.Empty() {
		return fault("no list of protocols")
	}
	for !protocols.Empty() {
		var one cryptobyte.String
		if !protocols.ReadUint8LengthPrefixed(&one) || one.Empty() {
			return fault("a protocol is cut off")
		}
		h.Protocols = append(h.Protocols, string(one))
	}
	return nil
}
