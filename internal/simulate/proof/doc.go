// Package proof runs named fault scenarios against a proxy for lines, and accounts for every line
// that was sent through it.
//
// Senders and targets run in this process. The proxy is a process of its own, started from a
// command template, so that any proxy can be tested. A scenario starts what it needs and lets
// traffic flow. Then it causes a fault: a target is killed with data unread, all targets stall,
// or the proxy gets SIGTERM or SIGKILL. It waits until no lines are in flight, ends the proxy, and
// compares what the senders' kernels accepted with what the applications behind the targets have
// read.
//
// A scenario that could not stage its fault proves nothing, and reports that: for example, a
// crash with nothing unread.
package proof
