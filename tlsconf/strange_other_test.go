//go:build !unix

package tlsconf

import (
	"os"
	"testing"
)

// strangeFiles returns what may stand in the place of a file by mistake.
func strangeFiles(*testing.T) map[string]func(name string) error {
	return map[string]func(name string) error{
		"a directory": func(name string) error { return os.Mkdir(name, 0o700) },
	}
}
