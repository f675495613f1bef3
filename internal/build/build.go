// Package build tells which build of linesplit is running.
package build

import "runtime/debug"

// Version returns the version that the linker stamped, or else the one that the Go toolchain
// recorded.
func Version(stamped string) string {
	if stamped != "" {
		return stamped
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}
