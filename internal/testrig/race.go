//go:build linux && race

package testrig

// Race reports whether this binary was built with the race detector. If it was, linesplit is built
// with it too, and limits on memory do not apply.
const Race = true
