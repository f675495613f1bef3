//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package listen

import "context"

// writable says yes: here only the attempt can tell.
func writable(string) error { return nil }

// lockDir does nothing here.
func lockDir(context.Context, string) (unlock func(), err error) { return func() {}, nil }
