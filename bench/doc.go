// Command bench measures linesplit as a whole process, beside HAProxy and beside no proxy at all, in one run on one machine:
//
//	go run ./bench                    # about ten minutes
//	go run ./bench -quick             # one minute, to see that all works
//	go run ./bench -only latency -reps 9
//
// Senders and sinks are processes of their own: this program again, with a role as its first argument (send, sink, latency, idle).
// They are much cheaper than what they measure. Contenders take turns within each repetition, so that a machine that
// grows slow or fast in between does so for all of them; figures are medians with the range beside them.
//
// Everything happens on the loopback. HAProxy is used if it is on PATH, and nothing is ever downloaded.
package main
