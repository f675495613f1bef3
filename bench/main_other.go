//go:build !linux

package main

import (
	"fmt"
	"os"
)

func main() {
	fmt.Fprintln(os.Stderr, "bench: reads processor time and memory from /proc, so it needs Linux")
	os.Exit(1)
}
