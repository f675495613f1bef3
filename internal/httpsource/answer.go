package httpsource

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/dustin/go-humanize/english"
)

// answer is the answer to a request. Its body is JSON, and empty with 200.
type answer struct {
	status int
	retry  bool // the client may send the request again as it is

	// Error says what is wrong, for people.
	Error string `json:"error"`
	// Record is the number of the first bad record, from 1; 0: none is.
	Record int `json:"record,omitempty"`
	// Lines is the number of records in the request, if it was read to its end.
	Lines int `json:"lines,omitempty"`
	// Dropped is how many of them, at most, will not be delivered.
	Dropped int `json:"dropped,omitempty"`
	// Delivered says what becomes of the lines; see the constants.
	Delivered string `json:"delivered"`
}

// What becomes of the lines of a request that is not answered with 200.
const (
	deliveredNone = "none"    // no line was or will be delivered
	deliveredSome = "some"    // those that were not dropped are delivered
	inDoubt       = "unknown" // some or all lines may have been delivered, or may be later
)

// write writes the answer.
func (a answer) write(w http.ResponseWriter) {
	http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)) // an error ends the write, too
	if a.retry {
		w.Header().Set("Retry-After", strconv.Itoa(int(retryAfter.Seconds())))
	}
	if a.status == http.StatusOK {
		w.Header().Set("Content-Length", "0")
		w.WriteHeader(a.status)
		return
	}
	body, err := json.Marshal(a)
	if err != nil {
		panic(err) // it has strings and numbers
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(a.status)
	w.Write(append(body, '\n')) // the client may have gone
}

func refused(status int, text string) answer {
	return answer{status: status, Error: text, Delivered: deliveredNone}
}

// again returns an answer after which the client sends the request again.
func again(status int, delivered, text string) answer {
	return answer{status: status, retry: true, Error: text, Delivered: delivered}
}

// refusal returns the answer for a body that could not be read.
func (c *body) refusal(r *http.Request, err error) answer {
	var long errLong
	var large errTooLarge
	var sent *http.MaxBytesError
	var decode errDecode
	var busy errBusy
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return again(http.StatusRequestTimeout, deliveredNone, "the request has taken too long to arrive")
	case r.Context().Err() != nil: // after any other error of a read, too
		return answer{status: statusGone}
	case errors.As(err, &long):
		a := refused(http.StatusBadRequest, fmt.Sprintf("record %d is longer than %s, with its newline (-max-line)",
			long.record, humanize.IBytes(uint64(c.maxLine))))
		a.Record = long.record
		return a
	case errors.As(err, &large), errors.As(err, &sent):
		return refused(http.StatusRequestEntityTooLarge, fmt.Sprintf("a request may have at most %s, before and after "+
			"decompression: send smaller ones, or raise ?max-request of the listener", humanize.IBytes(uint64(c.max))))
	case errors.Is(err, errEncoding):
		return refused(http.StatusUnsupportedMediaType, fmt.Sprintf("Content-Encoding %.40q is not supported: use gzip, zstd or none",
			r.Header.Get("Content-Encoding")))
	case errors.As(err, &decode):
		a := refused(http.StatusBadRequest, fmt.Sprintf("record %d cannot be decoded as %s: %v", c.position(),
			r.Header.Get("Content-Encoding"), decode.error))
		a.Record = c.position()
		return a
	case errors.As(err, &busy):
		return again(http.StatusTooManyRequests, deliveredNone, "there is no memory for the request at the moment")
	}
	return answer{status: statusGone}
}

// losses returns the answer for lines that are done with, of which some were dropped.
func losses(lines, keyless, others int) answer {
	a := answer{status: http.StatusUnprocessableEntity, Lines: lines, Dropped: min(lines, keyless+others), Delivered: deliveredSome}
	if a.Dropped == lines {
		a.Delivered = deliveredNone
	}
	var why []string
	if keyless > 0 {
		why = append(why, english.Plural(keyless, "line without a key", "lines without a key")+" (-key-missing drop)")
	}
	if others > 0 {
		why = append(why, "up to "+english.Plural(others, "line", "")+" refused by a target, or not possible in its framing")
	}
	a.Error = "not delivered: " + english.OxfordWordSeries(why, "and")
	return a
}
