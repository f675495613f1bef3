// Package testrig starts what an integration test needs, and ends it with the test: the built
// linesplit with its metrics, senders of numbered lines, targets that behave and misbehave, and a
// tally of what the receiving applications have read.
//
// A line counts as received when the application behind a target has read it. Bytes that are in a
// kernel's buffer when a target dies have not been received, and a fragment without its newline is
// not a line.
//
// It needs Linux, because it reads /proc and relies on how that kernel ends connections.
package testrig
