package lumberjack

import (
	"bytes"
	"strconv"
)

// Limits of what decoders in use take. They refuse the whole object beyond them.
const (
	// maxDepth is how deep objects and arrays may be nested. serde_json (Vector) takes 127 levels,
	// Jackson (Logstash, Graylog) 1,000.
	maxDepth = 100
	// maxNumber is the length of a number. Jackson takes 1,000 bytes. A number of this length that
	// has no exponent is within the range of float64.
	maxNumber = 300
	// maxName is the length of a member's name. Jackson takes 50,000 characters.
	maxName = 50_000
)

// isObject reports whether text, which is valid UTF-8, is a JSON object (RFC 8259) within the
// limits above.
func isObject(text []byte) bool {
	s := scanner{text: text}
	s.skipSpace()
	if s.peek() != '{' || !s.object(maxDepth) {
		return false
	}
	s.skipSpace()
	return s.at == len(s.text)
}

// scanner checks the syntax of JSON. Its methods move behind what they have found, and report
// whether it was there.
type scanner struct {
	text []byte
	at   int
}

// peek returns the next byte; 0, which begins nothing, at the end.
func (s *scanner) peek() byte {
	if s.at < len(s.text) {
		return s.text[s.at]
	}
	return 0
}

func (s *scanner) skip(c byte) bool {
	if s.peek() != c {
		return false
	}
	s.at++
	return true
}

func (s *scanner) skipSpace() {
	for s.at < len(s.text) {
		switch s.text[s.at] {
		case ' ', '\t', '\r', '\n':
			s.at++
		default:
			return
		}
	}
}

// value finds a value with at most depth levels.
func (s *scanner) value(depth int) bool {
	switch s.peek() {
	case '"':
		_, ok := s.str()
		return ok
	case '{':
		return s.object(depth)
	case '[':
		return s.array(depth)
	case 't':
		return s.word("true")
	case 'f':
		return s.word("false")
	case 'n':
		return s.word("null")
	}
	return s.number()
}

func (s *scanner) word(word string) bool {
	if !bytes.HasPrefix(s.text[s.at:], []byte(word)) {
		return false
	}
	s.at += len(word)
	return true
}

func (s *scanner) object(depth int) bool {
	return s.list('{', '}', depth, func() bool {
		name, ok := s.str()
		if !ok || name > maxName {
			return false
		}
		s.skipSpace()
		if !s.skip(':') {
			return false
		}
		s.skipSpace()
		return s.value(depth - 1)
	})
}

func (s *scanner) array(depth int) bool {
	return s.list('[', ']', depth, func() bool { return s.value(depth - 1) })
}

// list finds what each finds, any number of times with commas between.
func (s *scanner) list(begin, end byte, depth int, each func() bool) bool {
	if depth == 0 || !s.skip(begin) {
		return false
	}
	s.skipSpace()
	if s.skip(end) {
		return true
	}
	for {
		if !each() {
			return false
		}
		s.skipSpace()
		if s.skip(end) {
			return true
		}
		if !s.skip(',') {
			return false
		}
		s.skipSpace()
	}
}

// str finds a string, and returns its length as written.
func (s *scanner) str() (length int, ok bool) {
	if !s.skip('"') {
		return 0, false
	}
	from := s.at
	for s.at < len(s.text) {
		switch c := s.text[s.at]; {
		case plain[c]:
			s.at++
		case c == '"':
			s.at++
			return s.at - 1 - from, true
		case c != '\\' || !s.escape():
			return 0, false
		}
	}
	return 0, false
}

// escape finds an escape, or two that are a surrogate pair.
func (s *scanner) escape() bool {
	s.at++ // the backslash
	c := s.peek()
	s.at++
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	case 'u':
	default:
		return false
	}
	unit, ok := s.hex4()
	switch {
	case !ok || unit >= 0xdc00 && unit < 0xe000:
		return false
	case unit < 0xd800 || unit >= 0xe000:
		return true
	}
	if !s.word(`\u`) {
		return false
	}
	low, ok := s.hex4()
	return ok && low >= 0xdc00 && low < 0xe000
}

// hex4 finds the four digits of an escape.
func (s *scanner) hex4() (unit uint64, ok bool) {
	if len(s.text)-s.at < 4 {
		return 0, false
	}
	for range 4 {
		c := s.text[s.at]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c|0x20 >= 'a' && c|0x20 <= 'f':
			c = c | 0x20 - 'a' + 10
		default:
			return 0, false
		}
		unit = unit<<4 | uint64(c)
		s.at++
	}
	return unit, true
}

func (s *scanner) number() bool {
	from := s.at
	s.skip('-')
	whole := s.digits()
	if len(whole) == 0 || whole[0] == '0' && len(whole) > 1 {
		return false
	}
	if s.skip('.') && len(s.digits()) == 0 {
		return false
	}
	exponent := s.skip('e') || s.skip('E')
	if exponent {
		if !s.skip('+') {
			s.skip('-')
		}
		if len(s.digits()) == 0 {
			return false
		}
	}
	number := s.text[from:s.at]
	if exponent && len(number) <= maxNumber {
		_, err := strconv.ParseFloat(string(number), 64)
		return err == nil
	}
	return len(number) <= maxNumber
}

func (s *scanner) digits() []byte {
	from := s.at
	for s.at < len(s.text) && s.text[s.at] >= '0' && s.text[s.at] <= '9' {
		s.at++
	}
	return s.text[from:s.at]
}
