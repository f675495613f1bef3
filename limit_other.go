//go:build !unix

package main

// descriptorLimit is not known on this system.
func descriptorLimit() int { return 0 }
