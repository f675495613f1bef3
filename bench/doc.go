// Command bench measures linesplit as a whole process, beside other proxies and beside no proxy at all, in one run on one machine:
//
//	go run ./bench                    # about 20 minutes
//	go run ./bench -quick             # two minutes, to see that all works
//	go run ./bench -only latency -reps 9
//	go run ./bench -only bulk,connections,roundtrip,idle-pairs
//	go run ./bench -markdown docs/performance.md -json docs/charts/bench.json && go -C tools run ./charts ../docs/charts/bench.json
//
// Line mode (throughput, latency, idle) stands beside HAProxy, nginx with its stream module, socat and rsyslog. Connection mode (bulk, connections,
// roundtrip, idle-pairs) stands beside the same but rsyslog, and a proxy of fifty lines that does nothing but io.Copy: see copyRole. TLS (tls)
// and one factor at a time (factors: length of lines, senders, targets, workers) are measured for both modes. How the others are set up, and what
// they do not do, stands in their configurations in this folder.
//
// What sends and what receives are processes of their own: this program again, with a role as its first argument (send, sink, latency, ...).
// They are much cheaper than what they measure. Contenders take turns within each repetition, so that a machine that
// grows slow or fast in between does so for all of them; figures are medians with the range beside them, and those that the machine was
// too noisy for are marked.
//
// Everything happens on the loopback. The other proxies are used if they are here, and nothing is ever downloaded.
package main
