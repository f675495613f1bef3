//go:build !linux

package loop

import "errors"

// Supported reports whether this system has event loops. Everything else in this package exists on
// Linux only, except for what is in this file.
const Supported = false

// Group cannot be made on this system.
type Group struct{}

// New returns an error.
func New(int) (*Group, error) { return nil, errors.ErrUnsupported }

// Shutdown does nothing.
func (*Group) Shutdown() {}

// MakeRoom does nothing.
func MakeRoom(int) {}
