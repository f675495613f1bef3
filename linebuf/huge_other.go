//go:build !linux

package linebuf

// adviseHuge does nothing: only Linux takes the hint.
func adviseHuge([]byte) {}
