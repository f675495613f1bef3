package framing

import (
	"bytes"
	"fmt"
)

// Embedded is the rule for records that contain the delimiter of the framing that they are
// rewritten into: a newline, or a NUL byte.
type Embedded uint8

const (
	Escape Embedded = iota // write \n for a newline, and \u0000 for a NUL byte, as JSON does
	Space                  // write a space
	Refuse                 // leave out the record
)

var embeddedNames = [...]string{Escape: "escape", Space: "space", Refuse: "refuse"}

// ParseEmbedded returns the rule with the given name: escape, space or refuse.
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

// substitute returns the text that the rule writes in place of a delimiter.
func (e Embedded) substitute(delimiter byte) string {
	switch {
	case e == Space:
		return " "
	case delimiter == 0:
		return `\u0000`
	}
	return `\n`
}

// Rewrite describes how records are rewritten from one framing into another. Neither framing is
// Auto.
type Rewrite struct {
	From, To Framing
	Embedded Embedded // for delimiters of To
}

// Outcome counts the records that Append has read.
type Outcome struct {
	Records      int // records written
	Altered      int // written records in which Embedded replaced a delimiter
	Refused      int // records left out because of Embedded
	RefusedBytes int // size of the refused records in their old framing
}

// Bound returns an upper bound for the number of bytes that Append appends for src, which holds the
// given number of records.
func (w Rewrite) Bound(src []byte, records int) int {
	if w.To == Octet {
		return len(src) + records*HeaderSize(len(src))
	}
	embedded := bytes.Count(src, w.To.separator())
	return len(src) + records + embedded*len(w.Embedded.substitute(w.To.Delimiter()))
}

// Append appends the records of src, which are whole, to dst in their new framing.
//
// A record that already ends with the delimiter of the new framing does not get a second one. Octet
// counting cannot express an empty record, so Append writes a record of one newline in its place.
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

// appendRecord appends one record, or nothing if Embedded refuses it.
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
