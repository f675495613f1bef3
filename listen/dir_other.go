//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package listen

import "context"

// checkWritable returns nil: here only an attempt to write can tell.
func checkWritable(string) error { return nil }

// lock does nothing here.
func lock(context.Context, string) (unlock func(), err error) { return func() {}, nil }
