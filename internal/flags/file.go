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

// byteOrderMark is the first character of files that some editors on Windows write.
const byteOrderMark = "\ufeff"

// parseFile reads lines "key value" for all options that are not set yet. It records faults of keys
// and values. The error is about the whole file.
func (s *Set) parseFile(path string) error {
	data, err := readSettings(path)
	if err != nil {
		return err
	}
	s.now = FromFile
	seen := map[*setting]int{} // the last line of each option
	number := 0
	for line := range bytes.Lines(data) {
		number++
		err := ff.PlainParser(bytes.NewReader(withoutTabs(line)), func(key, value string) error {
			if fault := s.setFromFile(key, value, number, seen); fault != "" {
				s.AddError(fmt.Errorf("%s:%d: %s", path, number, fault))
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("line %d: %w", number, err)
		}
	}
	return nil
}

// withoutTabs replaces the tab after the key and tabs before a comment by spaces, since ff's parser
// knows only spaces. Tabs within a value stay. It changes line and returns a part of it.
func withoutTabs(line []byte) []byte {
	line = bytes.TrimSpace(line)
	if i := bytes.IndexAny(line, " \t"); i >= 0 {
		line[i] = ' '
	}
	return bytes.ReplaceAll(line, []byte("\t#"), []byte(" #"))
}

// setFromFile stores the key and value of one line. It returns the fault of the line, or "".
func (s *Set) setFromFile(key, value string, line int, seen map[*setting]int) (fault string) {
	known := s.byKey[key]
	if s.ignore && known == nil {
		return ""
	}
	if fault := s.checkKey(key, value); fault != "" {
		return fault
	}
	if first := seen[known]; first > 0 && !known.Many {
		return fmt.Sprintf("key %s more than once, first on line %d: leave one of them", quote(known.Name), first)
	}
	seen[known] = line
	if known.source == FromDefault || known.source == FromFile {
		known.Set(value)
		known.lines = append(known.lines, line)
	}
	return ""
}

// readSettings returns the content of a file of lines "key value".
func readSettings(path string) ([]byte, error) {
	data, err := readText(path)
	if err != nil {
		return nil, err
	}
	number := 0
	for line := range bytes.Lines(data) {
		number++
		if n := len(bytes.TrimSuffix(line, []byte("\n"))); n > maxFileLine {
			return nil, fmt.Errorf("line %d has %d bytes: the limit is %d", number, n, maxFileLine)
		}
	}
	return data, nil
}

// readText returns the content of a file without its byte order mark.
func readText(path string) ([]byte, error) {
	data, _, err := regfile.Read(path, maxFile)
	if err != nil {
		return nil, err
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	if bytes.HasPrefix(data, []byte("\xff\xfe")) || bytes.HasPrefix(data, []byte("\xfe\xff")) {
		return nil, errors.New("the text is UTF-16: save it as UTF-8")
	}
	return data, nil
}

// checkKey returns the fault of a line "key value", or "".
func (s *Set) checkKey(key, value string) (fault string) {
	switch known := s.byKey[key]; {
	case strings.ContainsAny(key, "=:"):
		return "unknown key " + quote(key) + spaceHint
	case key == "help": // which byKey lacks, see New
		return misplaced(key)
	case known == nil:
		return "unknown key " + quote(key) + s.suggest(strings.TrimLeft(key, "-"), "")
	case value == "=" || strings.HasPrefix(value, "= ") || strings.HasPrefix(value, ": "):
		return fmt.Sprintf("key %s with the value %s", quote(key), quote(value)) + spaceHint
	case known.Name == s.fileFlag || known.CommandLine:
		return misplaced(key)
	case value == "true" && !known.isBool(): // ff's value for a key that stands alone
		return fmt.Sprintf("key %s without a value: write %s %s", quote(key), known.Name, known.Arg)
	}
	return ""
}

// misplaced returns the fault of a key that only the command line can set.
func misplaced(key string) string {
	return "misplaced key " + quote(key) + ": it is for the command line only"
}

const spaceHint = ": write key and value with a space between them and no sign, as in port 9000; " +
	"a file with key = \"value\" has a name that ends in .toml"
