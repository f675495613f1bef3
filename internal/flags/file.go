package flags

import (
	"bytes"
	"fmt"
	"io"
	"strings"

	"github.com/peterbourgon/ff/v3"
)

// Bounds of a settings file, in bytes.
const (
	maxFile     = 1 << 20
	maxFileLine = 64<<10 - 1 // ff's parser takes a longer line for the end of the file
)

// readFile parses lines "key value" for ff. Unknown keys, and faults that ff's plain parser
// accepts, are recorded.
func (s *Set) readFile(r io.Reader, set func(name, value string) error) error {
	s.now = FromFile
	data, err := io.ReadAll(io.LimitReader(r, maxFile+1))
	if err != nil {
		return err
	}
	if len(data) > maxFile {
		return fmt.Errorf("more than %d bytes: not a settings file", maxFile)
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		if len(line) > maxFileLine {
			return fmt.Errorf("line %d has %d bytes: the limit is %d", i+1, len(line), maxFileLine)
		}
	}
	return ff.PlainParser(bytes.NewReader(data), func(key, value string) error {
		if s.ignore && s.withKey(key) == nil {
			return nil
		}
		if fault, hint := s.checkKey(key, value); fault != "" {
			s.AddError(fmt.Errorf("%s in the file %s%s", fault, s.Text(s.fileFlag), hint))
			return nil
		}
		return set(key, value)
	})
}

func (s *Set) checkKey(key, value string) (fault, hint string) {
	switch known := s.withKey(key); {
	case strings.ContainsAny(key, "=:\t"):
		return fmt.Sprintf("unknown key %q", key), ": put a space between key and value, as in port 9000"
	case known == nil:
		return fmt.Sprintf("unknown key %q", key), s.suggest(strings.TrimLeft(key, "-"), "")
	case known.Name == s.fileFlag || known.Name == "version":
		return fmt.Sprintf("misplaced key %q", key), ": it is for the command line only"
	case value == "true" && !known.isBool(): // ff's value for a key that stands alone
		return fmt.Sprintf("key %q without a value", key), ""
	}
	return "", ""
}

// withKey returns the setting for a key of the file. ff takes the name of the environment
// variable for a key too.
func (s *Set) withKey(key string) *setting {
	for name, known := range s.byName {
		if key == name || key == EnvName(s.env, name) {
			return known
		}
	}
	return nil
}
