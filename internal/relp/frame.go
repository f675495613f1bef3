package relp

import "strconv"

const (
	// MaxNumber is the largest transaction number. The first one is 1.
	MaxNumber = 999_999_999
	// MaxData is the most bytes of data that a frame can have. Peers usually take far less.
	MaxData = 999_999_999

	maxDigits  = 9  // of a number
	maxCommand = 32 // letters
)

// Frame is a command, a response or a hint.
type Frame struct {
	Number  uint32 // transaction number; 0: a hint
	Command string
	Data    []byte
}

// Next returns the transaction number that follows n.
func Next(n uint32) uint32 {
	if n >= MaxNumber {
		return 1
	}
	return n + 1
}

// Append appends a frame to b. The number is at most MaxNumber, the command consists of 1 to 32
// ASCII letters, and data has at most MaxData bytes.
func Append(b []byte, number uint32, command string, data []byte) []byte {
	b = appendHeader(b, number, command, len(data))
	if len(data) > 0 {
		b = append(b, ' ')
		b = append(b, data...)
	}
	return append(b, '\n')
}

func appendHeader(b []byte, number uint32, command string, size int) []byte {
	b = strconv.AppendUint(b, uint64(number), 10)
	b = append(b, ' ')
	b = append(b, command...)
	b = append(b, ' ')
	return strconv.AppendInt(b, int64(size), 10)
}
