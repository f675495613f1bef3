//go:build linux && !race

package testrig

// Race says that this binary was built with the race detector. The product is
// then built with it too, and bounds on memory do not apply.
const Race = false
