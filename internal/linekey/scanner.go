package linekey

import (
	"encoding/binary"
	"math/bits"
	"unicode/utf16"
	"unicode/utf8"
)

// scanner reads JSON (RFC 8259). Its methods move at over a piece of JSON, and report whether it is
// valid. A scanner allocates nothing and does not recurse.
type scanner struct {
	b  []byte
	at int // the offset in b of the next byte
}

// peek returns the next byte, or 0 at the end: no NUL byte is valid in JSON.
func (s *scanner) peek() byte {
	if s.at < len(s.b) {
		return s.b[s.at]
	}
	return 0
}

func (s *scanner) skipByte(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) skipSpace() {
	for s.at < len(s.b) && isSpace(s.b[s.at]) {
		s.at++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\n' || c == '\r' }

// plain reports for each byte whether it stands for itself in a string.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return t
}()

// skipPlain returns the index of the first byte of b, from at on, that is not plain; len(b) if
// there is none. It looks at eight bytes at a time.
func skipPlain(b []byte, at int) int {
	const (
		ones  = 0x0101010101010101
		highs = 0x80 * ones
	)
	for len(b)-at >= 8 {
		x := binary.LittleEndian.Uint64(b[at:])
		quote, slash := x^('"'*ones), x^('\\'*ones)
		// Each term has the high bit of the bytes that it is about: those below a blank, and those
		// that are 0. A borrow may mark bytes behind the first of them, too, never before.
		found := ((x - ' '*ones) &^ x) | ((quote - ones) &^ quote) | ((slash - ones) &^ slash)
		if found &= highs; found != 0 {
			return at + bits.TrailingZeros64(found)/8
		}
		at += 8
	}
	for at < len(b) && plain[b[at]] {
		at++
	}
	return at
}

// unescaped has the character that a byte after a backslash stands for; 0 for no valid escape.
var unescaped = [256]byte{'"': '"', '\\': '\\', '/': '/', 'b': '\b', 'f': '\f', 'n': '\n', 'r': '\r', 't': '\t'}

// str reads a string. ok is false if there is no valid one.
func (s *scanner) str() (str jsonString, ok bool) {
	if !s.skipByte('"') {
		return str, false
	}
	b, at := s.b, s.at
	for {
		near := at
		if str.escaped { // where one escape is, the next is mostly near
			for near = min(at+16, len(b)); at < near && plain[b[at]]; {
				at++
			}
		}
		if at == near {
			at = skipPlain(b, at)
		}
		switch {
		case at == len(b):
			return str, false
		case b[at] == '"':
			str.raw = b[s.at:at]
			s.at = at + 1
			return str, true
		case b[at] != '\\':
			return str, false
		}
		str.escaped = true
		switch rest := b[at+1:]; {
		case len(rest) > 0 && unescaped[rest[0]] != 0:
			at += 2
		case len(rest) > 0 && rest[0] == 'u' && hex4(rest[1:]) >= 0: // of a surrogate pair, each half
			at += 6
		default:
			return str, false
		}
	}
}

// hex4 returns the value of the four hexadecimal digits at the start of b, or -1.
func hex4(b []byte) rune {
	if len(b) < 4 {
		return -1
	}
	var r rune
	for _, c := range b[:4] {
		switch {
		case '0' <= c && c <= '9':
			c -= '0'
		case 'a' <= c && c <= 'f':
			c -= 'a' - 10
		case 'A' <= c && c <= 'F':
			c -= 'A' - 10
		default:
			return -1
		}
		r = r<<4 | rune(c)
	}
	return r
}

// decodeU returns the character of the escape \uXXXX, or of a surrogate pair of two, at the start
// of b, and its length. A surrogate alone stands for U+FFFD, as in encoding/json.
func decodeU(b []byte) (r rune, n int) {
	r = hex4(b[2:])
	if !utf16.IsSurrogate(r) {
		return r, 6
	}
	if len(b) >= 12 && b[6] == '\\' && b[7] == 'u' {
		if both := utf16.DecodeRune(r, hex4(b[8:])); both != utf8.RuneError {
			return both, 12
		}
	}
	return utf8.RuneError, 6
}

// skipScalar skips a string, a number, true, false or null.
func (s *scanner) skipScalar() bool {
	switch c := s.peek(); c {
	case '"':
		_, ok := s.str()
		return ok
	case 't':
		return s.skipWord("true")
	case 'f':
		return s.skipWord("false")
	case 'n':
		return s.skipWord("null")
	default:
		return s.skipNumber()
	}
}

func (s *scanner) skipWord(w string) bool {
	if len(s.b)-s.at < len(w) || string(s.b[s.at:s.at+len(w)]) != w {
		return false
	}
	s.at += len(w)
	return true
}

func (s *scanner) skipNumber() bool {
	s.skipByte('-')
	if !s.skipByte('0') && !s.skipDigits() {
		return false
	}
	if s.skipByte('.') && !s.skipDigits() {
		return false
	}
	if s.skipByte('e') || s.skipByte('E') {
		if !s.skipByte('+') {
			s.skipByte('-')
		}
		return s.skipDigits()
	}
	return true
}

func (s *scanner) skipDigits() bool {
	from := s.at
	for c := s.peek(); '0' <= c && c <= '9'; c = s.peek() {
		s.at++
	}
	return s.at > from
}

// atEndOfValue reports whether the value of a member may end at s.at. At the end of the line it may
// not: a number could have been cut off there.
func (s *scanner) atEndOfValue() bool {
	c := s.peek()
	return isSpace(c) || c == ',' || c == '}'
}

// maxDepth is how deep objects and arrays before the key may be nested.
const maxDepth = 512

// nesting has a bit for each level of nesting: 1 for an object, 0 for an array.
type nesting [maxDepth / 64]uint64

func (n *nesting) set(level int, object bool) {
	bit := uint64(1) << (level % 64)
	n[level/64] &^= bit
	if object {
		n[level/64] |= bit
	}
}

func (n *nesting) isObject(level int) bool { return n[level/64]>>(level%64)&1 == 1 }

// skipValue skips a value and the white space before it.
func (s *scanner) skipValue() bool {
	s.skipSpace()
	if c := s.peek(); c != '{' && c != '[' {
		return s.skipScalar()
	}
	return s.skipContainer()
}

// skipContainer skips an object or an array with its content.
func (s *scanner) skipContainer() bool {
	var in nesting
	for depth := 0; ; {
		// A value begins at s.at.
		s.skipSpace()
		switch c := s.peek(); c {
		case '{', '[':
			if depth == maxDepth {
				return false
			}
			s.at++
			object := c == '{'
			in.set(depth, object)
			depth++
			s.skipSpace()
			if !s.skipByte(c + 2) { // '{' and '}', '[' and ']' are two apart
				if object && !s.skipName() {
					return false
				}
				continue
			}
			depth--
		default:
			if !s.skipScalar() {
				return false
			}
		}
		// A value has ended at s.at.
		if depth = s.closeLevels(&in, depth); depth <= 0 {
			return depth == 0
		}
	}
}

// closeLevels moves from the end of a value to the start of the next one, in the same object or
// array or in one around it. It returns the depth there, 0 at the end of the outermost value, and
// -1 if the JSON is not valid.
func (s *scanner) closeLevels(in *nesting, depth int) int {
	for depth > 0 {
		object := in.isObject(depth - 1)
		s.skipSpace()
		switch c := s.peek(); {
		case c == ',':
			s.at++
			if s.skipSpace(); object && !s.skipName() {
				return -1
			}
			return depth
		case object && c == '}', !object && c == ']':
			s.at++
			depth--
		default:
			return -1
		}
	}
	return 0
}

// skipName skips the name of a member and the colon.
func (s *scanner) skipName() bool {
	if _, ok := s.str(); !ok {
		return false
	}
	s.skipSpace()
	return s.skipByte(':')
}
