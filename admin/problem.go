package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is an error in the form of RFC 9457.
type problem struct {
	Type   string   `json:"type"` // problemPrefix and a stable word
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Errors []string `json:"errors,omitempty"` // the single errors, if there are several
}

const problemPrefix = "urn:linesplit:problem:"

func (p *problem) Error() string { return p.Detail }

// newProblem makes a problem from a status, a word for programs, and a sentence for people.
func newProblem(status int, word, format string, args ...any) *problem {
	return &problem{
		Type:   problemPrefix + word,
		Title:  http.StatusText(status),
		Status: status,
		Detail: fmt.Sprintf(format, args...),
	}
}

// controlErrors map the errors of a Control to problems.
var controlErrors = []struct {
	err    error
	status int
	word   string
}{
	{ErrUnknown, http.StatusNotFound, "unknown-target"},
	{ErrExists, http.StatusConflict, "target-exists"},
	{ErrLast, http.StatusConflict, "last-target"},
	{ErrDraining, http.StatusConflict, "draining"},
	{ErrNotRunning, http.StatusConflict, "not-running"},
	{ErrNotInMode, http.StatusConflict, "not-in-mode"},
	{ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
}

// problemOf returns the problem for any error.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, known := range controlErrors {
		if errors.Is(err, known.err) {
			p := newProblem(known.status, known.word, "%v", err)
			p.Errors = joinedTexts(err)
			return p
		}
	}
	return newProblem(http.StatusInternalServerError, "internal", "%v", err)
}

// joinedTexts returns the texts of the errors that err joins, or nil if there is only one.
func joinedTexts(err error) (texts []string) {
	for err != nil {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				if !isSentinel(e) {
					texts = append(texts, errorTexts(e)...)
				}
			}
			break
		}
		err = errors.Unwrap(err)
	}
	if len(texts) < 2 {
		return nil
	}
	return texts
}

func errorTexts(err error) []string {
	if all := joinedTexts(err); all != nil {
		return all
	}
	return []string{err.Error()}
}

// isSentinel reports whether err is one of controlErrors, rather than an error that wraps one.
func isSentinel(err error) bool {
	for _, known := range controlErrors {
		if err == known.err {
			return true
		}
	}
	return false
}

// writeProblem answers with a problem, and with the header that its status requires.
func writeProblem(w http.ResponseWriter, p *problem) {
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="linesplit"`)
	case http.StatusServiceUnavailable, http.StatusTooManyRequests:
		w.Header().Set("Retry-After", "1")
	case http.StatusRequestEntityTooLarge:
		w.Header().Set("Connection", "close") // rather than read the rest
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON answers with value, which must be encodable. It ignores errors of a client that has
// disconnected.
func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
