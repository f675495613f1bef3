// Package regfile reads small files that others may replace at any time: configuration,
// certificates, tokens. What stands in their place may be a pipe, which waits for its writer, a
// directory, a file of gigabytes, or a file on a disk that does not answer. None of these holds up
// a caller for long.
package regfile

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"
)

// Read returns the content of a regular file of at most limit bytes, and its state from before it
// was read. Errors do not contain the name.
func Read(name string, limit int64) ([]byte, fs.FileInfo, error) {
	type content struct {
		data []byte
		info fs.FileInfo
	}
	c, err := within(name, func(begin func(fs.FileInfo) error) (content, error) {
		data, info, err := read(name, limit, begin)
		return content{data, info}, err
	})
	return c.data, c.info, err
}

func read(name string, limit int64, begin func(fs.FileInfo) error) ([]byte, fs.FileInfo, error) {
	info, err := os.Stat(name) // before opening: that could already do something to a device
	if err == nil {
		err = check(info, limit)
	}
	if err == nil {
		err = begin(info)
	}
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	f, err := os.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0) // a pipe since then must not wait for its writer
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	defer f.Close()
	if info, err = f.Stat(); err == nil {
		err = check(info, limit)
	}
	if err != nil {
		return nil, nil, withoutPath(err)
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	switch {
	case err != nil:
		return nil, nil, withoutPath(err)
	case int64(len(data)) > limit:
		return nil, nil, tooLarge(limit)
	}
	return data, info, nil
}

func check(info fs.FileInfo, limit int64) error {
	switch {
	case !info.Mode().IsRegular():
		return fmt.Errorf("is %s, not a regular file", kind(info.Mode()))
	case info.Size() > limit:
		return tooLarge(limit)
	}
	return nil
}

func tooLarge(limit int64) error {
	return fmt.Errorf("has more than %d bytes, which is too large for what it should be", limit)
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeNamedPipe:
		return "a pipe"
	default:
		return "a device or a socket"
	}
}

func withoutPath(err error) error {
	if pathErr, ok := errors.AsType[*fs.PathError](err); ok {
		return pathErr.Err
	}
	return err
}
