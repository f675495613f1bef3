//go:build !linux

package loop

import "errors"

// supported reports whether this system has event loops. Of the rest of this package, only this
// file and Shared exist on other systems than Linux.
const supported = false

// Group cannot be made on this system.
type Group struct{}

// New returns an error.
func New(int) (*Group, error) { return nil, errors.ErrUnsupported }

// Shutdown does nothing.
func (*Group) Shutdown() {}

// MakeRoom does nothing.
func MakeRoom(int) {}
