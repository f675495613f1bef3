// Package simulate holds the other ends of a pipeline: senders of realistic log lines, receivers that account
// for every one of them, and the demonstration that puts both around linesplit.
//
// It knows nothing of linesplit's own packages but linebuf.Count. The pipeline comes in as a function, so that what is shown is
// what main wires, and so that the tests can put a pipeline in its place that loses, tears or repeats lines.
package simulate
