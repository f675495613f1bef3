package framing

import (
	"bytes"
	"fmt"
)

// Embedded is the rule for a record that contains the delimiter of the framing that it is rewritten
// into: a newline, or a NUL byte.
type Embedded uint8

const (
	Escape Embedded = iota // write \n for a newline, and \u0000 for a NUL byte, as JSON does
	Space                  // write a space
	Refuse                 // leave the record out
)

var embeddedNames = [...]string{Escape: "escape", Space: "space", Refuse: "refuse"}

// ParseEmbedded returns the rule of that name: escape, space or refuse.
func ParseEmbedded(name string) (Embedded, error) {
	for e, known := range embeddedNames {
		if name == known {
			return Embedded(e), nil
		}
	}
	return 0, fmt.Errorf("unknown rule %q: want escape, space or refuse", name)
}

// String returns the name of e as ParseEmbedded takes it.
func (e Embedded) String() string {
	if int(e) >= len(embeddedNames) {
		return fmt.Sprintf("Embedded(%d)", uint8(e))
	}
	return embeddedNames[e]
}

// substitute returns what the rule writes in place of a delimiter.
func (e Embedded) substitute(delimiter byte) string {
	switch {
	case e == Space:
		return " "
	case delimiter == 0:
		return `\u0000`
	}
	return `\n`
}

// Rewrite is a way from one framing into another; neither is Auto.
type Rewrite struct {
	From, To Framing
	Embedded Embedded
}

// Outcome counts what became of the records that were rewritten.
type Outcome struct {
	Records      int // written
	Altered      int // those of them in which something else stands for a delimiter
	Refused      int // left out
	RefusedBytes int // of those, as they were before
}

// Bound returns the most bytes that Append appends for src, which holds the given number of
// records.
func (w Rewrite) Bound(src []byte, records int) int {
	if w.To == Octet {
		return len(src) + records*HeaderSize(len(src))
	}
	embedded := bytes.Count(src, w.To.separator())
	return len(src) + records + embedded*len(w.Embedded.substitute(w.To.Delimiter()))
}

// Append appends the records of src, which are whole, to dst in their new framing.
//
// A delimiter of the new framing at the end of a record is the sender's own end of line: it is not
// repeated. A record without bytes has no form in octet counting: it becomes a newline there.
func (w Rewrite) Append(dst, src []byte) ([]byte, Outcome) {
	var o Outcome
	for len(src) > 0 {
		body, size := w.From.First(src)
		before := len(dst)
		dst = w.appendRecord(dst, body, &o)
		if len(dst) == before {
			o.Refused++
			o.RefusedBytes += size
		} else {
			o.Records++
		}
		src = src[size:]
	}
	return dst, o
}

// First returns the first record of b without its framing, and its length with that. b begins with
// a whole record.
func (f Framing) First(b []byte) (body []byte, size int) {
	if f == Octet {
		length, count := Header(b)
		size = length + int(count)
		return b[length:size], size
	}
	n := bytes.IndexByte(b, f.Delimiter())
	return b[:n], n + 1
}

// appendRecord appends one record, or nothing if it is refused.
func (w Rewrite) appendRecord(dst, body []byte, o *Outcome) []byte {
	if w.To == Octet {
		if len(body) == 0 {
			body = newline
		}
		return append(AppendHeader(dst, len(body)), body...)
	}
	d := w.To.Delimiter()
	if n := len(body); n > 0 && body[n-1] == d {
		body = body[:n-1]
	}
	if bytes.IndexByte(body, d) >= 0 {
		if w.Embedded == Refuse {
			return dst
		}
		o.Altered++
		instead := w.Embedded.substitute(d)
		for i := bytes.IndexByte(body, d); i >= 0; i = bytes.IndexByte(body, d) {
			dst = append(append(dst, body[:i]...), instead...)
			body = body[i+1:]
		}
	}
	return append(append(dst, body...), d)
}
