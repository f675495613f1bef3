package framing

import "strconv"

const (
	maxDigits = 10 // of a count
	// MaxHeader is the length of the longest count with its space.
	MaxHeader = maxDigits + 1
)

// Header reads the count at the start of b, which is a decimal number without leading zeros, and a
// space. It returns the length of both, and the number that was read: the bytes of the record after
// the space. length is 0 if b ends within the count, and negative if b does not begin with one.
func Header(b []byte) (length int, count int64) {
	for i, c := range b {
		switch {
		case c >= '0' && c <= '9' && i < maxDigits && (i > 0 || c != '0'):
			count = 10*count + int64(c-'0')
		case c == ' ' && i > 0:
			return i + 1, count
		default:
			return -1, 0
		}
	}
	return 0, 0
}

// octetRecord returns the length of the first record of b, with its header, and whether b holds all
// of it.
func octetRecord(b []byte) (size int, whole bool) {
	length, count := Header(b)
	if length <= 0 || count > int64(len(b)-length) {
		return len(b), false
	}
	return length + int(count), true
}

// AppendHeader appends the header of a record of count bytes to b.
func AppendHeader(b []byte, count int) []byte {
	return append(strconv.AppendInt(b, int64(count), 10), ' ')
}

// HeaderSize returns the length of what AppendHeader appends.
func HeaderSize(count int) int {
	n := 2
	for ; count >= 10; count /= 10 {
		n++
	}
	return n
}

// Guess is an answer of Detect.
type Guess uint8

const (
	Undecided Guess = iota // more bytes decide
	Counted                // octet counting
	Delimited              // something else
)

// Detect tells whether a stream that begins with b is syslog with octet counting: a count, a space
// and "<", with which each syslog message begins.
func Detect(b []byte) Guess {
	switch length, _ := Header(b); {
	case length == 0, length > 0 && len(b) == length:
		return Undecided
	case length > 0 && b[length] == '<':
		return Counted
	}
	return Delimited
}
