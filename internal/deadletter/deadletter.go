// Package deadletter keeps lines that no target takes in a file, with the reasons.
package deadletter

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"
	"unicode/utf8"
)

// ErrFull is the error of Append when the file has its full size.
var ErrFull = errors.New("the dead-letter file is full")

// File is a file of lines in JSON, one object each:
//
//	{"time":"2026-01-02T03:04:05Z","target":"http://a:80/x","answer":"400 Bad Request","line":"…"}
//
// A line that is no UTF-8 stands in "base64" in place of "line". Another program may move the file
// away at any time: the next lines begin a new one. A File is safe for concurrent use.
type File struct {
	name string
	most int64

	mu   sync.Mutex // guards the field below
	file *os.File   // nil: it could not be opened again
}

// Letter is a line and what the target has answered.
type Letter struct {
	Line   []byte // without its newline
	Answer string
}

// Open opens a file of at most most bytes to append to, and makes it with mode 0600 if it is
// missing. The caller calls Close.
func Open(name string, most int64) (*File, error) {
	f := &File{name: name, most: most}
	if _, err := f.openLocked(); err != nil { // f is not shared yet
		return nil, err
	}
	return f, nil
}

// openLocked opens the file, and returns its size.
func (f *File) openLocked() (int64, error) {
	file, err := os.OpenFile(f.name, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600) // a pipe must not wait for its reader
	if err != nil {
		return 0, fmt.Errorf("open the dead-letter file: %w", err)
	}
	info, err := file.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no regular file", f.name)
	}
	if err != nil {
		file.Close()
		return 0, fmt.Errorf("open the dead-letter file: %w", err)
	}
	f.file = file
	return info.Size(), nil
}

// Close closes the file.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.file == nil {
		return nil
	}
	return f.file.Close()
}

// record is a line of the file.
type record struct {
	Time   time.Time `json:"time"`
	Target string    `json:"target"`
	Answer string    `json:"answer"`
	Line   *string   `json:"line,omitempty"`
	Base64 []byte    `json:"base64,omitempty"`
}

// Append writes letters for a target, and makes them durable. It returns how many are in the file.
// The error is ErrFull if the others have no room.
func (f *File) Append(target string, letters []Letter) (written int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	size, err := f.sizeLocked()
	for err == nil && written < len(letters) {
		var out []byte
		var n int
		if out, n, err = encode(target, letters[written:], f.most-size); n > 0 {
			if writeErr := f.writeLocked(out, size); writeErr != nil {
				return written, writeErr
			}
			size += int64(len(out))
			written += n
		}
	}
	if written > 0 {
		if syncErr := f.file.Sync(); syncErr != nil {
			return written, syncErr
		}
	}
	return written, err
}

// chunk is how many bytes are written at a time, but for a single letter.
const chunk = 64 << 10

// encode returns the first letters in the form of the file, and how many they are. The error is
// ErrFull if the next one has no room within most bytes.
func encode(target string, letters []Letter, most int64) (out []byte, n int, err error) {
	now := time.Now().UTC()
	for _, l := range letters {
		r := record{Time: now, Target: target, Answer: l.Answer}
		if utf8.Valid(l.Line) {
			line := string(l.Line)
			r.Line = &line
		} else {
			r.Base64 = l.Line
		}
		text, err := json.Marshal(r)
		if err != nil {
			return nil, 0, fmt.Errorf("dead letter: %w", err)
		}
		if int64(len(out)+len(text)+1) > most {
			return out, n, ErrFull
		}
		out = append(append(out, text...), '\n')
		if n++; len(out) >= chunk {
			break
		}
	}
	return out, n, nil
}

// writeLocked writes at the end of the file, all or nothing.
func (f *File) writeLocked(out []byte, size int64) error {
	n, err := f.file.Write(out)
	if err != nil && n > 0 {
		err = errors.Join(err, f.file.Truncate(size)) // no part of a line stays
	}
	return err
}

// sizeLocked returns the size of the file, which it opens again if it is not the one by that name
// any more.
func (f *File) sizeLocked() (int64, error) {
	if f.file != nil {
		now, err := f.file.Stat()
		if err != nil {
			return 0, err
		}
		if named, err := os.Stat(f.name); err == nil && os.SameFile(now, named) {
			return now.Size(), nil
		}
		f.file.Close()
		f.file = nil
	}
	return f.openLocked()
}
