//go:build linux

// Package contender configures, starts and stops the proxies that are compared: linesplit, HAProxy,
// nginx, socat, rsyslog, syslog-ng and a bare io.Copy proxy. Their configurations, with what each
// is tuned for and what it does not do, are files of this package.
package contender

import (
	"strings"
	"time"
)

// Names of contenders, as tables show them.
const (
	Direct              = "direct" // no proxy
	HAProxy             = "HAProxy"
	HAProxySplicing     = "HAProxy splicing"
	Nginx               = "nginx stream"
	Socat               = "socat"
	Rsyslog             = "rsyslog"
	IOCopy              = "io.Copy"
	Linesplit           = "linesplit" // in line mode
	LinesplitConnection = "linesplit -mode connection"

	// Contenders that keep lines on disk. See KeepsLines.
	LinesplitOverflow = "linesplit overflow"       // with a spool for lines for which targets have no room
	LinesplitAlways   = "linesplit always"         // with a spool for all lines, synced every SyncInterval
	LinesplitSynced   = "linesplit always, synced" // the same, synced after each write
	RsyslogDisk       = "rsyslog disk-assisted"
	SyslogNG          = "syslog-ng disk-buffer"

	// Another build of linesplit, or the same one with other flags.
	OldLinesplit           = "old linesplit"
	OldLinesplitConnection = "old linesplit -mode connection"
)

// Others are the proxies beside linesplit, as Launcher.Without names them.
var Others = []string{"haproxy", "nginx", "socat", "rsyslog", "syslog-ng", "io.copy"}

// SyncInterval is the time between two syncs of LinesplitAlways.
const SyncInterval = 200 * time.Millisecond

// spoolFlags are the flags of the contenders that have a spool, without its folder.
var spoolFlags = map[string][]string{
	LinesplitOverflow: {"-spool-mode", "overflow"},
	LinesplitAlways:   {"-spool-mode", "always", "-spool-sync", SyncInterval.String()},
	LinesplitSynced:   {"-spool-mode", "always", "-spool-sync", "write"},
}

// KeepsLines reports whether a contender keeps lines on disk. Its Setup needs a Spool.
func KeepsLines(name string) bool {
	return spoolFlags[name] != nil || name == RsyslogDisk || name == SyslogNG
}

// program returns which of Others a contender is, or another word for one that is none of them.
func program(name string) string {
	first, _, _ := strings.Cut(strings.ToLower(name), " ")
	return first
}

// Old returns the name of the old build for that of the new one, in the same mode.
func Old(name string) string {
	if name == LinesplitConnection {
		return OldLinesplitConnection
	}
	return OldLinesplit
}

// Ours reports whether a contender is the linesplit that is measured, in any mode, and not the old
// one.
func Ours(name string) bool { return program(name) == "linesplit" }

func isOld(name string) bool { return name == OldLinesplit || name == OldLinesplitConnection }

// Legs names the connections that use TLS: from senders to the proxy (In), and from the proxy to
// targets (Out).
type Legs struct{ In, Out bool }

// String returns, for example, "TLS in".
func (l Legs) String() string {
	switch {
	case l.In && l.Out:
		return "TLS in and out"
	case l.In:
		return "TLS in"
	case l.Out:
		return "TLS out"
	}
	return "plain"
}

// Setup is a contender and how it is configured.
type Setup struct {
	Name        string
	TLS         Legs
	Spool       string // folder for lines, if the contender keeps them on disk
	Connections int    // to each target, for linesplit in line mode; 0 stands for BaseWorkers
}

// BaseWorkers is the number of connections that linesplit has to each target in line mode, unless
// it is varied.
const BaseWorkers = 4

func (s Setup) workers() int {
	if s.Connections == 0 {
		return BaseWorkers
	}
	return s.Connections
}
