//go:build !unix

package listen

import (
	"errors"
	"os"
	"syscall"
)

func duplicate(int) (*os.File, error) { return nil, errors.ErrUnsupported }

func controlOf(syscall.Conn, func(fd int) error) error { return errors.ErrUnsupported }
