package main

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"
)

// The groups of -help, in the order in which it prints them.
const (
	groupInbound  = "Where lines come from"
	groupTargets  = "Where lines go"
	groupDelivery = "Delivery"
	groupTLS      = "TLS"
	groupLimits   = "Limits"
	groupEnd      = "Going down"
	groupObserve  = "Observability"
	groupOther    = "Other"
)

// option is one flag as a person meets it. The name gives the environment variable too, see envName.
type option struct {
	name  string
	arg   string // what stands for the value in -help; empty for a boolean, which may stand without a value
	value string // the default, written as a person would write it; empty where there is none
	group string
	help  string
}

func (o option) isBool() bool { return o.arg == "" }

// options returns every flag with its default. Flags, environment, file and -help all follow this one table.
func options() []option {
	return []option{
		{"listen", "ADDRESS", "", groupInbound, "where to accept senders, in place of -addr and -port; repeatable or comma separated: " +
			"tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH?mode=0660&uid=0&gid=0, unix://@NAME (abstract), stdin:"},
		{"addr", "HOST", "0.0.0.0", groupInbound, "address to listen on"},
		{"port", "PORT", "9000", groupInbound, "port to listen on; 0 lets the kernel choose"},

		{"target", "ADDRESS", "127.0.0.1:9999", groupTargets, "where lines go; repeatable or comma separated: HOST:PORT, tcp://HOST:PORT, " +
			"tls://HOST:PORT, unix:///PATH; with ?via-proxy=true if a proxy stands before the receiver"},
		{"connections", "N", "4", groupTargets, "connections to each target"},
		{"dial-timeout", "DURATION", "5s", groupTargets, "give up one attempt to connect after this"},
		{"failback-interval", "DURATION", "5m", groupTargets, "how often a connection that had to move tries to go home"},

		{"buffer", "SIZE", "16KiB", groupDelivery, "bytes of the first read from a sender; busy ones get more"},
		{"queue", "N", "32", groupDelivery, "buffers between senders and targets"},
		{"stall-timeout", "DURATION", "30s", groupDelivery, "a live target that takes nothing for this long loses its lines to another one"},
		{"write-timeout", "DURATION", "", groupDelivery, "older name of -stall-timeout, which wins over it"},
		{"dead-timeout", "DURATION", "30s", groupDelivery, "a target that answers nothing at all for this long has failed"},
		{"resend-margin", "SIZE", "64KiB", groupDelivery, "acknowledged bytes kept for resending, at least, since the receiver may not have read them"},
		{"resend-max", "SIZE", "8MiB", groupDelivery, "the most that one connection keeps for resending"},
		{"resend-age", "DURATION", "10s", groupDelivery, "lines acknowledged for this long count as delivered"},

		{"tls-cert", "FILE", "", groupTLS, "certificate of tls:// listeners, and of -addr and -port, PEM"},
		{"tls-key", "FILE", "", groupTLS, "its key, PEM"},
		{"tls-client-ca", "FILE", "", groupTLS, "senders must show a certificate of these authorities"},
		{"tls-min-version", "VERSION", "1.2", groupTLS, "1.2 or 1.3, on both sides"},
		{"tls-target", "", "", groupTLS, "targets without a scheme speak TLS"},
		{"tls-target-ca", "FILE", "", groupTLS, "authorities to trust instead of the system's"},
		{"tls-target-cert", "FILE", "", groupTLS, "certificate to show to targets, PEM"},
		{"tls-target-key", "FILE", "", groupTLS, "its key, PEM"},
		{"tls-target-server-name", "NAME", "", groupTLS, "name that targets' certificates must have, in place of their host"},
		{"tls-target-skip-verify", "", "", groupTLS, "trust any certificate of a target (unsafe)"},

		{"max-line", "SIZE", "1MiB", groupLimits, "longest line, newline included"},
		{"oversize", "POLICY", "drop", groupLimits, "a longer line: drop it, truncate it, or close its connection"},
		{"memory", "SIZE", "256MiB", groupLimits, "budget for all lines held; at the limit senders wait"},
		{"max-connections", "N", "0", groupLimits, "senders at one time, more wait; 0: as many as there are file descriptors for"},

		{"drain-timeout", "DURATION", "8s", groupEnd, "after SIGTERM: senders get half of it to finish, then targets the rest"},

		{"admin", "HOST:PORT", "", groupObserve, "serve /metrics, /healthz and /readyz here, over HTTP; off when empty"},
		{"log-level", "LEVEL", "info", groupObserve, "debug, info, warn or error"},
		{"log-format", "FORMAT", "text", groupObserve, "text or json"},

		{"config", "FILE", "", groupOther, `read settings from a file of lines "key value", such as "max-line 1MiB"; a key alone ` +
			`means true, # begins a comment`},
		{"version", "", "", groupOther, "print the version and exit"},
		{"help", "", "", groupOther, "print this and exit"},
	}
}

// envName returns the environment variable that stands for a flag.
func envName(flag string) string {
	return envPrefix + "_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

const helpHead = `linesplit takes lines from any number of senders and spreads them over many targets, losing none.

Usage:
  linesplit [flags]                   run until SIGTERM
  linesplit demo                      see it at work for 15 seconds; needs nothing else
  linesplit healthcheck [-admin A]    exit 0 if the linesplit with the admin address A is alive

Each flag is also an environment variable (-max-line is LINESPLIT_MAX_LINE; an empty one counts as
unset) and a key of the -config file. Flags win over the environment, the environment over the file.
Sizes: 65536, 16KiB (1024s), 64KB (1000s). Durations: 500ms, 30s, 5m.
`

const helpExamples = `
Examples:
  linesplit -port 9000 -target 10.0.0.1:9999,10.0.0.2:9999
  linesplit -listen unix:///run/linesplit.sock?mode=0660 -target tls://logs.example.com:6514
  linesplit -tls-cert cert.pem -tls-key key.pem -target 10.0.0.1:9999 -admin 127.0.0.1:9091
  producer | linesplit -listen stdin: -target 10.0.0.1:9999
`

// Columns of -help: where the text of a flag begins, and where every line has ended.
const (
	helpIndent = 33
	helpWidth  = 98
)

func printHelp(w io.Writer) {
	fmt.Fprint(w, helpHead)
	group := ""
	for _, o := range options() {
		if o.group != group {
			group = o.group
			fmt.Fprintf(w, "\n%s:\n", group)
		}
		printOption(w, o)
	}
	fmt.Fprint(w, helpExamples)
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

// buildVersion returns the stamped version, else the one that the Go toolchain recorded.
func buildVersion() string {
	if version != "" {
		return version
	}
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "(devel)"
}

func printVersion(w io.Writer) {
	fmt.Fprintf(w, "linesplit %s (%s, %s/%s)\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
}
