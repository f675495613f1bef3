package target

import (
	"fmt"
	"strings"

	"linesplit/internal/regfile"
)

// maxToken is the size of the largest file with a token, in bytes.
const maxToken = 16 << 10

// ReadToken returns the credentials in a file: a scheme with its parameters, such as "Splunk 1a2b"
// or "Basic dXNlcjpwYXNz", or a token alone, whose scheme is Bearer.
func ReadToken(file string) (string, error) {
	data, _, err := regfile.Read(file, maxToken)
	if err != nil {
		return "", fmt.Errorf("token-file %s: %w", file, err)
	}
	value := strings.TrimSpace(string(data))
	switch {
	case value == "":
		return "", fmt.Errorf("token-file %s: it is empty", file)
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return "", fmt.Errorf("token-file %s: it has more than one line", file)
	case !strings.Contains(value, " "):
		value = "Bearer " + value
	}
	return value, nil
}

// CheckToken returns an error if a names a file with a token that cannot be used. It reads the
// file.
func (a Address) CheckToken() error {
	if a.Batching.TokenFile == "" {
		return nil
	}
	_, err := ReadToken(a.Batching.TokenFile)
	return err
}
