package relp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
)

const (
	// growBy is how many bytes of memory a long frame gets at first. A header alone, which may
	// announce a gigabyte, reserves no more.
	growBy = 16 << 10
	// keepLong is the most bytes of memory that a Reader keeps for the next long frame.
	keepLong = 256 << 10
)

// ErrTooLong is in the error about a frame with more data than the limit of its Reader.
var ErrTooLong = errors.New("too much data")

// Reader reads frames. It allocates only for frames that are longer than the buffer of its
// bufio.Reader, and for unknown commands.
type Reader struct {
	// Charge is called with the number of bytes before the memory of a long frame grows, and with a
	// negative number after it was released. An error of the former is that of Next. It may be nil.
	Charge func(n int) error

	r       *bufio.Reader
	limit   int    // bytes of data in a frame
	charged int    // bytes
	long    []byte // data of the last frame that did not fit into the buffer of r
	skip    int    // bytes of data of the last frame, if it was too long; they are still to be read
}

// NewReader returns a Reader of frames with at most limit bytes of data.
func NewReader(r *bufio.Reader, limit int) *Reader {
	return &Reader{r: r, limit: min(limit, MaxData)}
}

// Next reads a frame, whose data is valid until the next call. It returns io.EOF if the stream ends
// before the frame, and an error with io.ErrUnexpectedEOF if it ends within it.
//
// An error with ErrTooLong comes with a frame without data. The next call skips the data and reads
// the frame behind it. Other errors are final: the Reader has lost its place in the stream.
func (r *Reader) Next() (Frame, error) {
	if cap(r.long) > keepLong {
		r.Release()
	}
	if err := r.skipData(); err != nil {
		return Frame{}, fmt.Errorf("RELP frame: %w", err)
	}
	if _, err := r.r.Peek(1); err != nil {
		return Frame{}, err
	}
	f, err := r.frame()
	switch {
	case err == nil:
		return f, nil
	case !errors.Is(err, ErrTooLong):
		f = Frame{}
	}
	return f, fmt.Errorf("RELP frame: %w", err)
}

func (r *Reader) frame() (f Frame, err error) {
	number, end, err := r.number("the transaction number")
	if err != nil {
		return Frame{}, err
	}
	if end != ' ' {
		return Frame{}, fmt.Errorf("%q instead of a space after the transaction number", end)
	}
	f.Number = number
	if f.Command, err = r.command(); err != nil {
		return Frame{}, err
	}
	size, end, err := r.number("the length of the data")
	switch {
	case err != nil:
		return Frame{}, err
	case size == 0 && end != '\n':
		return Frame{}, fmt.Errorf("%q instead of a line feed after the length 0 of the data", end)
	case size == 0:
		return f, nil
	case end != ' ':
		return Frame{}, fmt.Errorf("%q instead of a space after the length of the data", end)
	case int(size) > r.limit:
		r.skip = int(size)
		return f, fmt.Errorf("%w: %d bytes, and the limit is %d", ErrTooLong, size, r.limit)
	}
	f.Data, err = r.data(int(size))
	return f, err
}

// number reads a number and the byte after it.
func (r *Reader) number(what string) (n uint32, end byte, err error) {
	for digits := 0; ; digits++ {
		c, err := r.r.ReadByte()
		switch {
		case err != nil:
			return 0, 0, within(what, err)
		case c >= '0' && c <= '9' && digits == maxDigits:
			return 0, 0, fmt.Errorf("%s has more than %d digits", what, maxDigits)
		case c >= '0' && c <= '9':
			n = 10*n + uint32(c-'0')
		case digits == 0:
			return 0, 0, fmt.Errorf("%s begins with %q instead of a digit", what, c)
		default:
			return n, c, nil
		}
	}
}

// command reads a command and the space after it.
func (r *Reader) command() (string, error) {
	var name [maxCommand]byte
	for n := 0; ; n++ {
		c, err := r.r.ReadByte()
		switch letter := c|0x20 >= 'a' && c|0x20 <= 'z'; {
		case err != nil:
			return "", within("the command", err)
		case letter && n == maxCommand:
			return "", fmt.Errorf("the command has more than %d letters", maxCommand)
		case letter:
			name[n] = c
		case n == 0:
			return "", fmt.Errorf("the command begins with %q instead of a letter", c)
		case c != ' ':
			return "", fmt.Errorf("%q instead of a space after the command %q", c, string(name[:n]))
		default:
			return known(name[:n]), nil
		}
	}
}

// known returns the command with the given name, without an allocation if it is one of RELP.
func known(name []byte) string {
	for _, command := range [...]string{Respond, Syslog, Open, Close, ServerClose} {
		if string(name) == command {
			return command
		}
	}
	return string(name)
}

// data reads n bytes of data and the line feed after them.
func (r *Reader) data(n int) (data []byte, err error) {
	if n < r.r.Size() {
		if data, err = r.r.Peek(n + 1); err != nil {
			return nil, within("the data", err)
		}
		r.r.Discard(n) // leaves the bytes where they are, since they are in the buffer
		data = data[:n:n]
	} else if data, err = r.longData(n); err != nil {
		return nil, err
	}
	return data, r.end()
}

// Release gives up the memory of the last frame, if that was a long one. Its data is no longer
// valid.
func (r *Reader) Release() {
	r.long = nil
	if r.charged > 0 {
		r.Charge(-r.charged)
		r.charged = 0
	}
}

// Ready reports whether Next has a frame, without reading from below the bufio.Reader. It may
// report the same if Next has an error.
func (r *Reader) Ready() bool {
	rest, _ := r.r.Peek(r.r.Buffered())
	if r.skip > 0 {
		rest = rest[min(len(rest), r.skip+1):] // with the line feed behind it
	}
	for range 2 { // the number and the command
		i := bytes.IndexByte(rest[:min(len(rest), maxCommand+1)], ' ')
		if i < 0 {
			return len(rest) > maxCommand // an error
		}
		rest = rest[i+1:]
	}
	size := 0
	for i, c := range rest {
		switch {
		case (c < '0' || c > '9') && size == 0:
			return true
		case c < '0' || c > '9':
			return len(rest) > i+1+size || size > r.limit
		case i == maxDigits:
			return true // an error
		}
		size = 10*size + int(c-'0')
	}
	return false
}

// longData reads n bytes of data into memory that grows as they come.
func (r *Reader) longData(n int) ([]byte, error) {
	b := r.long[:0]
	for len(b) < n {
		if len(b) == cap(b) {
			more := min(n-len(b), max(growBy, len(b)))
			if r.Charge != nil {
				if err := r.Charge(more); err != nil {
					return nil, err
				}
				r.charged += more
			}
			b = slices.Grow(b, more)
		}
		got, err := io.ReadFull(r.r, b[len(b):min(n, cap(b))])
		b = b[:len(b)+got]
		r.long = b
		if err != nil {
			return nil, within("the data", err)
		}
	}
	return b, nil
}

// skipData reads what is left of a frame that was too long.
func (r *Reader) skipData() error {
	if r.skip == 0 {
		return nil
	}
	n, err := r.r.Discard(r.skip)
	if r.skip -= n; err != nil {
		return within("the data", err)
	}
	return r.end()
}

// end reads the line feed at the end of a frame.
func (r *Reader) end() error {
	c, err := r.r.ReadByte()
	if err != nil {
		return within("the data", err)
	}
	if c != '\n' {
		return fmt.Errorf("%q instead of a line feed after the data", c)
	}
	return nil
}

// within returns the error for a stream that ends, or fails, within a part of a frame.
func within(what string, err error) error {
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("within %s: %w", what, err)
}
