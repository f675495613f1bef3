// Command bench measures linesplit as a whole process, beside other proxies and beside no proxy at
// all, in one run on one machine:
//
//	go run ./bench                    # about forty minutes
//	go run ./bench -quick             # three minutes, to see that everything works
//	go run ./bench -only latency -reps 9
//	go run ./bench -only bulk,connections,roundtrip,idle-pairs
//	go run ./bench -reps 7 -beside haproxy -linesplit-old ~/before/linesplit
//	go run ./bench -only spool -disk /var/tmp
//	go run ./bench -markdown docs/performance.md -json docs/charts/bench.json
//	go -C tools run ./charts ../docs/charts/bench.json
//
// Line mode (throughput, latency, trickle, idle, rest, senders) is compared with HAProxy, nginx
// with its stream module, socat and rsyslog. Lines on disk (spool: throughput and latency, an
// outage of all targets, kill -9) are compared with rsyslog's disk-assisted queue and syslog-ng's
// reliable disk-buffer. Connection mode (bulk, connections, roundtrip, idle-pairs) is compared with
// HAProxy, nginx and socat, and with a proxy of fifty lines that only calls io.Copy. TLS (tls),
// targets in another network namespace (link) and one factor at a time (factors: length of lines,
// senders, targets, workers) are measured in both modes. The configurations of the other proxies,
// in internal/contender, say how each is tuned and what it does not do.
//
// Senders and receivers are processes of their own: this program with a role as its first argument
// (send, sink, latency, ...). They cost less than what they measure, and the report says how much.
// Contenders take turns within each repetition, so that a machine that becomes slower or faster
// does so for all of them; ratios are taken within each repetition. Figures are medians with their
// ranges; those for which the machine was too noisy are marked. Two builds of linesplit, or one
// with two sets of flags, take their turns in the same run.
//
// Debian installs one of rsyslog and syslog-ng, not both. To measure both, unpack the packages of
// the other one (dpkg -x) and put a script with its name on PATH, which starts it with its own
// libraries and modules.
//
// All traffic is on the loopback, except for link. That needs the program ip and the right to make
// network namespaces (root, or unshare -Urn), and is skipped without, with a note. Other proxies
// are measured if they are installed; nothing is downloaded.
//
// This package has the flags and the progress. The rest is in packages, each of which imports only
// those below it:
//
//	internal/section     measurements and what they report
//	internal/contender   the proxies: configurations, starting, stopping
//	internal/load        senders, receivers, echo servers, latency probes
//	internal/procstat    processor time, memory and descriptors from /proc
//	report               figures and tables as text, Markdown and JSON
package main
