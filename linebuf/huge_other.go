//go:build !linux

package linebuf

func adviseHuge([]byte) {}
