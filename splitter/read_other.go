//go:build !unix

package splitter

// fdReader is not available here: all connections are read through their Read method.
type fdReader struct{}

func (*fdReader) init(*conn) bool { return false }
