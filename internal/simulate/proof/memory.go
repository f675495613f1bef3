//go:build !race

package proof

// residentFactor is how many times -memory a proxy may use in all: it also has code, stacks and
// garbage.
const residentFactor = 6
