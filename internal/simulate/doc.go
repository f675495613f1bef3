// Package simulate demonstrates a pipeline: it runs senders of realistic log lines on one side of
// it and, on the other, receivers that account for every line.
//
// It knows nothing of linesplit's own packages but linebuf.Count. The caller passes the pipeline
// as a function: internal/cli passes the real one, and tests pass one that loses, tears or repeats
// lines. CrashDemo takes linesplit as a process, which it kills.
package simulate
