// Package linekey finds the key of a line without decoding the line. Lines with the same key belong
// together: they stay in order and go to one target at a time.
//
// The package returns keys as 64-bit hashes. A key has the same hash in every process and every
// release, so that keys keep their targets when linesplit restarts.
package linekey

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/cespare/xxhash/v2"
)

// Forms lists the forms of a rule that Parse accepts, for error messages and help.
const Forms = "json:PATH, field:N, until:CHAR or connection"

// Rule says where the key of a line is. It is safe for concurrent use.
type Rule struct {
	text  string
	kind  kind
	path  []string // inJSON: the names that lead to the value
	field int      // inField: the number of the field, from 1
	until []byte   // before: the character that ends the key
}

type kind int

const (
	perConnection kind = iota
	inJSON
	inField
	before
)

// Parse reads a rule:
//
//	json:PATH    the value at a path of names, such as json:user.id
//	field:N      the N-th field, from 1, of a line whose fields are separated by blanks
//	until:CHAR   the text before a character; until:space and until:tab name blanks
//	connection   the connection that the line came from
func Parse(text string) (*Rule, error) {
	r := &Rule{text: text}
	form, arg, found := strings.Cut(text, ":")
	var err error
	switch {
	case text == "connection":
		r.kind = perConnection
	case !found:
		return nil, errors.New("write " + Forms)
	case form == "json":
		r.kind = inJSON
		r.path, err = parsePath(arg)
	case form == "field":
		r.kind = inField
		r.field, err = parseField(arg)
	case form == "until":
		r.kind = before
		r.until, err = parseUntil(arg)
	default:
		return nil, errors.New("write " + Forms)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// maxField is the largest number of a field. A larger one is a typing error.
const maxField = 10000

func parseField(arg string) (int, error) {
	n, err := strconv.Atoi(arg)
	if err != nil || n < 1 || n > maxField {
		return 0, fmt.Errorf("write the number of a field, from 1 to %d, such as field:1", maxField)
	}
	return n, nil
}

func parseUntil(arg string) ([]byte, error) {
	switch arg {
	case "space":
		return []byte(" "), nil
	case "tab":
		return []byte("\t"), nil
	}
	r, size := utf8.DecodeRuneInString(arg)
	switch {
	case size == 0 || size < len(arg):
		return nil, errors.New("write one character, or space or tab, such as until:|")
	case r == utf8.RuneError && size == 1:
		return nil, errors.New("the character is not valid UTF-8")
	case r == '\n' || r == '\r':
		return nil, errors.New("a line ends before that character")
	}
	return []byte(arg), nil
}

// String returns the rule as it was given to Parse.
func (r *Rule) String() string { return r.text }

// PerConnection reports whether all lines of a connection have one key, which is not in the line.
func (r *Rule) PerConnection() bool { return r.kind == perConnection }

// Find returns the hash of the key of line, with or without its newline, and whether the line has
// one. With PerConnection no line has one.
func (r *Rule) Find(line []byte) (hash uint64, ok bool) {
	switch r.kind {
	case inJSON:
		return findJSON(line, r.path)
	case inField:
		return findField(trimEnd(line), r.field)
	case before:
		return findBefore(trimEnd(line), r.until)
	}
	return 0, false
}

// HashNumber returns the hash of a key that is a number, such as that of a connection.
func HashNumber(n uint64) uint64 {
	var b [8]byte
	for i := range b {
		b[i] = byte(n >> (8 * i))
	}
	return xxhash.Sum64(b[:])
}

// trimEnd removes the end of the line, LF or CR LF.
func trimEnd(line []byte) []byte {
	line = bytes.TrimSuffix(line, []byte{'\n'})
	return bytes.TrimSuffix(line, []byte{'\r'})
}

func findField(line []byte, n int) (uint64, bool) {
	for at := 0; ; n-- {
		for at < len(line) && isBlank(line[at]) {
			at++
		}
		from := at
		for at < len(line) && !isBlank(line[at]) {
			at++
		}
		switch {
		case from == at:
			return 0, false
		case n == 1:
			return xxhash.Sum64(line[from:at]), true
		}
	}
}

func isBlank(c byte) bool { return c == ' ' || c == '\t' }

func findBefore(line, until []byte) (uint64, bool) {
	var n int
	if len(until) == 1 {
		n = bytes.IndexByte(line, until[0])
	} else {
		n = bytes.Index(line, until)
	}
	if n < 1 {
		return 0, false
	}
	return xxhash.Sum64(line[:n]), true
}
