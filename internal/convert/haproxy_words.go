package convert

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
)

// wordReader splits a line of HAProxy's configuration into words. Quotes, escapes, comments and
// variables follow "Quoting and escaping" and "Environment variables" of its manual.
type wordReader struct {
	rest  string // of the line
	env   func(string) (string, bool)
	words []string
	word  strings.Builder // the unfinished word
	began bool            // there is an unfinished word, which may be empty
	limit int             // bytes that variables may still add
}

// maxExpansion is the largest number of bytes that the variables of one line may add.
const maxExpansion = 4096

// splitWords returns the words of a line; with an error, those before the fault.
func splitWords(line string, env func(string) (string, bool)) ([]string, error) {
	r := wordReader{rest: line, env: env, limit: maxExpansion}
	for r.rest != "" {
		c := r.rest[0]
		switch {
		case c == '#':
			r.rest = ""
			continue
		case c == ' ' || c == '\t' || c == '\r' || c == '\v' || c == '\f':
			r.endWord()
		case c == '\'':
			if err := r.strongQuotes(); err != nil {
				return r.words, err
			}
			continue
		case c == '"':
			if err := r.weakQuotes(); err != nil {
				return r.words, err
			}
			continue
		case c == '\\':
			if err := r.escape(); err != nil {
				return r.words, err
			}
			continue
		default:
			r.put(c)
		}
		r.rest = r.rest[1:]
	}
	r.endWord()
	return r.words, nil
}

func (r *wordReader) put(c byte) {
	r.word.WriteByte(c)
	r.began = true
}

func (r *wordReader) endWord() {
	if r.began {
		r.words = append(r.words, r.word.String())
	}
	r.word.Reset()
	r.began = false
}

// strongQuotes reads '…', in which every character stands for itself.
func (r *wordReader) strongQuotes() error {
	text, rest, closed := strings.Cut(r.rest[1:], "'")
	if !closed {
		return errors.New("the quote ' is not closed")
	}
	r.word.WriteString(text)
	r.began, r.rest = true, rest
	return nil
}

// weakQuotes reads "…", in which escapes and variables count.
func (r *wordReader) weakQuotes() error {
	r.began, r.rest = true, r.rest[1:]
	for r.rest != "" {
		var err error
		switch c := r.rest[0]; c {
		case '"':
			r.rest = r.rest[1:]
			return nil
		case '\\':
			err = r.escape()
		case '$':
			err = r.variable()
		default:
			r.put(c)
			r.rest = r.rest[1:]
		}
		if err != nil {
			return err
		}
	}
	return errors.New(`the quote " is not closed`)
}

// escape reads an escape: a backslash and what follows it.
func (r *wordReader) escape() error {
	if len(r.rest) < 2 {
		return errors.New(`the line ends with \`)
	}
	c := r.rest[1]
	switch c {
	case ' ', '\\', '#', '\'', '"', '$':
		r.put(c)
	case 'n':
		r.put('\n')
	case 'r':
		r.put('\r')
	case 't':
		r.put('\t')
	case 'x':
		if len(r.rest) < 4 {
			return errors.New(`\x without two hexadecimal digits`)
		}
		n, err := strconv.ParseUint(r.rest[2:4], 16, 8)
		if err != nil {
			return errors.New(`\x without two hexadecimal digits`)
		}
		r.put(byte(n))
		r.rest = r.rest[4:]
		return nil
	default: // not an escape
		r.put('\\')
		r.put(c)
	}
	r.rest = r.rest[2:]
	return nil
}

// variable reads $NAME, ${NAME}, ${NAME-DEFAULT} or ${NAME[*]}, which stands for several words.
func (r *wordReader) variable() error {
	body := r.rest[1:]
	braces := strings.HasPrefix(body, "{")
	if braces {
		body = body[1:]
	}
	n := 0
	for n < len(body) && (body[n] == '_' || isAlnum(body[n])) {
		n++
	}
	if n == 0 && !braces { // a dollar sign by itself
		r.put('$')
		r.rest = r.rest[1:]
		return nil
	}
	name, after := body[:n], body[n:]
	otherwise, hasDefault, list := "", false, false
	if braces {
		inner, rest, closed := strings.Cut(after, "}")
		if !closed || n == 0 {
			return errors.New("${ without a name and }")
		}
		inner, list = strings.CutSuffix(inner, "[*]")
		if otherwise, hasDefault = strings.CutPrefix(inner, "-"); inner != "" && !hasDefault {
			return fmt.Errorf("${%s}: unknown form of a variable", name+inner)
		}
		after = rest
	}
	value, found := r.env(name)
	switch {
	case !found && !hasDefault:
		return fmt.Errorf("the variable %s is not set: set it for linesplit convert", name)
	case !found:
		value = otherwise
	}
	if r.limit -= len(value); r.limit < 0 {
		return fmt.Errorf("its variables stand for more than %d bytes", maxExpansion)
	}
	r.insert(value, list)
	r.rest = after
	return nil
}

// insert adds the value of a variable to the word. If list is set, blanks in it separate words.
func (r *wordReader) insert(value string, list bool) {
	if !list {
		r.word.WriteString(value)
		return
	}
	fields := strings.Fields(value)
	for i, field := range fields {
		r.word.WriteString(field)
		if i < len(fields)-1 {
			r.began = true
			r.endWord()
			r.began = true
		}
	}
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
