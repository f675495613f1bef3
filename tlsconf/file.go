package tlsconf

import (
	"errors"
	"fmt"
)

// File is the role of a file in ServerFiles or ClientFiles.
type File int

// The files of ServerFiles and ClientFiles.
const (
	CertFile File = iota // Cert
	KeyFile              // Key
	CAFile               // CA or ClientCA
	CRLFile              // ClientCRL
)

// FileError is a fault of one file. NewServer and NewClient return one for each fault, joined.
type FileError struct {
	File File
	Name string // of the file; empty: none was given
	Err  error  // the fault without the file's name

	role string // such as "server key"
}

// Error names the role of the file, the file, and the fault.
func (e *FileError) Error() string {
	if e.Name == "" {
		return fmt.Sprintf("tls %s: %v", e.role, e.Err)
	}
	return fmt.Sprintf("tls %s %s: %v", e.role, e.Name, e.Err)
}

// Unwrap returns the fault.
func (e *FileError) Unwrap() error { return e.Err }

// FileErrors splits err, which may join several errors, into FileErrors and others.
func FileErrors(err error) (files []*FileError, others []error) {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		for _, e := range joined.Unwrap() {
			f, o := FileErrors(e)
			files, others = append(files, f...), append(others, o...)
		}
		return files, others
	}
	if f, ok := errors.AsType[*FileError](err); ok {
		return []*FileError{f}, nil
	}
	return nil, []error{err}
}

// source is a file to read.
type source struct {
	file File
	role string // such as "server key"
	name string // empty: none was given
}

// fault returns a FileError about the file.
func (s source) fault(format string, args ...any) error {
	return &FileError{File: s.file, Name: s.name, Err: fmt.Errorf(format, args...), role: s.role}
}
