package config

import (
	"slices"

	"linesplit/internal/flags"
)

// Scopes of options that are valid in one mode only.
const (
	scopeLine       = "line"
	scopeConnection = "connection"
)

// Options returns every flag of linesplit with its default. Flags, environment, file, -help, the
// manual page and the shell completions all follow this table.
func Options() []flags.Option {
	return shared(slices.Concat(
		group("Listeners", listenerOptions()),
		group("Targets", targetOptions()),
		group("Delivery of lines (line mode)", deliveryOptions()),
		group("Spool (line mode)", spoolOptions()),
		group("Refused lines (line mode)", rejectOptions()),
		group("Forwarding of connections (connection mode)", forwardOptions()),
		group("Health checks", healthOptions()),
		group("Access", accessOptions()),
		group("TLS", tlsOptions()),
		group("Limits", limitOptions()),
		group("Shutdown", shutdownOptions()),
		group("Logs, metrics and API", observeOptions()),
		group("Other", otherOptions()),
	), "loops", "admin", "admin-token-file", "admin-tls-cert", "admin-tls-key", "admin-tls-client-ca",
		"admin-tls-client-crl", "profiling", "log-level", "log-format", "config", "start-partial")
}

// shared marks the options that a process has once, for all of its services.
func shared(options []flags.Option, names ...string) []flags.Option {
	for i := range options {
		options[i].Shared = options[i].CommandLine || slices.Contains(names, options[i].Name)
	}
	return options
}

// group puts options under one heading of -help.
func group(heading string, options []flags.Option) []flags.Option {
	for i := range options {
		options[i].Group = heading
	}
	return options
}

func listenerOptions() []flags.Option {
	return []flags.Option{
		{Name: "mode", Arg: "MODE", Default: "line",
			Choices: []string{"line", "connection"},
			Help:    "line: spread lines over targets; connection (or l4): forward whole connections and datagrams"},
		{Name: "listen", Arg: "ADDRESS", Many: true,
			Help: "where to accept senders, in place of -addr and -port; repeatable or comma separated: " +
				"HOST:PORT or :PORT (TCP), tls://HOST:PORT, unix:///PATH?mode=0660&uid=0&gid=0, unix://@NAME " +
				"(abstract), udp://HOST:PORT, http://HOST:PORT/PATH or https:// for requests that are answered once their " +
				"lines are confirmed (line mode; ?token-file=FILE, ?max-request=4MiB, ?timeout=45s), relp://HOST:PORT or " +
				"relp+tls:// for rsyslog's RELP, acknowledged likewise (line mode), systemd:NAME?tls=true (socket activation; both parts " +
				"optional), stdin: or - (line mode). ?framing=octet, nul or auto, where a line does not end in " +
				"a newline: octet counting (RFC 6587), a NUL byte, or what the sender's first bytes look like"},
		{Name: "addr", Arg: "HOST",
			Help: "address to listen on; every IPv4 and IPv6 address when empty. 0.0.0.0 is every IPv4 address, " +
				"[::] every address of both families unless -listen names an IPv4 address of its port, too"},
		{Name: "port", Arg: "PORT", Default: "9000",
			Help: "port to listen on; 0 lets the kernel choose"},
		{Name: "reuse-port",
			Help: "listen where another linesplit with this flag does; at its SIGTERM that one steps aside: a " +
				"restart that refuses no connection (Linux)"},
	}
}

func targetOptions() []flags.Option {
	return []flags.Option{
		{Name: "target", Arg: "ADDRESS", Many: true, Default: "127.0.0.1:9999",
			Help: "receivers; repeatable or comma separated: HOST:PORT or :PORT (TCP), tls://HOST:PORT, " +
				"unix:///PATH, udp://HOST:PORT (connection mode); in line mode also those that acknowledge lines: " +
				"http://HOST:PORT/PATH, http+bulk://HOST:PORT/INDEX/_bulk, relp://HOST:PORT, lumberjack://HOST:PORT, and " +
				"https, https+bulk, relp+tls and lumberjack+tls; or a source of targets: dns://NAME:PORT (each " +
				"address), srv://NAME, file:///PATH.json (or .yaml), exec:///PROGRAM, discover+https://HOST/PATH. " +
				"Options, joined by &: ?weight=3, ?backup=true (serves while no other is up), ?health-interval=1s, " +
				"?rise=1, ?fall=5 (in place of -health-…), ?server-name=NAME for a TLS certificate. Line mode: " +
				"?connections=8, ?via-proxy=true if a proxy stands before the receiver, ?framing=octet or nul for " +
				"one that takes no newlines, ?max-age=5m to renew connections in order. Connection mode: " +
				"?max-connections=100, ?proxy-protocol=v1 or v2. On a source they hold for each target, beside " +
				"?scheme=tls and ?refresh=30s"},
		{Name: "resolver", Arg: "ADDRESS",
			Help: "DNS server for dns:// and srv://, in place of the system's: IP, IP:PORT, or tcp://IP:PORT to ask " +
				"over TCP alone"},
		{Name: "discovery-empty", Arg: "ACTION", Default: "keep",
			Choices: []string{"keep", "drain"},
			Help: "when a source answers that there are no targets: keep those that it had, or drain them, after " +
				"three such answers and 30 s"},
		{Name: "group", Arg: "NAME=ADDRESS", Many: true, Scope: scopeLine,
			Help: "a group of more receivers, which gets each line, too; repeatable: NAME=ADDRESS,ADDRESS, " +
				"among them sources of targets such as dns://NAME:PORT. Options of the group, behind any of its addresses: ?required=false (its lines are dropped " +
				"where it is slow, beyond ?budget=64MiB of memory). The other targets are the group main"},
		{Name: "connections", Arg: "N", Default: "4", Scope: scopeLine,
			Help: "connections to each target: this many on average, shared out by ?weight"},
		{Name: "key", Arg: "RULE", Scope: scopeLine,
			Help: "lines with the same key go to one target at a time, in order; the key is json:PATH (json:user.id), " +
				"field:N (the N-th of fields with blanks between), until:CHAR (what comes before it; or space, tab) " +
				"or connection; empty: any line goes anywhere"},
		{Name: "key-missing", Arg: "ACTION", Default: "any", Scope: scopeLine, Choices: []string{"any", "drop"},
			Help: "a line without the key: any target may have it, or drop it and count it"},
		{Name: "key-down", Arg: "ACTION", Default: "move", Scope: scopeLine, Choices: []string{"move", "wait"},
			Help: "while the target of a key is down or takes nothing: move the key to another one, or wait"},
		{Name: "dial-timeout", Arg: "DURATION", Default: "5s",
			Help: "give up one attempt to connect after this"},
		{Name: "failback-interval", Arg: "DURATION", Default: "5m", Scope: scopeLine,
			Help: "how often at least a connection that had to move tries to go home"},
		{Name: "failback-probe", Arg: "DURATION", Default: "5s", Scope: scopeLine,
			Help: "how often one of them finds out whether its target is back; a passed check does that too"},
	}
}

func deliveryOptions() []flags.Option {
	return []flags.Option{
		{Name: "buffer", Arg: "SIZE", Default: "16KiB", Scope: scopeLine,
			Help: "bytes of the first read from a sender; busy ones get more"},
		{Name: "queue", Arg: "N", Default: "32", Scope: scopeLine,
			Help: "buffers between senders and targets; with -key, of 64KiB each in the lane of each connection to a target"},
		{Name: "stall-timeout", Arg: "DURATION", Default: "30s", Scope: scopeLine,
			Help: "lines move to another target when a live one takes nothing for this long"},
		{Name: "write-timeout", Arg: "DURATION", Scope: scopeLine,
			Help: "older name of -stall-timeout, which wins over it"},
		{Name: "dead-timeout", Arg: "DURATION", Default: "30s", Scope: scopeLine,
			Help: "a target that answers nothing at all for this long has failed"},
		{Name: "resend-margin", Arg: "SIZE", Default: "64KiB", Scope: scopeLine,
			Help: "acknowledged bytes kept for resending, at least, since the receiver may not have read them"},
		{Name: "resend-max", Arg: "SIZE", Default: "8MiB", Scope: scopeLine,
			Help: "the most that one connection keeps for resending"},
		{Name: "resend-age", Arg: "DURATION", Default: "10s", Scope: scopeLine,
			Help: "lines acknowledged for this long count as delivered"},
		{Name: "peer-lookup", Arg: "auto|off", Default: "auto", Scope: scopeLine, Choices: []string{"auto", "off"},
			Help: "ask the kernel (Linux) what receivers on this host have not read, so that fewer lines go twice"},
		{Name: "embedded-newline", Arg: "RULE", Default: "escape", Scope: scopeLine,
			Choices: []string{"escape", "space", "refuse"},
			Help: "a line with a newline in it (from a listener with ?framing), for a target that ends lines with " +
				"newlines: escape it as \\n, write a space, or refuse the line; the same for NUL bytes and ?framing=nul"},
	}
}

func spoolOptions() []flags.Option {
	return []flags.Option{
		{Name: "spool", Arg: "DIR", Scope: scopeLine,
			Help: "keep the lines that targets cannot take now, or have not confirmed at the end, in files in this " +
				"directory; the next start delivers them. A service with a name uses the subdirectory of that name"},
		{Name: "spool-mode", Arg: "MODE", Default: "overflow", Scope: scopeLine,
			Choices: []string{"overflow", "always"},
			Help: "overflow: writes the lines for which targets have no room, and the unconfirmed ones at the end; always: " +
				"writes each line before a target gets it, so that a kill -9 loses no line that was written"},
		{Name: "spool-size", Arg: "SIZE", Default: "10GiB", Scope: scopeLine,
			Help: "limit of the files with lines; the quarantine of damaged lines may take a quarter of it besides"},
		{Name: "spool-full", Arg: "ACTION", Default: "wait", Scope: scopeLine,
			Choices: []string{"wait", "drop-oldest"},
			Help:    "when the spool is full: senders wait, or the oldest lines are dropped and counted"},
		{Name: "spool-sync", Arg: "DURATION|write", Default: "200ms", Scope: scopeLine,
			Help: "the longest time from a write to its sync (fdatasync): a power failure may lose the lines of that time; " +
				"write: sync at once"},
	}
}

func rejectOptions() []flags.Option {
	return []flags.Option{
		{Name: "dead-letter", Arg: "FILE", Scope: scopeLine,
			Help: "write the lines that a target refuses for good to this file, with its answer; only targets that " +
				"acknowledge, such as http://, refuse lines. Without it, such lines are dropped and counted"},
		{Name: "dead-letter-size", Arg: "SIZE", Default: "1GiB", Scope: scopeLine,
			Help: "limit of that file; what is refused beyond it is dropped and counted. The file may be moved away at any time"},
	}
}

func forwardOptions() []flags.Option {
	return []flags.Option{
		{Name: "balance", Arg: "RULE", Default: "round-robin", Scope: scopeConnection,
			Choices: []string{"round-robin", "least-connections", "random", "source-hash", "least-bandwidth"},
			Help: "how the target of a connection is chosen: round-robin, least-connections, random (the better of two), " +
				"source-hash or least-bandwidth"},
		{Name: "dial-budget", Arg: "DURATION", Default: "5s", Scope: scopeConnection,
			Help: "how long a client waits while no target can be reached"},
		{Name: "linger-timeout", Arg: "DURATION", Default: "1m", Scope: scopeConnection,
			Help: "after one side has ended, the other may be silent for this long"},
		{Name: "queue-timeout", Arg: "DURATION", Default: "5s", Scope: scopeConnection,
			Help: "how long a client waits for a place at targets that have ?max-connections"},
		{Name: "on-target-down", Arg: "ACTION", Default: "keep", Scope: scopeConnection,
			Choices: []string{"keep", "reset"},
			Help:    "keep or reset the connections of a target that is found to be down"},
		{Name: "udp-idle-timeout", Arg: "DURATION", Default: "30s", Scope: scopeConnection,
			Help: "forget a client of a udp:// listener that is silent for this long"},
		{Name: "udp-sessions", Arg: "N", Default: "4096", Scope: scopeConnection,
			Help: "clients of udp:// listeners at one time; datagrams of more are dropped"},
	}
}

func healthOptions() []flags.Option {
	return []flags.Option{
		{Name: "health", Arg: "CHECK",
			Choices: []string{"tcp", "tls", "http", "send-expect", "redis", "mysql", "exec"},
			Help: "check targets regularly: tcp, tls, http, send-expect, redis, mysql or exec; empty: failed " +
				"dials are the only evidence"},
		{Name: "health-interval", Arg: "DURATION", Default: "5s",
			Help: "between checks; shorter while the state is changing"},
		{Name: "health-timeout", Arg: "DURATION", Default: "2s",
			Help: "a check that takes longer has failed"},
		{Name: "health-rise", Arg: "N", Default: "2",
			Help: "checks in a row that must succeed before a target is up"},
		{Name: "health-fall", Arg: "N", Default: "3",
			Help: "checks, and in connection mode dials, in a row that must fail before it is down"},
		{Name: "health-path", Arg: "PATH",
			Help: "path that an http check requests; / if empty"},
		{Name: "health-status", Arg: "STATUS",
			Help: "statuses that pass an http check, such as 200; 200-399 if empty"},
		{Name: "health-send", Arg: "TEXT",
			Help: `text that a send-expect check writes; \r, \n, \t and \x00 are escapes`},
		{Name: "health-expect", Arg: "REGEXP",
			Help: "regular expression that the answer to a send-expect check must match"},
		{Name: "health-command", Arg: "FILE",
			Help: "program of an exec check: it gets the address as its argument and exits with 0 if all is " +
				"well"},
	}
}

func accessOptions() []flags.Option {
	return []flags.Option{
		{Name: "allow", Arg: "CIDR", Many: true,
			Help: "accept these networks or addresses alone; repeatable or comma separated"},
		{Name: "deny", Arg: "CIDR", Many: true,
			Help: "never accept these; wins over -allow"},
		{Name: "proxy-protocol-from", Arg: "CIDR", Many: true,
			Help: "these peers must begin with a PROXY protocol header (v1 or v2), which names the client"},
		{Name: "max-connections-per-client", Arg: "N", Default: "0",
			Help: "connections of one address (IPv6: one /64) at one time; more are reset; 0: no limit"},
		{Name: "rate-per-client", Arg: "RATE",
			Help: "new connections of one address (IPv6: one /64): 5/s, 300/m; more are reset; empty: no limit"},
	}
}

func tlsOptions() []flags.Option {
	return []flags.Option{
		{Name: "tls-cert", Arg: "FILE", Many: true,
			Help: "certificate of tls:// listeners, and of -addr and -port, PEM; repeatable or comma separated: a client " +
				"gets the one for the name that it asks for, or else the first"},
		{Name: "tls-key", Arg: "FILE", Many: true,
			Help: "key of the certificate, PEM; of several, in the same order"},
		{Name: "tls-client-ca", Arg: "FILE",
			Help: "senders must show a certificate of these authorities"},
		{Name: "tls-client-crl", Arg: "FILE",
			Help: "refuse senders whose certificate these revocation lists name, PEM; read again when it changes"},
		{Name: "sni", Arg: "NAME", Many: true,
			Help: "server names that clients of tls:// listeners may ask for, such as www.example.com, or *.example.com for " +
				"one label more; repeatable or comma separated; other clients are refused, see -sni-default; all if empty"},
		{Name: "sni-default", Arg: "CLIENTS", Many: true,
			Choices: []string{"all", "unknown-name", "no-name", "ech"},
			Help: "clients that -sni leaves out and that are served all the same: unknown-name, no-name, ech " +
				"(whose name may be encrypted), or all of them; repeatable or comma separated"},
		{Name: "tls-passthrough", Scope: scopeConnection,
			Help: "forward the TLS of clients of tls:// listeners to the targets as it is, after a look at their first message"},
		{Name: "tls-min-version", Arg: "VERSION", Default: "1.2",
			Choices: []string{"1.2", "1.3"},
			Help:    "1.2 or 1.3, on both sides"},
		{Name: "tls-target",
			Help: "targets without a scheme speak TLS"},
		{Name: "tls-target-ca", Arg: "FILE",
			Help: "authorities to trust instead of the system's"},
		{Name: "tls-target-cert", Arg: "FILE",
			Help: "certificate to show to targets, PEM"},
		{Name: "tls-target-key", Arg: "FILE",
			Help: "key of the certificate, PEM"},
		{Name: "tls-target-server-name", Arg: "NAME",
			Help: "name that targets' certificates must have, in place of their host"},
		{Name: "tls-target-skip-verify",
			Help: "trust any certificate of a target (unsafe)"},
	}
}

func limitOptions() []flags.Option {
	return []flags.Option{
		{Name: "max-line", Arg: "SIZE", Default: "1MiB", Scope: scopeLine,
			Help: "longest line, newline included"},
		{Name: "oversize", Arg: "POLICY", Default: "drop", Scope: scopeLine,
			Choices: []string{"drop", "truncate", "close"},
			Help: "a longer line: drop it, truncate it, or close its connection (over UDP: drop it), which also loses " +
				"what the sender has sent behind it"},
		{Name: "record-start", Arg: "REGEXP", Scope: scopeLine,
			Help: "join the lines of a sender to records of several lines, such as a stack trace, which go whole to one " +
				"target: each line that matches begins a record; empty: each line is one"},
		{Name: "record-lines", Arg: "N", Default: "1000", Scope: scopeLine,
			Help: "the most lines of such a record; its bytes are limited as those of a line"},
		{Name: "record-wait", Arg: "DURATION", Default: "1s", Scope: scopeLine,
			Help: "a record ends when its next line has not come for this long"},
		{Name: "memory", Arg: "SIZE", Default: "256MiB", Scope: scopeLine,
			Help: "budget for all lines held; at the limit senders wait"},
		{Name: "loops", Arg: "N", Default: "auto",
			Help: "event loops that serve plain TCP and Unix connections (Linux): auto is one for each CPU that " +
				"the process may use, 0 none, so that every connection has goroutines of its own"},
		{Name: "max-connections", Arg: "N", Default: "0",
			Help: "senders at one time: in line mode more wait, in connection mode they are refused; 0: as " +
				"many as there are file descriptors for, which is also the most"},
		{Name: "idle-timeout", Arg: "DURATION", Default: "0s",
			Help: "end a connection that carries nothing for this long; in connection mode, either way; 0s: never"},
		{Name: "client-idle-timeout", Arg: "DURATION", Default: "0s", Scope: scopeConnection,
			Help: "end a connection whose client neither sends nor takes anything for this long; 0s: never"},
		{Name: "target-idle-timeout", Arg: "DURATION", Default: "0s", Scope: scopeConnection,
			Help: "end a connection whose target neither sends nor takes anything for this long; 0s: never"},
		{Name: "line-timeout", Arg: "DURATION", Default: "0s", Scope: scopeLine,
			Help: "end a sender that takes longer than this to finish a line; 0s: never"},
	}
}

func shutdownOptions() []flags.Option {
	return []flags.Option{
		{Name: "drain-timeout", Arg: "DURATION", Default: "8s",
			Help: "after SIGTERM: in line mode senders get half of it to finish, then targets the rest; in " +
				"connection mode connections get all of it. The end of standard input sets no limit"},
	}
}

func observeOptions() []flags.Option {
	return []flags.Option{
		{Name: "access-log", Arg: "FORMAT", Default: "off", Scope: scopeConnection,
			Choices: []string{"text", "json", "off"},
			Help:    "a line on standard output for each connection at its end: text, json or off"},
		{Name: "admin", Arg: "ADDRESS",
			Help: "serve the status page, the API, /metrics, /healthz and /readyz here, over HTTP: HOST:PORT, " +
				"tls://HOST:PORT or unix:///PATH?mode=0660; off when empty. An address that is not of this " +
				"machine alone gets metrics and probes only, unless there is a token"},
		{Name: "admin-token-file", Arg: "FILE",
			Help: "requests that carry the token in this file may change things; read again when it changes"},
		{Name: "admin-tls-cert", Arg: "FILE",
			Help: "certificate of a tls:// admin listener, PEM"},
		{Name: "admin-tls-key", Arg: "FILE",
			Help: "key of the certificate, PEM"},
		{Name: "admin-tls-client-ca", Arg: "FILE",
			Help: "admin clients must show a certificate of these authorities, and may change things"},
		{Name: "admin-tls-client-crl", Arg: "FILE",
			Help: "refuse admin clients whose certificate these revocation lists name, PEM"},
		{Name: "profiling",
			Help: "serve /debug/pprof on the admin listener, to requests that may change things; needs a token, " +
				"a Unix socket or client certificates"},
		{Name: "log-level", Arg: "LEVEL", Default: "info",
			Choices: []string{"debug", "info", "warn", "error"},
			Help:    "debug, info, warn or error"},
		{Name: "log-format", Arg: "FORMAT", Default: "text",
			Choices: []string{"text", "json"},
			Help:    "text or json"},
	}
}

func otherOptions() []flags.Option {
	return []flags.Option{
		{Name: "config", Arg: "FILE",
			Help: `read settings from a file of lines "key value", such as "max-line 1MiB"; a key alone means ` +
				"true, # begins a comment. A file whose name ends with .toml is TOML: max-line = \"1MiB\", and " +
				"[service.NAME] begins the keys of one of several services, and [group.NAME] those of a group"},
		{Name: "start-partial",
			Help: "start the services that can, if the file names several; a reload tries the others again"},
		{Name: "check", CommandLine: true,
			Help: "judge the configuration and the files that it names, print every fault, and exit with 0 if " +
				"there is none, else with 2; nothing is opened, looked up or connected to, so a host that " +
				"does not resolve and a port that is taken are not found"},
		{Name: "t", CommandLine: true,
			Help: "the same as -check"},
		{Name: "version", CommandLine: true,
			Help: "print the version and exit"},
		{Name: "help",
			Help: "print this and exit"},
	}
}
