package lumberjack

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"strings"

	"linesplit/internal/stranger"
)

const (
	ackSize = 6
	// ackBuffer is the size of a buffer for acknowledgements, in bytes. It also limits how much of
	// what another protocol says is kept for the error.
	ackBuffer = 512
)

// AckReader reads acknowledgements.
type AckReader struct{ in *bufio.Reader }

// NewAckReader returns a reader of the acknowledgements in r. It reads ahead.
func NewAckReader(r io.Reader) *AckReader { return &AckReader{bufio.NewReaderSize(r, ackBuffer)} }

// Next returns the sequence number of the next acknowledgement. Its error is that of the reader,
// io.ErrUnexpectedEOF for an end within an acknowledgement, or says what came in place of one.
// After a timeout, Next can be called again: it has lost nothing.
func (a *AckReader) Next() (seq uint32, err error) {
	frame, err := a.in.Peek(ackSize)
	if known := min(len(frame), len(beginsAck)); string(frame[:known]) != beginsAck[:known] {
		return 0, a.strange()
	}
	if err == io.EOF && len(frame) > 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return 0, err
	}
	seq = binary.BigEndian.Uint32(frame[len(beginsAck):])
	a.in.Discard(ackSize)
	return seq, nil
}

// strange returns an error about what came in place of an acknowledgement.
func (a *AckReader) strange() error {
	said, _ := a.in.Peek(a.in.Buffered())
	text := strings.Replace(stranger.Quote(said), "write tls://", "write lumberjack+tls://", 1)
	if stranger.Hint(said) == "" && strings.HasPrefix(string(said), "1") {
		text += ": it speaks version 1 of the protocol"
	}
	return fmt.Errorf("no acknowledgement of Lumberjack v2 begins with %s", text)
}
