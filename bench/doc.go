// Command bench measures linesplit as a whole process, beside other proxies and beside no proxy at all, in one run on one machine:
//
//	go run ./bench                    # about a quarter of an hour
//	go run ./bench -quick             # one minute, to see that all works
//	go run ./bench -only latency -reps 9
//	go run ./bench -only bulk,connections,roundtrip,idle-pairs
//
// Line mode (throughput, latency, idle, scale) stands beside HAProxy. Connection mode (bulk, connections, roundtrip, idle-pairs) stands beside HAProxy,
// nginx with its stream module, and a proxy of fifty lines that does nothing but io.Copy: see copyRole.
//
// What sends and what receives are processes of their own: this program again, with a role as its first argument (send, sink, latency, ...).
// They are much cheaper than what they measure. Contenders take turns within each repetition, so that a machine that
// grows slow or fast in between does so for all of them; figures are medians with the range beside them.
//
// Everything happens on the loopback. HAProxy and nginx are used if they are on PATH, and nothing is ever downloaded.
package main
