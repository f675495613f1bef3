package framing

import "strconv"

const maxDigits = 10 // the most digits of a count

// MaxHeader is the length of the longest header, in bytes.
const MaxHeader = maxDigits + 1

// Header reads the header of an octet-counted record at the start of b: a count, which is a decimal
// number without leading zeros, and a space. It returns the length of the header, and the count:
// the number of bytes after the space. length is 0 if b ends within the header, and negative if b
// does not begin with one.
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

// octetRecord returns the length of the first record of b, with its header. If b does not hold all
// of the record, whole is false and size is len(b).
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

// HeaderSize returns the number of bytes that AppendHeader appends.
func HeaderSize(count int) int {
	n := 2
	for ; count >= 10; count /= 10 {
		n++
	}
	return n
}

// Guess is the result of Detect.
type Guess uint8

const (
	Undecided Guess = iota // more bytes are needed
	Counted                // syslog with octet counting
	Delimited              // any other stream
)

// Detect guesses from the first bytes of a stream whether it is syslog with octet counting: then it
// begins with a header, followed by the "<" with which each syslog message begins.
func Detect(b []byte) Guess {
	switch length, _ := Header(b); {
	case length == 0, length > 0 && len(b) == length:
		return Undecided
	case length > 0 && b[length] == '<':
		return Counted
	}
	return Delimited
}
