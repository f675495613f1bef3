//go:build !race

package delivery

// defaultSeeds is the number of seeds that a test simulates.
const defaultSeeds = 120
