package discovery

import (
	"strconv"
	"strings"
)

const (
	// maxQuoted bounds what an error quotes of what a program or a server has written, in bytes.
	maxQuoted = 200
	// maxErrorText bounds what the log and the status say about an error, in bytes.
	maxErrorText = 600
)

// errorText returns what the log and the status say about an error. It is one short line, whatever
// a list, a server or a library has put into the error.
func errorText(err error) string { return oneLine(err.Error(), maxErrorText) }

// oneLine returns the beginning of a text, at most so many bytes, as a line that can be printed.
func oneLine(text string, most int) string {
	end := ""
	if len(text) > most {
		text, end = text[:most], "…"
	}
	unprintable := func(r rune) bool { return !strconv.IsPrint(r) || r == ' ' }
	return strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, "?"), unprintable), " ") + end
}
