package main

import (
	"fmt"
	"io"
	"runtime"
	"strings"

	"linesplit/internal/build"
)

// The groups of -help, in the order in which it prints them.
const (
	groupInbound  = "Where it comes from"
	groupTargets  = "Where it goes"
	groupDelivery = "Delivery of lines (line mode)"
	groupForward  = "Forwarding of connections (connection mode)"
	groupHealth   = "Health of targets"
	groupTLS      = "TLS"
	groupAccess   = "Who may connect"
	groupLimits   = "Limits"
	groupEnd      = "Going down"
	groupObserve  = "Observability"
	groupOther    = "Other"
)

// mode says what linesplit carries, or for an option in which mode it is of use.
type mode int

const (
	anyMode mode = iota // of an option
	lineMode
	connectionMode
)

// String returns the mode as -mode takes it.
func (m mode) String() string {
	if m == connectionMode {
		return "connection"
	}
	return "line"
}

// option is one flag as a person meets it. The name gives the environment variable too, see envName.
type option struct {
	name  string
	arg   string // what stands for the value in -help; empty for a boolean, which may stand without a value
	value string // the default, written as a person would write it; empty where there is none
	group string
	mode  mode
	help  string
}

func (o option) isBool() bool { return o.arg == "" }

// options returns every flag with its default. Flags, environment, file and -help all follow this one table.
func options() []option {
	return []option{
		{"mode", "MODE", "line", groupInbound, anyMode, "line: spread lines over targets; connection (or l4): forward whole connections and datagrams"},
		{"listen", "ADDRESS", "", groupInbound, anyMode, "where to accept senders, in place of -addr and -port; repeatable or comma separated: " +
			"tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH?mode=0660&uid=0&gid=0, unix://@NAME (abstract), udp://HOST:PORT, systemd:NAME?tls=true (socket activation; both parts optional), stdin: (line mode)"},
		{"addr", "HOST", "0.0.0.0", groupInbound, anyMode, "address to listen on"},
		{"port", "PORT", "9000", groupInbound, anyMode, "port to listen on; 0 lets the kernel choose"},

		{"reuse-port", "", "", groupInbound, anyMode, "listen where another linesplit with this flag does; at its SIGTERM that one steps aside: a restart that refuses nobody (Linux)"},

		{"target", "ADDRESS", "127.0.0.1:9999", groupTargets, anyMode, "where it goes; repeatable or comma separated: HOST:PORT, tcp://HOST:PORT, " +
			"tls://HOST:PORT, unix:///PATH, udp://HOST:PORT (connection mode). Line mode: ?via-proxy=true if a proxy stands before the receiver. " +
			"Connection mode: ?weight=3, ?backup=true, ?max-connections=100, ?proxy-protocol=v1 or v2, joined by &"},
		{"connections", "N", "4", groupTargets, lineMode, "connections to each target"},
		{"dial-timeout", "DURATION", "5s", groupTargets, anyMode, "give up one attempt to connect after this"},
		{"failback-interval", "DURATION", "5m", groupTargets, lineMode, "how often a connection that had to move tries to go home"},

		{"buffer", "SIZE", "16KiB", groupDelivery, lineMode, "bytes of the first read from a sender; busy ones get more"},
		{"queue", "N", "32", groupDelivery, lineMode, "buffers between senders and targets"},
		{"stall-timeout", "DURATION", "30s", groupDelivery, lineMode, "a live target that takes nothing for this long loses its lines to another one"},
		{"write-timeout", "DURATION", "", groupDelivery, lineMode, "older name of -stall-timeout, which wins over it"},
		{"dead-timeout", "DURATION", "30s", groupDelivery, lineMode, "a target that answers nothing at all for this long has failed"},
		{"resend-margin", "SIZE", "64KiB", groupDelivery, lineMode, "acknowledged bytes kept for resending, at least, since the receiver may not have read them"},
		{"resend-max", "SIZE", "8MiB", groupDelivery, lineMode, "the most that one connection keeps for resending"},
		{"resend-age", "DURATION", "10s", groupDelivery, lineMode, "lines acknowledged for this long count as delivered"},

		{"balance", "RULE", "round-robin", groupForward, connectionMode, "who gets the next connection: round-robin, least-connections, random (the better of two), " +
			"source-hash or least-bandwidth"},
		{"dial-budget", "DURATION", "5s", groupForward, connectionMode, "how long a client waits while no target can be reached"},
		{"linger-timeout", "DURATION", "1m", groupForward, connectionMode, "after one side has ended, the other may be silent for this long"},
		{"idle-timeout", "DURATION", "0s", groupForward, connectionMode, "reset a connection that carries nothing either way for this long; 0s: never"},
		{"queue-timeout", "DURATION", "5s", groupForward, connectionMode, "how long a client waits for a place at targets that have ?max-connections"},
		{"on-target-down", "ACTION", "keep", groupForward, connectionMode, "keep or reset the connections of a target that is found to be down"},
		{"udp-idle-timeout", "DURATION", "30s", groupForward, connectionMode, "forget a client of a udp:// listener that is silent for this long"},
		{"udp-sessions", "N", "4096", groupForward, connectionMode, "clients of udp:// listeners at one time; datagrams of more are dropped"},

		{"health", "CHECK", "", groupHealth, anyMode, "check targets regularly: tcp, tls, http, send-expect, redis, mysql or exec; empty: failed dials are the only evidence"},
		{"health-interval", "DURATION", "5s", groupHealth, anyMode, "between checks; shorter while the state is changing"},
		{"health-timeout", "DURATION", "2s", groupHealth, anyMode, "a check that takes longer has failed"},
		{"health-rise", "N", "2", groupHealth, anyMode, "checks in a row that must succeed before a target is up"},
		{"health-fall", "N", "3", groupHealth, anyMode, "checks, and in connection mode dials, in a row that must fail before it is down"},
		{"health-path", "PATH", "", groupHealth, anyMode, "what an http check asks for; / if empty"},
		{"health-status", "STATUS", "", groupHealth, anyMode, "what it must answer, such as 200 or 200-399, which is meant if empty"},
		{"health-send", "TEXT", "", groupHealth, anyMode, `what a send-expect check writes; \r, \n, \t and \x00 are understood`},
		{"health-expect", "REGEXP", "", groupHealth, anyMode, "what it must read"},
		{"health-command", "FILE", "", groupHealth, anyMode, "program of an exec check: it gets the address as its argument and exits with 0 if all is well"},

		{"allow", "CIDR", "", groupAccess, anyMode, "accept these networks or addresses alone; repeatable or comma separated"},
		{"deny", "CIDR", "", groupAccess, anyMode, "never accept these; wins over -allow"},
		{"proxy-protocol-from", "CIDR", "", groupAccess, anyMode, "these peers must begin with a PROXY protocol header (v1 or v2), which says who the client is"},
		{"max-connections-per-client", "N", "0", groupAccess, connectionMode, "connections of one address at one time; 0: no limit"},
		{"rate-per-client", "RATE", "", groupAccess, connectionMode, "new connections of one address: 5/s, 300/m; empty: no limit"},

		{"tls-cert", "FILE", "", groupTLS, anyMode, "certificate of tls:// listeners, and of -addr and -port, PEM"},
		{"tls-key", "FILE", "", groupTLS, anyMode, "its key, PEM"},
		{"tls-client-ca", "FILE", "", groupTLS, anyMode, "senders must show a certificate of these authorities"},
		{"tls-min-version", "VERSION", "1.2", groupTLS, anyMode, "1.2 or 1.3, on both sides"},
		{"tls-target", "", "", groupTLS, anyMode, "targets without a scheme speak TLS"},
		{"tls-target-ca", "FILE", "", groupTLS, anyMode, "authorities to trust instead of the system's"},
		{"tls-target-cert", "FILE", "", groupTLS, anyMode, "certificate to show to targets, PEM"},
		{"tls-target-key", "FILE", "", groupTLS, anyMode, "its key, PEM"},
		{"tls-target-server-name", "NAME", "", groupTLS, anyMode, "name that targets' certificates must have, in place of their host"},
		{"tls-target-skip-verify", "", "", groupTLS, anyMode, "trust any certificate of a target (unsafe)"},

		{"max-line", "SIZE", "1MiB", groupLimits, lineMode, "longest line, newline included"},
		{"oversize", "POLICY", "drop", groupLimits, lineMode, "a longer line: drop it, truncate it, or close its connection"},
		{"memory", "SIZE", "256MiB", groupLimits, lineMode, "budget for all lines held; at the limit senders wait"},
		{"max-connections", "N", "0", groupLimits, anyMode, "senders at one time: in line mode more wait, in connection mode they are refused; 0: as many as there are file descriptors for"},

		{"drain-timeout", "DURATION", "8s", groupEnd, anyMode, "after SIGTERM: in line mode senders get half of it to finish, then targets the rest; in connection mode connections get all of it"},

		{"access-log", "FORMAT", "off", groupObserve, connectionMode, "a line on standard output for each connection at its end: text, json or off"},
		{"admin", "ADDRESS", "", groupObserve, anyMode, "serve the status page, the API, /metrics, /healthz and /readyz here, over HTTP: HOST:PORT, tls://HOST:PORT or unix:///PATH?mode=0660; " +
			"off when empty. An address that is not of this machine alone gets metrics and probes only, unless there is a token"},
		{"admin-token-file", "FILE", "", groupObserve, anyMode, "who shows the word in this file may change things; read again when it changes"},
		{"admin-tls-cert", "FILE", "", groupObserve, anyMode, "certificate of a tls:// admin listener, PEM"},
		{"admin-tls-key", "FILE", "", groupObserve, anyMode, "its key, PEM"},
		{"admin-tls-client-ca", "FILE", "", groupObserve, anyMode, "admin clients must show a certificate of these authorities, and may change things"},
		{"profiling", "", "", groupObserve, anyMode, "serve /debug/pprof on the admin listener, to those who may change things"},
		{"log-level", "LEVEL", "info", groupObserve, anyMode, "debug, info, warn or error"},
		{"log-format", "FORMAT", "text", groupObserve, anyMode, "text or json"},

		{"config", "FILE", "", groupOther, anyMode, `read settings from a file of lines "key value", such as "max-line 1MiB"; a key alone ` +
			`means true, # begins a comment`},
		{"version", "", "", groupOther, anyMode, "print the version and exit"},
		{"help", "", "", groupOther, anyMode, "print this and exit"},
	}
}

// envName returns the environment variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

const helpHead = `linesplit takes lines from any number of senders and spreads them over many targets, losing none.
With -mode connection it forwards whole connections and datagrams instead.

Usage:
  linesplit [flags]                   run until SIGTERM
  linesplit demo                      see it at work for 15 seconds; needs nothing else
  linesplit send                      senders of lines that can be accounted for (-help)
  linesplit sink                      test targets that account for them (-help)
  linesplit proof                     stage faults against it, or any proxy, and count what is lost
  linesplit ctl COMMAND               show and change a running linesplit (-help)
  linesplit healthcheck [-admin A]    exit 0 if the linesplit with the admin address A is alive
  linesplit man                       its manual page: linesplit man | man -l -
  linesplit completion SHELL          what bash, zsh or fish needs to complete commands and flags

Each flag is also an environment variable (-max-line is LINESPLIT_MAX_LINE; an empty one counts as
unset) and a key of the -config file. Flags win over the environment, the environment over the file.
Sizes: 65536, 16KiB (1024s), 64KB (1000s). Durations: 500ms, 30s, 5m.
`

// commandNames are all that a first argument may be.
const commandNames = "demo, send, sink, proof, ctl, healthcheck, man, completion"

const helpExamples = `
Examples:
  linesplit -port 9000 -target 10.0.0.1:9999,10.0.0.2:9999
  linesplit -listen 'unix:///run/linesplit.sock?mode=0660' -target tls://logs.example.com:6514
  linesplit -tls-cert cert.pem -tls-key key.pem -target 10.0.0.1:9999 -admin 127.0.0.1:9091
  producer | linesplit -listen stdin: -target 10.0.0.1:9999
  linesplit -mode connection -port 5432 -target 'db1:5432,db2:5432?backup=true' -health tcp
`

// Columns of -help: where the text of a flag begins, and where every line has ended.
const (
	helpIndent = 33
	helpWidth  = 98
)

func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	printOptions(w, options())
	fmt.Fprint(w, helpExamples)
}

func printOptions(w io.Writer, all []option) {
	group := ""
	for _, o := range all {
		if o.group != group {
			group = o.group
			fmt.Fprintf(w, "\n%s:\n", group)
		}
		printOption(w, o)
	}
}

func printOption(w io.Writer, o option) {
	words := strings.Fields(o.help)
	if o.value != "" {
		words = append(words, "(default "+o.value+")") // one word: it stays on one line
	}
	left := strings.TrimRight("  -"+o.name+" "+o.arg, " ")
	for _, line := range wrap(words, helpWidth-helpIndent) {
		fmt.Fprintf(w, "%-*s%s\n", helpIndent, left, line)
		left = ""
	}
}

// wrap makes lines of at most width bytes of words, where those allow that.
func wrap(words []string, width int) []string {
	var lines []string
	line := ""
	for _, word := range words {
		if line != "" && len(line)+1+len(word) > width {
			lines = append(lines, line)
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	return append(lines, line)
}

// version is stamped by the linker: -ldflags "-X main.version=v1.2.3".
var version string

func buildVersion() string { return build.Version(version) }

func printVersion(w io.Writer) {
	fmt.Fprintf(w, "linesplit %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
