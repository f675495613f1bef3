// Package loop runs event loops over non-blocking sockets, on Linux. It knows nothing of lines or
// connections.
//
// A [Group] has some loops. Each [Loop] is a goroutine with its own epoll instance. All calls of a
// loop's descriptors are non-blocking and go to the kernel without telling the Go scheduler, which
// costs a fraction of what the net package pays for a small read.
//
//	          ┌─────────────── a turn ────────────────┐
//	wait ──▶ handlers that are due ──▶ posted tasks ──▶ timers ──▶ wait
//	            ▲   │ FD.Again
//	            └───┘ in the next turn
//
// # The contract
//
// A descriptor ([FD]) belongs to one loop from Adopt to Close. Any goroutine may adopt one into any
// loop. From then on only that loop's goroutine may use the FD: in its handlers, tasks and timers.
//
// Epoll reports edges. A handler has to remember that its descriptor is readable or writable until
// a call returns EAGAIN. No second event comes before that. One exception saves a call: a read from
// a TCP socket that returned less than the buffer holds has emptied the socket, unless PeerEnded
// or Urgent has been among the events; the next byte causes an event.
//
// A handler does a bounded amount of work, such as one read, and then calls Again if there is more.
// Handlers run first in, first out, each at most once a turn. This quantum is the fairness among
// connections.
//
// Nothing that may block runs on a loop: no channel operation without default, no lock that another
// goroutine holds for long, no file, no name lookup. Such work belongs in a goroutine that posts
// its result with Post.
//
// A successful Adopt hands the descriptor over to the FD; its Close, Reset and Release end that. No
// handler is called for a descriptor after Close returns, also not for events that the kernel has
// reported before, and also not when the kernel gives its number to another one: each registration
// has a generation, and events carry it.
//
// # Waiting
//
// A loop that has nothing to do waits in the kernel for some milliseconds without telling the
// scheduler, and then in an ordinary system call. So it holds a processor (a P, of which there are
// GOMAXPROCS) while traffic comes at short intervals, and none while it is idle. [MakeRoom] adds
// processors for all other goroutines. A loop that holds its processor calls the scheduler every
// few milliseconds, before sysmon would interrupt it by a signal. The collector still interrupts a
// wait, and the loop then takes part in what it wants. A loop never spins.
package loop
