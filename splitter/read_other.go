//go:build !unix

package splitter

// fdReader has nothing to offer here: all connections are read through their Read method.
type fdReader struct{}

func (*fdReader) init(*conn) bool { return false }
