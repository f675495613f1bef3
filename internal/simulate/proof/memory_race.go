//go:build race

package proof

// residentFactor is how many times -memory a proxy may use in all. The race detector keeps several
// bytes for each byte of the heap.
const residentFactor = 24
