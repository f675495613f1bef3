package admin

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
)

// problem is an error as RFC 9457 wants it told.
type problem struct {
	Type   string   `json:"type"` // problemPrefix and a word that does not change
	Title  string   `json:"title"`
	Status int      `json:"status"`
	Detail string   `json:"detail"`
	Errors []string `json:"errors,omitempty"` // one each, where there are several
}

const problemPrefix = "urn:linesplit:problem:"

func (p *problem) Error() string { return p.Detail }

// newProblem makes one of a status, a word for programs, and a sentence for people.
func newProblem(status int, word, format string, args ...any) *problem {
	return &problem{
		Type:   problemPrefix + word,
		Title:  http.StatusText(status),
		Status: status,
		Detail: fmt.Sprintf(format, args...),
	}
}

// controlErrors say what the errors of a Control are to clients.
var controlErrors = []struct {
	err    error
	status int
	word   string
}{
	{ErrUnknown, http.StatusNotFound, "unknown-target"},
	{ErrExists, http.StatusConflict, "target-exists"},
	{ErrLast, http.StatusConflict, "last-target"},
	{ErrDraining, http.StatusConflict, "draining"},
	{ErrNotInMode, http.StatusConflict, "not-in-mode"},
	{ErrInvalid, http.StatusUnprocessableEntity, "invalid"},
}

// problemOf turns any error into a problem.
func problemOf(err error) *problem {
	if p, ok := errors.AsType[*problem](err); ok {
		return p
	}
	for _, known := range controlErrors {
		if errors.Is(err, known.err) {
			p := newProblem(known.status, known.word, "%v", err)
			p.Errors = parts(err)
			return p
		}
	}
	return newProblem(http.StatusInternalServerError, "internal", "%v", err)
}

// parts returns the texts of the errors that err joins; nil if there is just one.
func parts(err error) (texts []string) {
	for err != nil {
		if joined, ok := err.(interface{ Unwrap() []error }); ok {
			for _, e := range joined.Unwrap() {
				if !isSentinel(e) {
					texts = append(texts, leaves(e)...)
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

func leaves(err error) []string {
	if all := parts(err); all != nil {
		return all
	}
	return []string{err.Error()}
}

// isSentinel says whether err is itself, and does not only wrap, an error that says of which kind others are.
func isSentinel(err error) bool {
	for _, known := range controlErrors {
		if err == known.err {
			return true
		}
	}
	return false
}

// writeProblem answers with a problem, and with the header that its status calls for.
func writeProblem(w http.ResponseWriter, p *problem) {
	switch p.Status {
	case http.StatusUnauthorized:
		w.Header().Set("WWW-Authenticate", `Bearer realm="linesplit"`)
	case http.StatusServiceUnavailable:
		w.Header().Set("Retry-After", "1")
	}
	writeJSON(w, p.Status, "application/problem+json", p)
}

// writeJSON is for what surely can be encoded. That the client has gone is no concern of ours.
func writeJSON(w http.ResponseWriter, status int, contentType string, value any) {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}
