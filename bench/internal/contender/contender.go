//go:build linux

// Package contender configures, starts and stops the proxies that are compared: linesplit, HAProxy,
// nginx, socat, rsyslog and a bare io.Copy proxy. Their configurations, with what each is tuned for
// and what it does not do, are files of this package.
package contender

import "strings"

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

	// Another build of linesplit, or the same one with other flags.
	OldLinesplit           = "old linesplit"
	OldLinesplitConnection = "old linesplit -mode connection"
)

// Others are the proxies beside linesplit, as Launcher.Without names them.
var Others = []string{"haproxy", "nginx", "socat", "rsyslog", "io.copy"}

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

func isLinesplit(name string) bool {
	return name == Linesplit || name == LinesplitConnection || isOld(name)
}

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
	Connections int // to each target, for linesplit in line mode; 0 stands for BaseWorkers
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
