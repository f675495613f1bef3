// Package testrig is what the integration tests stand on: senders of numbered lines,
// targets that behave and misbehave, a tally of what the receiving application
// has read, and a linesplit process with its metrics.
//
// A line counts as received when the application behind a target has read it.
// Bytes that lie in a kernel's buffer when a target dies have not been received,
// and a fragment without its newline is not a line.
//
// It needs Linux: it looks into /proc and kills sockets the way that kernel does.
package testrig
