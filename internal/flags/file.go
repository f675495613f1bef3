package flags

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"github.com/peterbourgon/ff/v3"

	"linesplit/internal/regfile"
)

// Bounds of a settings file, in bytes.
const (
	maxFile     = 1 << 20
	maxFileLine = 64<<10 - 1 // ff's parser takes a longer line for the end of the file
)

// byteOrderMark begins files that some editors on Windows save.
const byteOrderMark = "\ufeff"

// parseFile reads lines "key value" for all options that are not set yet. Unknown keys, and faults
// that ff's plain parser accepts, are recorded.
func (s *Set) parseFile(path string) error {
	data, err := readSettings(path)
	if err != nil {
		return err
	}
	s.now = FromFile
	seen := map[*setting]bool{}
	return ff.PlainParser(bytes.NewReader(data), func(key, value string) error {
		known := s.byKey[key]
		if s.ignore && known == nil {
			return nil
		}
		fault, hint := s.checkKey(key, value)
		if fault == "" && seen[known] && !known.Many {
			fault, hint = fmt.Sprintf("key %s more than once", quote(known.Name)), ": leave one of them"
		}
		if fault != "" {
			s.AddError(fmt.Errorf("%s in the file %s%s", fault, path, hint))
			return nil
		}
		seen[known] = true
		if known.source == FromDefault || known.source == FromFile {
			return known.Set(value)
		}
		return nil
	})
}

// readSettings returns the content of a settings file without its byte order mark.
func readSettings(path string) ([]byte, error) {
	data, _, err := regfile.Read(path, maxFile)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	return data, checkSettings(data)
}

// checkSettings returns an error for content that cannot be a settings file.
func checkSettings(data []byte) error {
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return errors.New("the text is UTF-16: save it as UTF-8")
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if n := len(bytes.TrimSuffix(line, []byte("\n"))); n > maxFileLine {
			return fmt.Errorf("line %d has %d bytes: the limit is %d", number, n, maxFileLine)
		}
	}
	return nil
}

func (s *Set) checkKey(key, value string) (fault, hint string) {
	switch known := s.byKey[key]; {
	case strings.ContainsAny(key, "=:\t"):
		return "unknown key " + quote(key), spaceHint
	case known == nil:
		return "unknown key " + quote(key), s.suggest(strings.TrimLeft(key, "-"), "")
	case value == "=" || strings.HasPrefix(value, "= ") || strings.HasPrefix(value, ": "):
		return fmt.Sprintf("key %s with the value %s", quote(key), quote(value)), spaceHint
	case known.Name == s.fileFlag || known.CommandLine:
		return "misplaced key " + quote(key), ": it is for the command line only"
	case value == "true" && !known.isBool(): // ff's value for a key that stands alone
		return fmt.Sprintf("key %s without a value", quote(key)), ""
	}
	return "", ""
}

const spaceHint = ": put a space between key and value, as in port 9000"
