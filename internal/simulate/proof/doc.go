// Package proof runs named fault scenarios against a proxy for lines, and accounts for every line that was sent through it.
//
// Senders and targets run in this process; the proxy is a process of its own, started from a command template, so that any proxy can be
// tried. A scenario starts what it needs, lets traffic flow, does what can go wrong (a target is killed with data unread, all of them stall,
// the proxy gets SIGTERM), waits until nothing more is under way, ends the proxy, and compares what senders' kernels took with what
// the applications behind the targets have read.
//
// A scenario that could not stage its fault proves nothing, and says so: a crash with nothing unread is none.
package proof
