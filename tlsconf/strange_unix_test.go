//go:build unix

package tlsconf

import (
	"os"
	"syscall"
	"testing"
)

// strangeFiles returns what may stand in the place of a file by mistake.
func strangeFiles(*testing.T) map[string]func(name string) error {
	return map[string]func(name string) error{
		"a pipe":      func(name string) error { return syscall.Mkfifo(name, 0o600) },
		"a directory": func(name string) error { return os.Mkdir(name, 0o700) },
		"a file of 3 GB": func(name string) error {
			if err := os.WriteFile(name, nil, 0o600); err != nil {
				return err
			}
			return os.Truncate(name, 3<<30)
		},
	}
}
