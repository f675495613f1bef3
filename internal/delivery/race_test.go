//go:build race

package delivery

// defaultSeeds is the number of seeds that a test simulates. The race detector makes each take
// eight times as long, and most of a simulation is one goroutine.
const defaultSeeds = 40
