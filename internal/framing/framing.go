// Package framing finds where the records of a stream end, and rewrites records from one framing
// into another.
//
// A record is the unit that linesplit delivers whole. With [Newline] it is a line. With [NUL] and
// [Octet] it may contain newlines. Its delimiter, or the count before it, belongs to the record
// throughout this package, so a buffer of records has no bytes between them.
package framing

import (
	"bytes"
	"fmt"
)

// Framing is a way to tell records apart in a stream.
type Framing uint8

const (
	Newline Framing = iota // each record ends in a newline
	NUL                    // each record ends in a NUL byte, as in GELF over TCP
	Octet                  // each record begins with its length and a space: octet counting, RFC 6587, 3.4.1
	Auto                   // for senders only: the first bytes of each decide which of the others it uses
)

var names = [...]string{Newline: "newline", NUL: "nul", Octet: "octet", Auto: "auto"}

// String returns the name of f as ParseSender takes it.
func (f Framing) String() string {
	if int(f) >= len(names) {
		return fmt.Sprintf("Framing(%d)", uint8(f))
	}
	return names[f]
}

// ParseSender returns the framing with the given name, for the streams of senders: newline, nul,
// octet or auto.
func ParseSender(name string) (Framing, error) {
	for f, known := range names {
		if name == known {
			return Framing(f), nil
		}
	}
	return Newline, fmt.Errorf("framing=%q: use newline, octet, nul or auto", name)
}

// ParseTarget returns the framing with the given name, for what targets read: newline, nul or
// octet.
func ParseTarget(name string) (Framing, error) {
	f, err := ParseSender(name)
	switch {
	case err != nil:
		return Newline, fmt.Errorf("framing=%q: use newline, octet or nul", name)
	case f == Auto:
		return Newline, fmt.Errorf("framing=%q is for listeners: a target has one of newline, octet and nul", name)
	}
	return f, nil
}

var newline, nul = []byte{'\n'}, []byte{0}

// Delimiter returns the byte that ends each record. f is Newline or NUL.
func (f Framing) Delimiter() byte {
	if f == NUL {
		return 0
	}
	return '\n'
}

// separator returns the delimiter as a slice.
func (f Framing) separator() []byte {
	if f == NUL {
		return nul
	}
	return newline
}

// Count returns the number of records that end in b. b begins with the start of a record.
func (f Framing) Count(b []byte) (n int) {
	if f != Octet {
		return bytes.Count(b, f.separator())
	}
	for at := 0; at < len(b); n++ {
		size, ok := octetRecord(b[at:])
		if !ok {
			break
		}
		at += size
	}
	return n
}

// First returns the first record of b without its delimiter or count, and the length of the record
// with it. b begins with a whole record.
func (f Framing) First(b []byte) (body []byte, size int) {
	if f == Octet {
		length, count := Header(b)
		size = length + int(count)
		return b[length:size], size
	}
	n := bytes.IndexByte(b, f.Delimiter())
	return b[:n], n + 1
}

// End returns the offset at which the record with byte pos-1 of b ends, or 0 if pos is 0. b holds
// whole records.
func (f Framing) End(b []byte, pos int) int {
	if f == Octet {
		at := 0
		for at < pos {
			size, _ := octetRecord(b[at:])
			at += size
		}
		return at
	}
	if d := f.Delimiter(); pos > 0 && b[pos-1] != d {
		pos += bytes.IndexByte(b[pos:], d) + 1
	}
	return pos
}

// Start returns the offset at which the record with byte pos of b begins. For pos = len(b) that is
// the start of the unfinished record at the end of b, or pos if there is none.
func (f Framing) Start(b []byte, pos int) int {
	if f != Octet {
		return bytes.LastIndexByte(b[:pos], f.Delimiter()) + 1
	}
	for at := 0; ; {
		size, ok := octetRecord(b[at:])
		if !ok || at+size > pos {
			return at
		}
		at += size
	}
}
