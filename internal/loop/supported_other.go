//go:build !linux

package loop

// Supported reports whether this system has event loops. Everything else in this package exists on
// Linux only.
const Supported = false
