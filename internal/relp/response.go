package relp

import (
	"bytes"
	"fmt"
	"strconv"
)

// OK is the status of a response to a command that has succeeded. Any other one is an error; peers
// use 500.
const OK = 200

// maxText is the most bytes of text that a response may have.
const maxText = 80

// Response is the data of a frame with the command Respond.
type Response struct {
	Status int    // three digits
	Text   []byte // for people
	Data   []byte // depends on the command; for Open it is the offer that the server accepts
}

// AppendResponse appends a frame with a response to the command that has the number. The status has
// three digits. Text after the first 80 bytes is left out, and line feeds in it become spaces.
func AppendResponse(b []byte, number uint32, status int, text string, data []byte) []byte {
	text = text[:min(len(text), maxText)]
	size := len("200")
	if text != "" {
		size += len(" ") + len(text)
	}
	if len(data) > 0 {
		size += len("\n") + len(data)
	}
	b = appendHeader(b, number, Respond, size)
	b = append(b, ' ')
	b = strconv.AppendInt(b, int64(status), 10)
	if text != "" {
		b = append(b, ' ')
		b = append(b, text...)
		for i := len(b) - len(text); i < len(b); i++ {
			if b[i] == '\n' {
				b[i] = ' '
			}
		}
	}
	if len(data) > 0 {
		b = append(b, '\n')
		b = append(b, data...)
	}
	return append(b, '\n')
}

// ParseResponse parses the data of a response, which the result refers to. The response to Close
// may have no data, which is an error here.
func ParseResponse(data []byte) (Response, error) {
	if len(data) < 3 {
		return Response{}, fmt.Errorf("RELP response %q has no status", data)
	}
	var r Response
	for _, c := range data[:3] {
		if c < '0' || c > '9' {
			return Response{}, fmt.Errorf("RELP response: %q instead of a status of three digits", data[:3])
		}
		r.Status = 10*r.Status + int(c-'0')
	}
	rest := data[3:]
	if len(rest) > 0 && rest[0] != ' ' && rest[0] != '\n' {
		return Response{}, fmt.Errorf("RELP response: %q instead of a space or a line feed after the status %d",
			rest[0], r.Status)
	}
	r.Text, r.Data, _ = bytes.Cut(rest, []byte{'\n'})
	r.Text = bytes.TrimPrefix(r.Text, []byte{' '})
	return r, nil
}
