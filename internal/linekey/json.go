package linekey

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// parsePath splits a path at its dots. A backslash before a dot or a backslash makes it part of the
// name.
func parsePath(text string) ([]string, error) {
	if !utf8.ValidString(text) {
		return nil, errors.New("the path is not valid UTF-8")
	}
	var path []string
	var name strings.Builder
	end := func() error {
		if name.Len() == 0 {
			return errors.New("a name in the path is empty: write names with dots between, such as json:user.id")
		}
		path = append(path, name.String())
		name.Reset()
		return nil
	}
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '\\':
			if i++; i == len(text) || text[i] != '.' && text[i] != '\\' {
				return nil, errors.New(`a backslash stands before a dot or a backslash only: \. or \\`)
			}
			name.WriteByte(text[i])
		case c == '.':
			if err := end(); err != nil {
				return nil, err
			}
		default:
			name.WriteByte(c)
		}
	}
	return path, end()
}

// findJSON returns the hash of the value at path in line, a JSON object. It hashes the characters
// of a string, however they are escaped, and a number, true or false as written. ok is false if the
// path leads nowhere, or to null, an object or an array, or if the line up to the end of the value
// is not valid JSON. findJSON does not read what follows the value. Of several members with the
// same name the first counts.
func findJSON(line []byte, path []string) (hash uint64, ok bool) {
	s := scanner{b: line}
	for i, name := range path {
		if !s.enterMember(name) {
			return 0, false
		}
		s.skipSpace()
		if i < len(path)-1 && s.peek() != '{' {
			return 0, false
		}
	}
	return s.hashValue()
}

// enterMember moves from the start of an object to the value of its first member with that name.
func (s *scanner) enterMember(name string) bool {
	s.skipSpace()
	if !s.skipByte('{') {
		return false
	}
	for {
		s.skipSpace()
		str, ok := s.str()
		if !ok {
			return false // also at the end of an empty object
		}
		s.skipSpace()
		if !s.skipByte(':') {
			return false
		}
		if str.equals(name) {
			return true
		}
		if !s.skipValue() {
			return false
		}
		s.skipSpace()
		if !s.skipByte(',') {
			return false // also at the end of the object
		}
	}
}

// hashValue returns the hash of the value that begins at s.at.
func (s *scanner) hashValue() (uint64, bool) {
	from := s.at
	switch s.peek() {
	case '"':
		str, ok := s.str()
		if !ok {
			return 0, false
		}
		return str.hash(), true
	case '{', '[', 'n':
		return 0, false
	}
	if !s.skipScalar() || !s.atEndOfValue() {
		return 0, false
	}
	return xxhash.Sum64(s.b[from:s.at]), true
}

// jsonString is a JSON string.
type jsonString struct {
	raw     []byte // between the quotation marks, as written
	escaped bool   // raw has escapes, all of them valid
}

// equals reports whether the string is name.
func (s jsonString) equals(name string) bool {
	if !s.escaped {
		return string(s.raw) == name // does not allocate
	}
	var buf [utf8.UTFMax]byte
	for raw := s.raw; len(raw) > 0; {
		piece, rest := nextPiece(raw, &buf)
		if len(piece) > len(name) || string(piece) != name[:len(piece)] {
			return false
		}
		name, raw = name[len(piece):], rest
	}
	return name == ""
}

// hash returns the hash of the string's characters.
func (s jsonString) hash() uint64 {
	if !s.escaped {
		return xxhash.Sum64(s.raw)
	}
	var d xxhash.Digest
	d.Reset()
	var buf [utf8.UTFMax]byte
	for raw := s.raw; len(raw) > 0; {
		piece, rest := nextPiece(raw, &buf)
		d.Write(piece)
		raw = rest
	}
	return d.Sum64()
}

// nextPiece returns the characters at the start of raw up to the next escape. If raw begins with an
// escape, it returns the character that the escape stands for, in buf. rest is what follows in raw.
func nextPiece(raw []byte, buf *[utf8.UTFMax]byte) (piece, rest []byte) {
	if raw[0] != '\\' {
		n := bytes.IndexByte(raw, '\\')
		if n < 0 {
			n = len(raw)
		}
		return raw[:n], raw[n:]
	}
	if raw[1] != 'u' {
		buf[0] = unescaped[raw[1]]
		return buf[:1], raw[2:]
	}
	r, n := decodeU(raw)
	return buf[:utf8.EncodeRune(buf[:], r)], raw[n:]
}
