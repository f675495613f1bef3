package config

import "linesplit/internal/flags"

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

// Scopes of options that are valid in one mode only.
const (
	scopeLine       = "line"
	scopeConnection = "connection"
)

// Options returns every flag of linesplit with its default. Flags, environment, file, -help, the
// manual page and the shell completions all follow this table.
func Options() []flags.Option {
	return []flags.Option{
		{Name: "mode", Arg: "MODE", Default: "line", Group: groupInbound,
			Choices: []string{"line", "connection"},
			Help:    "line: spread lines over targets; connection (or l4): forward whole connections and datagrams"},
		{Name: "listen", Arg: "ADDRESS", Group: groupInbound,
			Help: "where to accept senders, in place of -addr and -port; repeatable or comma separated: " +
				"tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH?mode=0660&uid=0&gid=0, unix://@NAME " +
				"(abstract), udp://HOST:PORT, systemd:NAME?tls=true (socket activation; both parts " +
				"optional), stdin: (line mode)"},
		{Name: "addr", Arg: "HOST", Default: "0.0.0.0", Group: groupInbound,
			Help: "address to listen on"},
		{Name: "port", Arg: "PORT", Default: "9000", Group: groupInbound,
			Help: "port to listen on; 0 lets the kernel choose"},
		{Name: "reuse-port", Group: groupInbound,
			Help: "listen where another linesplit with this flag does; at its SIGTERM that one steps aside: a " +
				"restart that refuses nobody (Linux)"},
		{Name: "target", Arg: "ADDRESS", Default: "127.0.0.1:9999", Group: groupTargets,
			Help: "where it goes; repeatable or comma separated: HOST:PORT, tcp://HOST:PORT, tls://HOST:PORT, " +
				"unix:///PATH, udp://HOST:PORT (connection mode). Line mode: ?via-proxy=true if a proxy " +
				"stands before the receiver. Connection mode: ?weight=3, ?backup=true, ?max-connections=100, " +
				"?proxy-protocol=v1 or v2, joined by &"},
		{Name: "connections", Arg: "N", Default: "4", Group: groupTargets, Scope: scopeLine,
			Help: "connections to each target"},
		{Name: "dial-timeout", Arg: "DURATION", Default: "5s", Group: groupTargets,
			Help: "give up one attempt to connect after this"},
		{Name: "failback-interval", Arg: "DURATION", Default: "5m", Group: groupTargets, Scope: scopeLine,
			Help: "how often a connection that had to move tries to go home"},
		{Name: "buffer", Arg: "SIZE", Default: "16KiB", Group: groupDelivery, Scope: scopeLine,
			Help: "bytes of the first read from a sender; busy ones get more"},
		{Name: "queue", Arg: "N", Default: "32", Group: groupDelivery, Scope: scopeLine,
			Help: "buffers between senders and targets"},
		{Name: "stall-timeout", Arg: "DURATION", Default: "30s", Group: groupDelivery, Scope: scopeLine,
			Help: "a live target that takes nothing for this long loses its lines to another one"},
		{Name: "write-timeout", Arg: "DURATION", Group: groupDelivery, Scope: scopeLine,
			Help: "older name of -stall-timeout, which wins over it"},
		{Name: "dead-timeout", Arg: "DURATION", Default: "30s", Group: groupDelivery, Scope: scopeLine,
			Help: "a target that answers nothing at all for this long has failed"},
		{Name: "resend-margin", Arg: "SIZE", Default: "64KiB", Group: groupDelivery, Scope: scopeLine,
			Help: "acknowledged bytes kept for resending, at least, since the receiver may not have read them"},
		{Name: "resend-max", Arg: "SIZE", Default: "8MiB", Group: groupDelivery, Scope: scopeLine,
			Help: "the most that one connection keeps for resending"},
		{Name: "resend-age", Arg: "DURATION", Default: "10s", Group: groupDelivery, Scope: scopeLine,
			Help: "lines acknowledged for this long count as delivered"},
		{Name: "balance", Arg: "RULE", Default: "round-robin", Group: groupForward, Scope: scopeConnection,
			Choices: []string{"round-robin", "least-connections", "random", "source-hash", "least-bandwidth"},
			Help: "who gets the next connection: round-robin, least-connections, random (the better of two), " +
				"source-hash or least-bandwidth"},
		{Name: "dial-budget", Arg: "DURATION", Default: "5s", Group: groupForward, Scope: scopeConnection,
			Help: "how long a client waits while no target can be reached"},
		{Name: "linger-timeout", Arg: "DURATION", Default: "1m", Group: groupForward, Scope: scopeConnection,
			Help: "after one side has ended, the other may be silent for this long"},
		{Name: "idle-timeout", Arg: "DURATION", Default: "0s", Group: groupForward, Scope: scopeConnection,
			Help: "reset a connection that carries nothing either way for this long; 0s: never"},
		{Name: "queue-timeout", Arg: "DURATION", Default: "5s", Group: groupForward, Scope: scopeConnection,
			Help: "how long a client waits for a place at targets that have ?max-connections"},
		{Name: "on-target-down", Arg: "ACTION", Default: "keep", Group: groupForward, Scope: scopeConnection,
			Choices: []string{"keep", "reset"},
			Help:    "keep or reset the connections of a target that is found to be down"},
		{Name: "udp-idle-timeout", Arg: "DURATION", Default: "30s", Group: groupForward, Scope: scopeConnection,
			Help: "forget a client of a udp:// listener that is silent for this long"},
		{Name: "udp-sessions", Arg: "N", Default: "4096", Group: groupForward, Scope: scopeConnection,
			Help: "clients of udp:// listeners at one time; datagrams of more are dropped"},
		{Name: "health", Arg: "CHECK", Group: groupHealth,
			Choices: []string{"tcp", "tls", "http", "send-expect", "redis", "mysql", "exec"},
			Help: "check targets regularly: tcp, tls, http, send-expect, redis, mysql or exec; empty: failed " +
				"dials are the only evidence"},
		{Name: "health-interval", Arg: "DURATION", Default: "5s", Group: groupHealth,
			Help: "between checks; shorter while the state is changing"},
		{Name: "health-timeout", Arg: "DURATION", Default: "2s", Group: groupHealth,
			Help: "a check that takes longer has failed"},
		{Name: "health-rise", Arg: "N", Default: "2", Group: groupHealth,
			Help: "checks in a row that must succeed before a target is up"},
		{Name: "health-fall", Arg: "N", Default: "3", Group: groupHealth,
			Help: "checks, and in connection mode dials, in a row that must fail before it is down"},
		{Name: "health-path", Arg: "PATH", Group: groupHealth,
			Help: "what an http check asks for; / if empty"},
		{Name: "health-status", Arg: "STATUS", Group: groupHealth,
			Help: "what it must answer, such as 200 or 200-399, which is meant if empty"},
		{Name: "health-send", Arg: "TEXT", Group: groupHealth,
			Help: `what a send-expect check writes; \r, \n, \t and \x00 are understood`},
		{Name: "health-expect", Arg: "REGEXP", Group: groupHealth,
			Help: "what it must read"},
		{Name: "health-command", Arg: "FILE", Group: groupHealth,
			Help: "program of an exec check: it gets the address as its argument and exits with 0 if all is " +
				"well"},
		{Name: "allow", Arg: "CIDR", Group: groupAccess,
			Help: "accept these networks or addresses alone; repeatable or comma separated"},
		{Name: "deny", Arg: "CIDR", Group: groupAccess,
			Help: "never accept these; wins over -allow"},
		{Name: "proxy-protocol-from", Arg: "CIDR", Group: groupAccess,
			Help: "these peers must begin with a PROXY protocol header (v1 or v2), which says who the client is"},
		{Name: "max-connections-per-client", Arg: "N", Default: "0", Group: groupAccess, Scope: scopeConnection,
			Help: "connections of one address at one time; 0: no limit"},
		{Name: "rate-per-client", Arg: "RATE", Group: groupAccess, Scope: scopeConnection,
			Help: "new connections of one address: 5/s, 300/m; empty: no limit"},
		{Name: "tls-cert", Arg: "FILE", Group: groupTLS,
			Help: "certificate of tls:// listeners, and of -addr and -port, PEM"},
		{Name: "tls-key", Arg: "FILE", Group: groupTLS,
			Help: "its key, PEM"},
		{Name: "tls-client-ca", Arg: "FILE", Group: groupTLS,
			Help: "senders must show a certificate of these authorities"},
		{Name: "tls-min-version", Arg: "VERSION", Default: "1.2", Group: groupTLS,
			Choices: []string{"1.2", "1.3"},
			Help:    "1.2 or 1.3, on both sides"},
		{Name: "tls-target", Group: groupTLS,
			Help: "targets without a scheme speak TLS"},
		{Name: "tls-target-ca", Arg: "FILE", Group: groupTLS,
			Help: "authorities to trust instead of the system's"},
		{Name: "tls-target-cert", Arg: "FILE", Group: groupTLS,
			Help: "certificate to show to targets, PEM"},
		{Name: "tls-target-key", Arg: "FILE", Group: groupTLS,
			Help: "its key, PEM"},
		{Name: "tls-target-server-name", Arg: "NAME", Group: groupTLS,
			Help: "name that targets' certificates must have, in place of their host"},
		{Name: "tls-target-skip-verify", Group: groupTLS,
			Help: "trust any certificate of a target (unsafe)"},
		{Name: "max-line", Arg: "SIZE", Default: "1MiB", Group: groupLimits, Scope: scopeLine,
			Help: "longest line, newline included"},
		{Name: "oversize", Arg: "POLICY", Default: "drop", Group: groupLimits, Scope: scopeLine,
			Choices: []string{"drop", "truncate", "close"},
			Help:    "a longer line: drop it, truncate it, or close its connection"},
		{Name: "memory", Arg: "SIZE", Default: "256MiB", Group: groupLimits, Scope: scopeLine,
			Help: "budget for all lines held; at the limit senders wait"},
		{Name: "max-connections", Arg: "N", Default: "0", Group: groupLimits,
			Help: "senders at one time: in line mode more wait, in connection mode they are refused; 0: as " +
				"many as there are file descriptors for"},
		{Name: "drain-timeout", Arg: "DURATION", Default: "8s", Group: groupEnd,
			Help: "after SIGTERM: in line mode senders get half of it to finish, then targets the rest; in " +
				"connection mode connections get all of it"},
		{Name: "access-log", Arg: "FORMAT", Default: "off", Group: groupObserve, Scope: scopeConnection,
			Choices: []string{"text", "json", "off"},
			Help:    "a line on standard output for each connection at its end: text, json or off"},
		{Name: "admin", Arg: "ADDRESS", Group: groupObserve,
			Help: "serve the status page, the API, /metrics, /healthz and /readyz here, over HTTP: HOST:PORT, " +
				"tls://HOST:PORT or unix:///PATH?mode=0660; off when empty. An address that is not of this " +
				"machine alone gets metrics and probes only, unless there is a token"},
		{Name: "admin-token-file", Arg: "FILE", Group: groupObserve,
			Help: "who shows the word in this file may change things; read again when it changes"},
		{Name: "admin-tls-cert", Arg: "FILE", Group: groupObserve,
			Help: "certificate of a tls:// admin listener, PEM"},
		{Name: "admin-tls-key", Arg: "FILE", Group: groupObserve,
			Help: "its key, PEM"},
		{Name: "admin-tls-client-ca", Arg: "FILE", Group: groupObserve,
			Help: "admin clients must show a certificate of these authorities, and may change things"},
		{Name: "profiling", Group: groupObserve,
			Help: "serve /debug/pprof on the admin listener, to those who may change things"},
		{Name: "log-level", Arg: "LEVEL", Default: "info", Group: groupObserve,
			Choices: []string{"debug", "info", "warn", "error"},
			Help:    "debug, info, warn or error"},
		{Name: "log-format", Arg: "FORMAT", Default: "text", Group: groupObserve,
			Choices: []string{"text", "json"},
			Help:    "text or json"},
		{Name: "config", Arg: "FILE", Group: groupOther,
			Help: `read settings from a file of lines "key value", such as "max-line 1MiB"; a key alone means ` +
				"true, # begins a comment"},
		{Name: "version", Group: groupOther,
			Help: "print the version and exit"},
		{Name: "help", Group: groupOther,
			Help: "print this and exit"},
	}
}
