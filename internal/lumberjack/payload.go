package lumberjack

import (
	"bytes"
	"unicode/utf8"
)

// longestEscape is the length of the longest escape for one byte, \u0001.
const longestEscape = 6

// AppendPayload appends the JSON object for a line, which has no newline. A line that is a JSON
// object stays as it is; any other becomes the member "message" of one. In both, each run of bytes
// that is no UTF-8 becomes U+FFFD.
//
// A server ends the connection at an object that its decoder refuses, and would do so each time
// that it gets the line again. So an object that decoders in use refuse becomes a message, too: one
// with deep nesting, a long name, a number beyond the range of float64 or half of a surrogate pair.
func AppendPayload(b, line []byte) []byte {
	if !utf8.Valid(line) {
		line = bytes.ToValidUTF8(line, []byte("\uFFFD"))
	}
	if isObject(line) {
		return append(b, line...)
	}
	b = append(b, `{"message":"`...)
	b = appendEscaped(b, line)
	return append(b, `"}`...)
}

// appendEscaped appends text, which is valid UTF-8, as the characters of a JSON string.
func appendEscaped(b, text []byte) []byte {
	const hex = "0123456789abcdef"
	from := 0
	for i, c := range text {
		if plain[c] {
			continue
		}
		b = append(b, text[from:i]...)
		from = i + 1
		switch c {
		case '"', '\\':
			b = append(b, '\\', c)
		case '\t':
			b = append(b, `\t`...)
		case '\r':
			b = append(b, `\r`...)
		default:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		}
	}
	return append(b, text[from:]...)
}

// plain has true for the bytes that stand for themselves in JSON strings (RFC 8259, section 7).
var plain = func() (table [256]bool) {
	for c := range table {
		table[c] = c >= ' ' && c != '"' && c != '\\'
	}
	return table
}()
